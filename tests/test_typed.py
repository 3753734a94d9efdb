"""What is printed to be pasted gives what was meant."""

import shlex

import pytest

from robaudit.cli.options import merged, names
from robaudit.errors import SettingsError
from robaudit.typed import flag, listed

NAMES = [
    ["cancer", "no cancer"],
    ["normal, benign", "cancer"],
    ["grade >3", "$(reboot)", "it's"],
    ['a "quoted" one', '"'],
    ["Größe", "b;c&d"],
]


@pytest.mark.parametrize("classes", NAMES)
def test_a_flag_that_was_printed_can_be_pasted(classes: list[str]) -> None:
    option, value = shlex.split(flag("--classes", listed(classes)))
    assert option == "--classes"
    assert names(value) == classes


def test_plain_names_need_no_quotes() -> None:
    assert flag("--classes", listed(["ill", "well"])) == "--classes ill,well"


def test_a_list_as_people_type_it() -> None:
    assert names(" a , b,,c ") == ["a", "b", "c"]
    assert names('"normal, benign", cancer') == ["normal, benign", "cancer"]
    assert names('5" lesion,none') == ['5" lesion', "none"]
    assert names("") == []
    assert names(None) is None


def test_classes_with_commas_are_merged() -> None:
    assert merged(['tumor="glioma, high",other']) == {"tumor": ["glioma, high", "other"]}


@pytest.mark.parametrize("text", ["a,b\nc,d", "a" * 200_000])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no list of names"):
        names(text)
