"""What a Python user gets wrong is told in one line before anything is read or asked."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robaudit
from robaudit.errors import SettingsError
from robaudit.given import given
from robaudit.load.model import load_model
from robaudit.retrofit.settings import train_config


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"eps": 4}, "eps 4: wanted a list"),
        ({"eps": [0.031]}, "eps 0.031: wanted a valid integer"),
        ({"attacks": "fgsm"}, "attacks fgsm: wanted a list, not one text"),
        ({"classes": "cancer,no-cancer"}, "classes cancer,no-cancer: wanted a list, not one text"),
        ({"mean": 0.5, "std": 0.5}, "mean 0.5: wanted a list"),
        ({"input_size": 224}, "input_size 224: wanted a valid tuple"),
        ({"merge": "a=b,c"}, "merge a=b,c: wanted a valid dictionary"),
        ({"expect_clean_accuracy": 94}, "expect_clean_accuracy 94: wanted less than or equal to 1"),
        ({"seed": -1}, "seed -1: wanted greater than or equal to 0"),
        ({"batch_size": 2.5}, "batch_size 2.5: wanted a valid integer"),
        ({"on_bad_image": "ignore"}, "on_bad_image ignore: wanted 'fail' or 'skip'"),
        ({"progress": print}, "wanted an instance of Progress"),
        ({"lable_index": 1}, "lable_index: is no argument here"),
    ],
)
def test_a_mistake_in_a_scan_is_told_before_anything_is_read(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(expected)):
        robaudit.scan("no model", "no data", out="nowhere", **options)
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 1.5}, "epochs 1.5: wanted a valid integer"),
        ({"augment": ["flip"]}, "augment ['flip']: wanted a valid string"),
        ({"lr": 1e-3}, "lr: is no setting of a training; there are alpha, "),
        ({"limit": 0}, "limit 0: wanted greater than 0"),
        ({"label_index": "first"}, "label_index first: wanted a valid integer"),
    ],
)
def test_a_mistake_in_a_training_is_told_before_anything_is_read(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(expected)):
        robaudit.assimilate("no model", "no data", out="nowhere", **settings)


@pytest.mark.parametrize(
    ("function", "options"),
    [("assimilate", {"data": "no data"}), ("run", {"data": "no data"}), ("export", {"form": "onnx"})],
)
def test_a_network_in_memory_is_refused_where_a_file_is_wanted(function: str, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^model Linear.*: wanted a path or a valid string"):
        getattr(robaudit, function)(nn.Linear(2, 2), out="nowhere", **options)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("model", "data"), {}, "out: is missing"),
        (("model",), {"out": "out"}, "data: is missing"),
        (("model", "data", "out"), {}, "out: is given by name alone"),
        (("model", "data"), {"data": "data", "out": "out"}, "data: is given twice"),
    ],
)
def test_arguments_that_make_no_call_are_told(
    arguments: tuple[str, ...], options: dict[str, str], expected: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{expected}$"):
        robaudit.scan(*arguments, **options)


def test_numbers_become_what_is_stated() -> None:
    _, stated = given(robaudit.scan, "model", "data", out="out", eps=range(1, 4), seed=np.int64(3), input_size=[8, 9])
    assert (stated["eps"], stated["seed"], stated["input_size"]) == ([1, 2, 3], 3, (8, 9))
    assert type(stated["seed"]) is int
    assert type(train_config(epochs=np.int64(2)).epochs) is int


@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_arrays_become_lists_and_a_device_may_be_torchs(array: Callable[[list[float]], Any]) -> None:
    half, device = array([0.5, 0.25]), torch.device("cpu")
    for function in (robaudit.scan, robaudit.assimilate, load_model):
        places = {} if function is load_model else {"data": "data", "out": "out"}
        _, stated = given(function, "model", **places, mean=half, device=device)
        assert (stated["mean"], stated["device"]) == ([0.5, 0.25], device)
    _, stated = given(robaudit.run, "model", "data", out="out", loading={"mean": half}, scanning={"eps": array([1, 2])})
    assert (stated["loading"], stated["scanning"]) == ({"mean": [0.5, 0.25]}, {"eps": [1, 2]})


def test_a_checked_function_keeps_its_signature_and_its_words() -> None:
    assert "attacks" in inspect.signature(robaudit.scan).parameters
    assert "eps" in (robaudit.scan.__doc__ or "")


def test_the_package_shows_what_it_offers_to_completion_and_to_checkers_of_types() -> None:
    assert set(dir(robaudit)) == {"__version__", *robaudit._API}
    assert all(inspect.getmodule(getattr(robaudit, name)) for name in robaudit._API)
    package = Path(inspect.getfile(robaudit)).parent
    assert (package / "py.typed").exists()
    imported = set(re.findall(r"^    from (\S+) import (\w+) as ", (package / "__init__.py").read_text(), re.MULTILINE))
    assert imported == {(module, name) for name, module in robaudit._API.items()}
