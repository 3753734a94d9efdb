"""Each check on evidence made by hand: where it must speak up, and where it must not."""

import itertools
import math
from pathlib import Path

import pytest

from robaudit.attack.names import parse_attacks
from robaudit.attack.threats import find_preset
from robaudit.checks.evidence import Evidence, GradientCounts, Probe, Share, most_at_one_eps
from robaudit.checks.judge import CHECKS, judge
from robaudit.checks.repairs import next_repair
from robaudit.checks.saying import share_check
from robaudit.load.outputs import OutputKind, Outputs
from robaudit.records import Check, ImageRow, Observed
from robaudit.significance import by_luck

GRID = (1, 2, 4, 8)
ATTACKS = [attack for attack in parse_attacks(find_preset("default").attacks) if attack.name != "apgd-targeted-20"]
"""Of a model of two classes."""
BEHIND = (*ATTACKS, *parse_attacks(["+head"]))
MUTE = GradientCounts(n_gradients=1000, n_margin=400, n_zero_margin=400, n_zero=400)
FINE = {"ce": "fine", "margin": "fine"}
SAMPLED = (
    "margin-loss",
    "gradient-free",
    "random-corners",
    "convergence",
    "monotone",
    "unbounded",
    "uphill",
    "border",
    "smooth",
    "planted-adversary",
)


def row(index, *, label="a", prediction="a", error=None, **fooled_at):
    found = {attack.name: 4 for attack in ATTACKS} | {name.replace("_", "-"): eps for name, eps in fooled_at.items()}
    return ImageRow(id=f"{index:03d}", sha256="0", label=label, prediction=prediction, fooled_at=found, error=error)


def observed(**changes):
    like = {"margin": 3.0, "gradients": FINE, "excess": 0.0, "realisable": True, "climbed": ("pgd",), "unfinished": ()}
    return Observed(**{**like, **changes})


def evidence(**changes):
    """Two hundred images that raise nothing."""
    rows = [row(index, label="ab"[index % 2], prediction="ab"[index % 2]) for index in range(200)]
    counts = GradientCounts(n_gradients=1000, n_margin=400)
    probes = {
        "random-corners": [Probe(check="random-corners", name="corners", id=f"{i:03d}") for i in range(24)],
        "convergence": [Probe(check="convergence", name="pgd-80x2", id=f"{i:03d}") for i in range(24)],
        "monotone": [Probe(check="monotone", name="pgd", id=f"{i:03d}", answer=True) for i in range(24)],
        "uphill": [Probe(check="uphill", name="", id=f"{i:03d}", answer=True) for i in range(24)],
        "border": [Probe(check="border", name="", id=f"{i:03d}", answer=True) for i in range(24)],
        "smooth": [Probe(check="smooth", name="", id=f"{i:03d}", answer=True) for i in range(8)],
        "unbounded": [Probe(check="unbounded", name="", id=f"{i:03d}", answer=True) for i in range(24)],
        "planted-adversary": [Probe(check="planted-adversary", name="", id=f"{i:03d}", answer=True) for i in range(8)],
    }
    like = {
        "rows": rows, "observed": [observed() for _ in rows], "attacks": ATTACKS, "grid": GRID, "gradients": counts,
        "sample_size": 24, "probes": probes, "overlap": Share(0, 200),
    }  # fmt: skip
    return Evidence(**{**like, **changes})


def said(id_, **changes) -> Check:
    return {check.id: check for check in judge(evidence(**changes))}[id_.rstrip()]


def test_nothing_speaks_up_where_nothing_is_wrong():
    for check in judge(evidence()):
        assert check.status in ("passed", "not_applicable"), check
        assert check.status == "not_applicable" or check.value is not None
        assert check.why
        assert check.remedy == ""


def test_ids_are_unique_and_each_has_a_page_which_the_list_names():
    ids = [check.id for check in judge(evidence())]
    pages = Path(__file__).parents[2] / "docs" / "checks"
    assert len(set(ids)) == len(ids) == len(CHECKS)
    index = (pages / "README.md").read_text(encoding="utf-8")
    for id_ in ids:
        text = (pages / f"{id_}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {id_}\n")
        for part in ("What is looked at.", "Speaks up when", "Why it matters.", "What to do.", "What it cannot see."):
            assert part in text
        assert f"[{id_}]({id_}.md)" in index


