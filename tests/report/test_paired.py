from math import comb

import pytest
from made_up_audits import make_rows

from robaudit.errors import RecordError
from robaudit.records import ImageRow
from robaudit.report.paired import holm, mcnemar, paired_tests, withstands


def row(name: str, *, pgd: int | None, label: str = "cancer", sha256: str = "0") -> ImageRow:
    return ImageRow(
        id=name,
        sha256=sha256,
        label=label,
        prediction=label if pgd != 0 else "no-cancer",
        fooled_at={"pgd": pgd},
    )


def by_counting_coins(only_before: int, only_after: int) -> float:
    """Probability of a split at least as lopsided, over every outcome of the coins."""
    coins = only_before + only_after
    at_least = abs(only_before - only_after)
    return sum(comb(coins, heads) for heads in range(coins + 1) if abs(2 * heads - coins) >= at_least) / 2**coins


@pytest.mark.parametrize("only_before", range(9))
@pytest.mark.parametrize("only_after", [0, 1, 3, 8, 21])
def test_p_is_the_share_of_coin_tosses_as_lopsided(only_before: int, only_after: int):
    assert mcnemar(only_before, only_after) == pytest.approx(by_counting_coins(only_before, only_after))


def test_no_discordant_image_is_no_evidence():
    assert mcnemar(0, 0) == 1.0


def test_one_against_nine_by_hand():
    """2 * (C(10,0) + C(10,1)) / 2^10 = 22/1024."""
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)


def test_holm_by_hand():
    """0.01*3, 0.02*2 and 0.9*1, never falling as p rises, never above 1."""
    assert holm([0.02, 0.9, 0.01]) == pytest.approx([0.04, 0.9, 0.03])
    assert holm([0.03, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_hand_worked_comparison():
    """Ten images: before, all fall at 1; after, nine fall at 3 and one is wrong when clean."""
    before = [row(f"{i}.png", pgd=1) for i in range(10)]
    after = [row(f"{i}.png", pgd=3) for i in range(9)] + [row("9.png", pgd=0)]
    clean, attacked = paired_tests(before, after, (1, 2, 3))
    assert (clean.only_before, clean.only_after, clean.p, clean.answer) == (1, 0, 1.0, "no evidence")
    assert [(test.only_before, test.only_after) for test in attacked] == [(0, 9), (0, 9), (0, 0)]
    # 2/2^9 each; Holm multiplies the smallest by 3 and holds the next to at least that.
    assert [test.p for test in attacked] == pytest.approx([6 / 512, 6 / 512, 1.0])
    assert [test.answer for test in attacked] == ["improved", "improved", "no evidence"]
    assert [test.answer for test in paired_tests(after, before, (1, 2, 3))[1]] == ["worse", "worse", "no evidence"]


def attacked_harder(rows: list[ImageRow], *, bpda: int | None) -> list[ImageRow]:
    return [row.model_copy(update={"fooled_at": {**row.fooled_at, "bpda": bpda}}) for row in rows]


def answers(before: list[ImageRow], after: list[ImageRow]) -> list[str]:
    return [test.answer for test in paired_tests(before, after, (1, 2), further=["bpda"])[1]]


def test_a_model_that_was_attacked_harder_is_improved_under_all_attacks_and_worse_under_those_of_both():
    weak = [row(f"{i}.png", pgd=1) for i in range(10)]
    strong = [row(f"{i}.png", pgd=3) for i in range(10)]
    assert answers(weak, attacked_harder(strong, bpda=None)) == ["improved", "improved"]
    assert answers(weak, attacked_harder(strong, bpda=2)) == ["improved", "no evidence"]
    assert answers(strong, attacked_harder(weak, bpda=None)) == ["worse", "worse"]
    assert answers(strong, attacked_harder(strong, bpda=1)) == ["no evidence", "no evidence"]


def test_counts_are_under_all_attacks_and_those_of_a_test_without_the_further_ones_stand_beside_them():
    """Ten each way under PGD; BPDA fells six of the ten that only the second withstands, and two that both do."""
    before = [row(f"{i}.png", pgd=None if i < 12 else 1) for i in range(22)]
    after = [row(f"{i}.png", pgd=None if i < 2 or i >= 12 else 1) for i in range(22)]
    harder = [
        each.model_copy(update={"fooled_at": {**each.fooled_at, "bpda": 1 if i < 2 or i >= 16 else None}})
        for i, each in enumerate(after)
    ]
    _, [test] = paired_tests(before, harder, (1,), further=["bpda"])
    assert (test.only_before, test.only_after, test.tested, test.p) == (12, 4, (10, 10), 1.0)
    _, [alike] = paired_tests(before, after, (1,))
    assert (alike.only_before, alike.only_after, alike.tested) == (10, 10, None)


def test_a_gain_that_the_further_attack_turns_into_a_loss_is_neither():
    before = [row(f"{i}.png", pgd=2 if i < 7 else 1) for i in range(20)]
    after = attacked_harder([row(f"{i}.png", pgd=3) for i in range(20)], bpda=1)
    assert answers(before, after) == ["no evidence", "no evidence"]
    [test, _] = paired_tests(before, after, (1, 2), further=["bpda"])[1]
    assert (test.only_before, test.only_after, test.p) == (7, 0, 1.0)


def test_the_order_of_the_rows_does_not_matter():
    before, after = make_rows(seed=1), make_rows(seed=2, resistance=5)
    assert paired_tests(before, after, (1, 4)) == paired_tests(before[::-1], after, (1, 4))


def test_rows_of_other_images_are_refused():
    with pytest.raises(RecordError, match=r"'b\.png'"):
        paired_tests([row("a.png", pgd=1), row("b.png", pgd=1)], [row("a.png", pgd=1)], (1,))


def test_the_same_name_with_other_content_is_another_image():
    with pytest.raises(RecordError, match="not of the same images"):
        paired_tests([row("a.png", pgd=1)], [row("a.png", pgd=1, sha256="1")], (1,))


def test_an_image_named_twice_is_refused():
    with pytest.raises(RecordError, match="twice"):
        paired_tests([row("a.png", pgd=1)] * 2, [row("a.png", pgd=1)] * 2, (1,))


def test_an_unanswered_image_is_not_withstood():
    unanswered = row("a.png", pgd=None).model_copy(update={"error": "not finite"})
    assert not withstands(unanswered, 1)
    assert withstands(row("a.png", pgd=None), 255)
    assert withstands(row("a.png", pgd=3), 2)
    assert not withstands(row("a.png", pgd=3), 3)
