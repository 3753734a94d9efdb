import pytest

from robaudit.inert import inert
from robaudit.records import Tally
from robaudit.report.words import (
    attack_name,
    capital,
    duration,
    eps_ranges,
    interval,
    listed,
    of,
    percent,
    percent_at_most,
)
from robaudit.significance import p_value
from robaudit.tally import headline_eps


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([1, 2, 3], "1–3/255"),
        ([1, 2, 4], "1–2/255 and 4/255"),
        ([2, 4, 8], "2/255, 4/255 and 8/255"),
        ([1], "1/255"),
    ],
)
def test_only_eps_without_a_gap_are_joined(chosen: list[int], words: str):
    """Of a grid of 1 and 8, nothing between was tested."""
    assert eps_ranges(chosen) == words


def test_the_headline_is_at_the_eps_nearest_to_4():
    assert headline_eps((1, 2, 3, 4, 5)) == 4
    assert headline_eps((1, 2, 8)) == 2
    assert headline_eps((3, 5)) == 3


def test_text_that_could_disguise_itself_comes_out_inert():
    assert inert("a\u202eb\x1b[31m\n") == "a\\u202eb\\x1b[31m\\n"
    assert inert("Lunge (größer) 肺") == "Lunge (größer) 肺"


def test_counts_and_shares():
    assert of(Tally(n_correct=1072, n_images=3000)) == "1,072 of 3,000"
    assert percent(Tally(n_correct=1, n_images=3)) == "33.3%"
    assert percent(Tally(n_correct=0, n_images=0)) == "–"
    assert percent_at_most(Tally(n_correct=1, n_images=3)) == "33.4%"
    assert percent_at_most(Tally(n_correct=0, n_images=0)) == "–"
    assert p_value(0.0004) == "p < 0.001"
    assert p_value(0.04) == "p = 0.040"
    assert p_value(0.0496) == "p = 0.0496"
    assert p_value(0.04999) == "p = 0.0499"
    assert p_value(0.05) == "p = 0.050"


def test_the_end_of_an_interval_that_is_below_a_bound_never_reads_as_at_it():
    """The gate calls 74 of 126 undecided at 0.50: the lower end is 49.98%, and the upper one 66.93%."""
    assert interval(Tally(n_correct=74, n_images=126)) == "49.9–67.0%"
    assert interval(Tally(n_correct=0, n_images=5)).startswith("0.0–")
    assert interval(Tally(n_correct=5, n_images=5)).endswith("–100.0%")


def test_attacks_are_spelt_as_their_papers_do():
    names = ("mifgsm", "apgd-margin", "pgd-margin-100x5", "square-1000", "corners", "foolbox:LinfDeepFoolAttack")
    spelt = ["MI-FGSM", "APGD-margin", "PGD-margin-100x5", "Square-1000", "corners", "foolbox:LinfDeepFoolAttack"]
    assert [attack_name(name) for name in names] == spelt


def test_prose():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert capital("without GLCM loss") == "Without GLCM loss"
    assert [duration(seconds) for seconds in (2.25, 61, 3725)] == ["2.2 s", "1 min 01 s", "1 h 02 min"]
