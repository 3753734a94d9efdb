import pytest

from robaudit.attack.losses import Loss
from robaudit.attack.threats import TABLE, FoolboxAttack, check_grid, find_preset, parse_attacks
from robaudit.errors import SettingsError


def test_the_four_attacks_have_the_constants_the_documentation_states():
    constants = {name: (a.steps, a.step_fraction, a.decay, a.random_start) for name, a in TABLE.items()}
    assert constants["fgsm"] == (1, 1.0, 0.0, False)
    assert constants["bim"] == (10, 1 / 4, 0.0, False)
    assert constants["mifgsm"] == (10, 1 / 10, 1.0, False)
    assert constants["pgd"] == (40, 2.5 / 40, 0.0, True)


def test_any_attack_takes_any_loss():
    names = [f"{attack}-margin" for attack in TABLE]
    attacks = parse_attacks(names)
    assert [attack.name for attack in attacks] == names
    assert {attack.loss for attack in attacks} == {Loss.MARGIN}
    assert parse_attacks(["pgd-ce"]) == (TABLE["pgd"],)


def test_a_foolbox_attack_is_asked_for_by_its_class():
    assert parse_attacks(["foolbox:LinfDeepFoolAttack"]) == (FoolboxAttack("LinfDeepFoolAttack"),)


@pytest.mark.parametrize("names", [["cw"], ["pgd-dlr"], ["pgd", "pgd"], ["pgd", "pgd-ce"], [], [""]])
def test_unknown_repeated_or_no_attacks_are_refused(names):
    with pytest.raises(SettingsError):
        parse_attacks(names)


@pytest.mark.parametrize("grid", [[], [0, 1], [256], [2, 2]])
def test_eps_outside_the_range_or_repeated_is_refused(grid):
    with pytest.raises(SettingsError):
        check_grid(grid)


def test_the_grid_is_ascending():
    assert check_grid([8, 1, 4]) == (1, 4, 8)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(SettingsError, match="quick, default, paper"):
        find_preset("thorogh")
