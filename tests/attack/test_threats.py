import pytest
import torch

from robaudit.attack.losses import Loss
from robaudit.attack.names import doubled, parse_attacks
from robaudit.attack.settings import plan_of, speedups_of
from robaudit.attack.threats import PRESETS, TABLE, Attack, FoolboxAttack, Square, check_grid, find_preset
from robaudit.errors import SettingsError


def test_the_four_attacks_have_the_constants_the_documentation_states():
    constants = {name: (a.steps, a.step_fraction, a.decay, a.random_start) for name, a in TABLE.items()}
    assert constants["fgsm"] == (1, 1.0, 0.0, False)
    assert constants["bim"] == (10, 1 / 4, 0.0, False)
    assert constants["mifgsm"] == (10, 1 / 10, 1.0, False)
    assert constants["pgd"] == (40, 2.5 / 40, 0.0, True)


def test_any_attack_takes_any_loss():
    for loss in Loss:
        names = [f"{name}-{loss}" for name, attack in TABLE.items() if attack.loss != loss]
        attacks = parse_attacks(names)
        assert [attack.name for attack in attacks] == names
        assert {attack.loss for attack in attacks} == {loss}
    assert parse_attacks(["pgd-ce"]) == (TABLE["pgd"],)


def test_steps_restarts_queries_and_draws_stand_behind_the_name():
    pgd, apgd, square, corners = parse_attacks(["pgd-100x5", "apgd-margin-80", "square-1000", "corners-7"])
    assert (pgd.name, pgd.steps, pgd.restarts) == ("pgd-100x5", 100, 5)
    assert pgd.step_fraction == pytest.approx(2.5 / 100), "PGD's step is a share of the way"
    assert (apgd.steps, apgd.loss, apgd.step_fraction, apgd.restarts) == (80, Loss.MARGIN, 2.0, 1)
    assert (square.name, square.queries) == ("square-1000", 1000)
    assert (corners.name, corners.draws) == ("corners-7", 7)


def test_restarts_are_those_of_the_option_unless_the_name_says():
    attacks = parse_attacks(["fgsm", "pgd", "apgd-40x2"], restarts=3)
    assert [attack.restarts for attack in attacks] == [1, 3, 2]
    assert [attack.name for attack in attacks] == ["fgsm", "pgd", "apgd-40x2"]


def test_a_plus_means_survivors_only():
    assert [attack.scope for attack in parse_attacks(["pgd", "+square", "+foolbox:LinfPGD"])] == [
        "all", "survivors", "survivors",
    ]  # fmt: skip


def test_doubling_doubles_the_gradients_of_every_climb_and_is_named_as_it_would_be_asked_for():
    for name in ("pgd", "apgd-margin", "pgd-100x5", "bim"):
        (attack,) = parse_attacks([name])
        stronger = doubled(attack)
        assert stronger.steps == 2 * attack.steps
        assert stronger.restarts == (2 if attack.random_start else 1) * attack.restarts
        assert parse_attacks([f"+{stronger.name}"]) == (stronger,)


def test_every_preset_can_be_parsed_and_the_default_has_a_margin_and_a_gradient_free_attack():
    for name, preset in PRESETS.items():
        assert len(parse_attacks(preset.attacks)) == len(preset.attacks), name
    default = parse_attacks(find_preset("default").attacks)
    assert any(isinstance(attack, Attack) and attack.loss is Loss.MARGIN for attack in default)
    assert any(isinstance(attack, Square) for attack in default)


def test_a_foolbox_attack_is_asked_for_by_its_class():
    assert parse_attacks(["foolbox:LinfDeepFoolAttack"]) == (FoolboxAttack("LinfDeepFoolAttack"),)


@pytest.mark.parametrize(
    "names",
    [
        ["cw"],
        ["pgd-dlr"],
        ["pgd", "pgd"],
        ["pgd", "pgd-ce"],
        ["pgd", "+pgd"],
        ["bim-10x2"],
        ["pgd-0"],
        ["square-margin"],
        [],
        [""],
    ],
)
def test_unknown_repeated_or_no_attacks_are_refused(names):
    with pytest.raises(SettingsError):
        parse_attacks(names)


@pytest.mark.parametrize("grid", [[], [0, 1], [256], [2, 2], [1.5], ["1"]])
def test_eps_outside_the_range_or_repeated_is_refused(grid):
    with pytest.raises(SettingsError):
        check_grid(grid)


@pytest.mark.parametrize("chosen", [{"protocol": "papre"}, {"search": "up"}, {"without": ["folds"]}, {"preset": ""}])
def test_settings_that_there_are_not_are_refused_from_python_too(chosen):
    settings = {"attacks": None, "eps_255": [1], "preset": "default", "protocol": None, "seed": 0} | chosen
    with pytest.raises(SettingsError, match="there are"):
        plan_of(**settings)
    with pytest.raises(SettingsError, match="there are float32, bfloat16, auto"):
        speedups_of("fp16", (), torch.device("cpu"))


def test_the_grid_is_ascending():
    assert check_grid([8, 1, 4]) == (1, 4, 8)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(SettingsError, match="quick, default, paper"):
        find_preset("thorogh")