def rows_with(n, **fooled_at):
    """The usual rows, `n` of them found otherwise."""
    usual = evidence().rows
    return [
        one.model_copy(
            update={"fooled_at": {**one.fooled_at, **{k.replace("_", "-"): v for k, v in fooled_at.items()}}}
        )
        if index < n
        else one
        for index, one in enumerate(usual)
    ]


def probed(check, n_found, n, **probe):
    return {**evidence().probes, check: [
        Probe(check=check, name="x", id=f"{i:03d}", **(probe if i < n_found else {"answer": True})) for i in range(n)
    ]}  # fmt: skip


@pytest.mark.parametrize(
    ("id_", "names", "found"),
    [
        ("gradient-free", ["square"], {"square": 1}),
        ("random-corners", ["corners"], {"corners": 1}),
        ("transfer", ["transfer"], {"transfer": 1}),
        ("single-step", ["fgsm", "+pgd"], {"fgsm": 1, "pgd": None}),
        ("margin-loss", ["apgd-margin", "+pgd"], {"apgd_margin": 1, "pgd": None}),
    ],
)
def test_what_was_not_tried_on_an_image_has_not_failed_there(id_, names, found):
    """An attack listed alone has none to beat; one on survivors was not run where those before it fooled."""
    changes = {"rows": rows_with(200, **found), "attacks": parse_attacks(names), "has_surrogate": True}
    assert said(id_, **changes).status == "not_applicable"


@pytest.mark.parametrize("id_", ["convergence", "monotone"])
def test_a_check_of_many_steps_says_that_no_attack_took_them(id_):
    check = said(id_, attacks=parse_attacks(["fgsm"]), probes={})
    assert check.status == "not_applicable"
    assert "no attack" in check.why.lower()
    assert "compare" not in check.why


LOUD = {
    "state-untouched": ("failed", {"state_before": "a", "state_after": "b"}),
    "repeatable": ("failed", {"unrepeatable": 2e-4}),
    "repeatable ": ("failed", {"unrepeatable": math.inf}),
    "finite-answers": ("failed", {"rows": [row(0, prediction=None, error="nan"), *evidence().rows]}),
    "predicts-classes": ("failed", {"rows": [row(0), row(1), row(2, label="b")], "probes": {}}),
    "output-kind": ("warning", {"outputs": Outputs(OutputKind.PROBABILITIES, None)}),
    "gradients-present": (
        "failed",
        {"gradients": GradientCounts(n_gradients=1000, n_margin=400, n_zero_margin=5, n_zero=5)},
    ),
    "gradients-present ": ("warning", {"gradients": GradientCounts(n_gradients=1000, n_margin=400, n_zero=60)}),
    "gradients-present  ": (
        "failed",
        {
            "gradients": GradientCounts(n_gradients=1000, n_margin=0, n_zero=60),
            "attacks": [attack for attack in ATTACKS if attack.name != "apgd-margin"],
        },
    ),
    "gradients-present   ": ("failed", {"gradients": GradientCounts(n_gradients=1000, n_non_finite=11)}),
    "gradients-present    ": (
        "failed",
        {"observed": [observed(gradients={"ce": "fine", "margin": "zero"})] * 3 + [observed()] * 197},
    ),
    "gradients-present         ": (
        "failed",
        {"gradients": GradientCounts(n_gradients=1000, n_non_finite=11), "blind": ["a.png", "b.png"]},
    ),
    "gradients-present     ": (
        "warning",
        {"gradients": MUTE.plus(GradientCounts(n_gradients=100, n_behind=100, n_useless_behind=1)), "attacks": BEHIND},
    ),
    "gradients-present      ": (
        "failed",
        {"gradients": MUTE.plus(GradientCounts(n_gradients=100, n_behind=100, n_useless_behind=2)), "attacks": BEHIND},
    ),
    "gradients-present       ": (
        "failed",
        {
            "gradients": MUTE.plus(GradientCounts(n_gradients=100, n_behind=100)),
            "attacks": BEHIND,
            "observed": [observed(climbed=("head",), refused=("head",))] * 20 + [observed(climbed=("head",))] * 180,
        },
    ),
    "saturation": (
        "warning",
        {
            "observed": [observed(margin=17.0)] * 9 + [observed()] * 191,
            "attacks": [attack for attack in ATTACKS if attack.name != "apgd-margin"],
        },
    ),
    "within-bounds": ("failed", {"observed": [observed(excess=2e-6), observed()]}),
    "single-step": ("failed", {"rows": rows_with(9, fgsm=1)}),
    "monotone": ("failed", {"probes": probed("monotone", 3, 24, answer=False)}),
    "convergence": ("failed", {"probes": probed("convergence", 2, 24, found_255=2)}),
    "still-rising": ("failed", {"observed": [observed(unfinished=("pgd",))] * 40 + [observed()] * 160}),
    "margin-loss": ("warning", {"rows": rows_with(70, apgd_margin=2)}),
    "gradient-free": ("failed", {"rows": rows_with(1, square=2)}),
    "random-corners": ("failed", {"probes": probed("random-corners", 1, 24, found_255=1)}),
    "transfer": ("failed", {"has_surrogate": True, "probes": probed("transfer", 2, 24, found_255=2)}),
    "bpda": ("failed", {"has_front": True, "probes": probed("bpda", 2, 24, found_255=2)}),
    "uphill": ("failed", {"probes": probed("uphill", 2, 24, answer=False)}),
    "border": ("failed", {"probes": probed("border", 6, 24, answer=False)}),
    "smooth": ("failed", {"probes": probed("smooth", 3, 8, answer=False)}),
    "smooth ": (
        "warning",
        {"probes": probed("smooth", 8, 8, answer=False), "attacks": (*ATTACKS, *parse_attacks(["+square-2000"]))},
    ),
    "last-layer": ("failed", {"has_head": True, "probes": probed("last-layer", 2, 24, found_255=2)}),
    "last-layer ": ("warning", {"has_head": True, "attacks": BEHIND, "rows": rows_with(9, head=2)}),
    "last-layer  ": (
        "failed",
        {
            "has_head": True,
            "attacks": BEHIND,
            "rows": rows_with(9, head=2),
            "observed": [observed(climbed=("head",), refused=("head",))] * 20 + [observed(climbed=("head",))] * 180,
        },
    ),
    "unbounded": ("failed", {"probes": probed("unbounded", 1, 24, answer=False)}),
    "planted-adversary": ("failed", {"probes": probed("planted-adversary", 1, 8, answer=False)}),
    "realisable": ("warning", {"observed": [observed(realisable=False)] * 30 + [observed()] * 170}),
    "not-learnt-from": ("warning", {"overlap": Share(1, 200)}),
}  # fmt: skip


