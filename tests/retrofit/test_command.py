"""`robaudit assimilate`, as typed."""

import inspect

import pytest
import typer
from typer.testing import CliRunner

from robaudit.cli import assimilate as command
from robaudit.errors import SettingsError
from robaudit.records import TRAINING_FILE
from robaudit.retrofit.settings import train_config
from robaudit.retrofit_records import TrainingRecord


def run(*arguments):
    app = typer.Typer()
    app.command()(command.assimilate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_it_writes_the_folder_and_prints_its_path(model, data, tmp_path):
    out = tmp_path / "out"
    options = [
        "--epochs",
        1,
        "--front-lr",
        "1e-2",
        "--trains",
        "front",
        "--raw-features",
        "--seed",
        4,
        "--device",
        "cpu",
    ]
    result = run(model, data, "--out", out, *options)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    settings = TrainingRecord.model_validate_json((out / TRAINING_FILE).read_text()).settings
    expected = {"epochs": 1, "front_learning_rate": 1e-2, "trains": "front", "scaled": False, "seed": 4, "alpha": 0.9}
    assert settings.items() >= expected.items()


def test_an_unknown_preset_is_a_settings_error(model, data, tmp_path):
    with pytest.raises(SettingsError, match="there is paper"):
        run(model, data, "--out", tmp_path / "out", "--preset", "papre")


@pytest.mark.parametrize("options", [["--robust-by", "none"], ["--robust", "--robust-by", "fgms"]])
def test_robust_by_no_attack_is_refused_rather_than_trained_without(model, data, tmp_path, options):
    with pytest.raises(SettingsError, match="wanted fgsm or pgd or trades"):
        run(model, data, "--out", tmp_path / "out", *options)


def test_the_defaults_named_in_the_help_are_the_defaults():
    defaults = train_config().flat() | {"lr": f"{train_config().learning_rate:.0e}".replace("e-0", "e-")}
    for name, parameter in inspect.signature(command.assimilate).parameters.items():
        for option in getattr(parameter.annotation, "__metadata__", ()):
            if name in defaults and "(default: " in (option.help or ""):
                assert f"(default: {defaults[name]}" in option.help, name