@pytest.mark.parametrize("case", LOUD)
def test_each_check_speaks_up_on_its_own_and_says_what_to_do(case):
    status, changes = LOUD[case]
    checks = {check.id: check for check in judge(evidence(**changes))}
    check = checks[case.strip()]
    assert check.status == status
    assert check.why.endswith(".")
    assert check.remedy or status == "warning"
    others = {id_ for id_, other in checks.items() if other.status == "failed"} - {case.strip()}
    assert not others, "a cause shows where it belongs"


def test_every_check_has_a_case_that_makes_it_loud():
    assert {case.strip() for case in LOUD} == {check.id for check in judge(evidence())}


QUIET = {
    "single-step": {"rows": rows_with(3, fgsm=1)},
    "convergence": {"probes": probed("convergence", 1, 24, found_255=2)},
    "monotone": {"probes": probed("monotone", 1, 24, answer=False)},
    "margin-loss": {"rows": rows_with(34, apgd_margin=2)},
    "realisable": {"observed": [observed(realisable=False)] * 12 + [observed()] * 188},
    "saturation": {"observed": [observed(margin=30.0)] * 200},
    "still-rising": {"observed": [observed(climbed=("pgd", "apgd-margin"), unfinished=("pgd",))] * 200},
    "gradients-present": {"gradients": GradientCounts(n_gradients=1000, n_margin=400, n_zero=4, n_zero_margin=4)},
    "gradients-present ": {
        "gradients": GradientCounts(n_gradients=1000, n_non_finite=11),
        "blind": ["blank.png"],
    },
    "output-kind": {"outputs": Outputs(OutputKind.PROBABILITIES, 0)},
    "transfer": {"has_surrogate": False},
    "uphill": {"probes": probed("uphill", 1, 24, answer=False)},
    "border": {"probes": probed("border", 4, 24, answer=False)},
    "smooth": {"probes": probed("smooth", 2, 8, answer=False)},
}


@pytest.mark.parametrize("id_", QUIET)
def test_a_borderline_image_or_a_known_way_round_raises_nothing(id_):
    assert said(id_, **QUIET[id_]).status in ("passed", "not_applicable")


def test_a_saturated_output_that_is_looked_behind_says_so():
    check = said("output-kind", outputs=Outputs(OutputKind.PROBABILITIES, 0))
    assert check.repaired_by == "the logits behind the probabilities"


def test_without_a_sample_nothing_is_claimed():
    """Left out is not passed: each sampled check warns that it was not asked."""
    only_two = [attack for attack in ATTACKS if attack.name in ("fgsm", "bim")]
    rows = [
        one.model_copy(update={"fooled_at": {name: one.fooled_at[name] for name in ("fgsm", "bim")}})
        for one in evidence().rows
    ]
    checks = {c.id: c for c in judge(evidence(sample_size=0, probes={}, attacks=only_two, rows=rows))}
    for id_ in SAMPLED:
        assert (checks[id_].status, checks[id_].value) == ("warning", None)
        assert "was left out" in checks[id_].why


def test_luck_is_the_exact_binomial_tail():
    """By hand: the probability of k or more among n, summed term by term."""
    for n, k, share in itertools.product((5, 24, 180), (2, 3, 5), (0.005, 0.05)):
        tail = sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1))
        assert by_luck(k, n, share) == (tail >= 0.05)


def test_one_image_of_several_is_luck_and_one_of_one_is_not():
    assert [by_luck(1, n, 0.005) for n in (1, 2, 8, 180)] == [False, True, True, True]


def test_the_interval_of_a_sample_is_wilsons():
    """Wilson 1927: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    check = share_check("x", Share(3, 24, sampled=True), 0.5, finding="", remedy="")
    p, n, z = 3 / 24, 24, 1.959964
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert check.interval == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)), abs=1e-5
    )


def test_the_gain_of_an_attack_is_the_most_that_a_brute_force_count_finds_at_one_eps():
    values = (1, 2, 4, 8, 10**9)
    pairs = [(a, b) for a in values for b in values for _ in range((a * 7 + b) % 3)]
    brute = max(sum(1 for new, old in pairs if new <= eps and old > eps) for eps in GRID)
    assert most_at_one_eps(pairs, GRID) == brute > 0
    assert most_at_one_eps([], GRID) == 0


# Repairs


def named(repair):
    return None if repair is None else (repair[0].name, repair[1])


def checks_with(*failed, loud=()):
    return [
        check.model_copy(
            update={
                "status": "failed" if check.id in failed else "warning" if check.id in loud else check.status,
                "value": 1.0,
            }
        )
        for check in judge(evidence())
    ]


QUICK = parse_attacks(["fgsm", "bim"])


@pytest.mark.parametrize(
    ("checks", "attacks", "added", "has_front", "expected"),
    [
        (checks_with(), ATTACKS, {}, True, None),
        (checks_with("gradients-present"), QUICK, {}, False, ("apgd-margin", "gradients-present")),
        (checks_with(loud=("saturation",)), QUICK, {}, False, ("apgd-margin", "saturation")),
        (checks_with("gradients-present"), ATTACKS, {}, False, None),
        (checks_with("bpda"), ATTACKS, {}, True, ("bpda", "bpda")),
        (checks_with("smooth"), ATTACKS, {}, False, ("square-2000", "smooth")),
        (checks_with("smooth", "repeatable"), ATTACKS, {}, False, None),
        (checks_with("last-layer"), ATTACKS, {}, False, ("head", "last-layer")),
        (checks_with("convergence"), ATTACKS, {}, False, ("pgd-80x2", "convergence")),
        (checks_with("convergence", "repeatable"), ATTACKS, {}, False, None),
        (checks_with("convergence", "uphill"), ATTACKS, {}, False, None),
        (
            checks_with("convergence"), (*ATTACKS, *parse_attacks(["+pgd-80x2"])), {"pgd-80x2": "convergence"}, False,
            ("apgd-margin-80x2", "convergence"),
        ),
        (
            checks_with("convergence"), (*ATTACKS, *parse_attacks(["+pgd-80x2", "+apgd-margin-80x2"])),
            {"pgd-80x2": "convergence", "apgd-margin-80x2": "convergence"}, False, None,
        ),
        (checks_with("unbounded"), ATTACKS, {}, False, None),
    ],
)  # fmt: skip
def test_an_attack_is_added_only_where_it_would_help_and_only_once(checks, attacks, added, has_front, expected):
    assert named(next_repair(checks, attacks, added, has_front)) == expected
