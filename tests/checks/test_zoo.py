"""The zoo under a whole audit: fake defences are called out or broken, honest models raise nothing."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
import zoo
from torch import nn

from robaudit.attack.batching import Batches, Task, Work
from robaudit.attack.climb import Target
from robaudit.attack.names import parse_attacks
from robaudit.attack.threats import Source
from robaudit.audit.scan import scan
from robaudit.checks.probes import questions
from robaudit.records import AuditRecord

GRID = (1, 2, 4, 6, 8)
FEW_EPS = (2, 8)
"""Enough where the number does not matter, for it is called out; of the twins, not for all."""

BROKEN = (
    "logits x30",
    "logits x300",
    "softmax",
    "saturated softmax",
    "one sigmoid",
    "scrambled confidence",
    "waves on logits",
    "cliff",
    "softmax by hand",
    "sign of logits",
    "clamped logits",
    "rounded logits",
)
"""Fake defences whose number is right all the same: the audit gets around them."""
CALLED_OUT = {
    "detached": "gradients-present",
    "8 levels": "gradients-present",
    "32 levels": "gradients-present",
    "jpeg-like": "gradients-present",
    "thermometer": "gradients-present",
    "no finite gradient": "gradients-present",
    "vote": "gradients-present",
    "hot front": "gradients-present",
    "detector": "unbounded",
    "noise": "repeatable",
    "random resize": "repeatable",
    "dropout left on": "repeatable",
    "centred over the batch": "repeatable",
    "scrambled, unseen": "border",
    "cliff, unseen": "border",
    "reversed gradient": "uphill",
    "another pass for gradients": "uphill",
    "half detached": "uphill",
    "noise off the grid": "repeatable",
    "equalised": "gradients-present",
    "pruned at random": "repeatable",
    "ranked answers": "gradients-present",
    "half the pixels": "uphill",
    "reversed where dark": "uphill",
    "waves in step": "gradient-free",
    "faint answers of noise": "repeatable",
}
"""Fake defence -> a check that must fail on it."""
TWINS = {
    "logits x300", "saturated softmax", "32 levels", "detached", "sign of logits", "4 classes", "vote", "equalised",
    "pruned at random", "ranked answers", "jpeg-like", "softmax by hand", "cliff, unseen", "random resize",
    "8 levels", "noise", "10 classes", "standardised", "stretched", "reversed where dark", "faint answers of noise",
    "thermometer", "retrofitted", "waves in step", "no finite gradient", "another pass for gradients", "cliff",
    "scrambled confidence", "clamped logits",
}  # fmt: skip
"""Much like another member, or long: audited with -m slow alone."""
JAGGED = "noise made of the image"
"""Easier to fool than the model behind it, for those who ask often enough."""


@pytest.fixture(scope="session")
def audit_of(tmp_path_factory: pytest.TempPathFactory):
    """Audit a member of the zoo, once."""
    root = tmp_path_factory.mktemp("zoo")
    done: dict[str, AuditRecord] = {}

    def audit(name: str) -> AuditRecord:
        if name not in done:
            n_classes = int(name.split()[0]) if name.endswith("classes") else 2
            data = root / "pictures" / str(n_classes)
            if not data.exists():
                zoo.write_pictures(data, n_classes)
            make = {**zoo.HONEST, **zoo.FAKE, "constant": zoo.Constant}[name]
            eps, check_sample = (FEW_EPS, 2) if name in CALLED_OUT.keys() - TWINS else (GRID, 8 if name in TWINS else 4)
            done[name] = scan(make(), data, out=root / name, eps=eps, check_sample=check_sample)
        return done[name]

    return audit


def loud(record: AuditRecord) -> set[str]:
    return {check.id for check in record.checks if check.status in ("warning", "failed")}


def members(names: Iterable[str]):
    return [pytest.param(name, marks=pytest.mark.slow if name in TWINS else ()) for name in names]


def worst(record: AuditRecord) -> list[int]:
    return [point.n_correct for point in record.worst_case.points]


def test_every_member_is_expected_to_do_something():
    assert {*BROKEN, JAGGED} | CALLED_OUT.keys() == zoo.FAKE.keys()


@pytest.mark.parametrize("name", members(zoo.HONEST))
def test_honest_models_raise_nothing(audit_of, name):
    record = audit_of(name)
    assert loud(record) == set()
    assert record.verdict.kind == "measured"
    assert all(attack.added_by is None for attack in record.attacks)
    assert record.clean.n_correct >= 0.95 * record.clean.n_images
    assert len(set(worst(record))) >= 3, "a curve that does not fall shows nothing"


def test_adversarial_training_is_seen_as_robustness(audit_of):
    """Whatever the checks doubt, they must leave real robustness standing."""
    at_4 = GRID.index(4)
    assert worst(audit_of("adversarially trained"))[at_4] >= worst(audit_of("vanilla"))[at_4] + 4


@pytest.mark.parametrize("name", members(BROKEN))
def test_a_defence_that_is_got_around_gets_the_curve_of_the_model_behind_it(audit_of, name):
    record, behind = audit_of(name), audit_of("vanilla")
    assert record.verdict.kind == "measured"
    assert record.clean.n_correct == behind.clean.n_correct
    for masked, unmasked in zip(worst(record), worst(behind), strict=True):
        assert masked <= unmasked + 1


@pytest.mark.parametrize("name", members(CALLED_OUT))
def test_a_defence_that_is_not_got_around_is_called_out(audit_of, name):
    record = audit_of(name)
    assert record.verdict.kind == "inconclusive"
    assert CALLED_OUT[name] in record.verdict.reasons


def test_without_the_margin_the_same_trick_looks_robust(audit_of):
    """What the whole exercise is about: the four attacks alone are fooled by a factor of thirty."""
    record, behind = audit_of("logits x30"), audit_of("vanilla")
    four = [attack for attack in record.attacks if attack.scope == "all"]
    last = len(GRID) - 1
    assert min(attack.points[last].n_correct for attack in four) >= 0.9 * record.clean.n_images
    assert worst(behind)[last] == 0
    assert {"gradients-present", "margin-loss"} <= loud(record)


def test_a_quick_audit_of_it_is_repaired_and_says_so(audit_of, tmp_path: Path):
    """With FGSM and BIM alone the number would be wrong: a check notices, and an attack is added and run on all."""
    data = zoo.write_pictures(tmp_path / "data", 2)
    record = scan(zoo.FAKE["logits x30"](), data, out=tmp_path / "out", preset="quick", eps=GRID, check_sample=8)
    added = [attack for attack in record.attacks if attack.added_by]
    assert [attack.name for attack in added] == ["apgd-margin"]
    assert added[0].scope == "survivors"
    for masked, unmasked in zip(worst(record), worst(audit_of("vanilla")), strict=True):
        assert masked <= unmasked + 1
    mended = {check.id: check for check in record.checks}["gradients-present"]
    assert (mended.status, mended.repaired_by) == ("warning", "apgd-margin")
    assert record.verdict.kind == "measured"
    assert "apgd-margin was added because the check gradients-present asked for it" in record.verdict.sentence


def test_noise_made_of_the_image_is_found_jagged_and_attacked_by_more_queries(tmp_path: Path):
    """It is repeatable and its gradients lead up, on average; what it blurs, queries find."""
    data = zoo.write_pictures(tmp_path / "data", 2)
    record = scan(zoo.FAKE[JAGGED](), data, out=tmp_path / "out", attacks=["fgsm"], eps=[4], limit=8, check_sample=8)
    check = next(check for check in record.checks if check.id == "smooth")
    assert (check.status, check.repaired_by) == ("warning", "square-2000")
    assert {attack.name: attack.added_by for attack in record.attacks}["square-2000"] == "smooth"


def test_a_last_layer_of_which_nothing_is_made_excuses_no_missing_gradient(tmp_path: Path):
    """Its gradients are there, and turn nothing."""
    data = zoo.write_pictures(tmp_path / "data", 2)
    attacks = ["pgd-margin", "+head"]
    record = scan(zoo.Decoy(), data, out=tmp_path / "out", attacks=attacks, eps=[4], limit=8, check_sample=1)
    assert "gradients-present" in record.verdict.reasons


def answers_of(check: str, model: nn.Module) -> list[bool | None]:
    """What four pictures answer to a check's question."""
    asked = questions(
        parse_attacks(["fgsm"]), (4,), has_front=False, has_surrogate=False, has_head=False,
        predicted=frozenset((0, 1)), features=None,
    )  # fmt: skip
    (ask,) = (question.ask for question in asked if question.check == check)
    batches = Batches(dict.fromkeys(Source, model), model, width=8)
    x, y = zoo.pictures(2, 2, seed=1)
    targets = [
        Target(one, label, f"{index:064d}", 0) for index, (one, label) in enumerate(zip(x, y.tolist(), strict=True))
    ]
    return list(batches.run(Task(ask(None, target, Work()), Work()) for target in targets))


@pytest.mark.parametrize(("before", "is_smooth"), [(zoo.rippled, False), (lambda x: x, True)])
def test_ripples_in_step_with_a_walk_of_equal_steps_are_found_jagged(before, is_smooth):
    """Sixteen to a grey level: a walk of sixteen steps to the level meets each at the same place."""
    assert answers_of("smooth", zoo.Around(zoo.trained(), before=before)) == [is_smooth] * 4


def test_waves_along_the_gradient_are_found_on_a_walk_along_it():
    assert answers_of("smooth", zoo.InStep()) == [False] * 4


@pytest.mark.parametrize("before", [zoo.standardised, zoo.stretched])
def test_a_turn_where_there_is_no_contrast_left_is_no_jump(before):
    """On the way to flat grey such a model sees full contrast until there is none."""
    assert False not in answers_of("border", zoo.Around(zoo.trained(), before=before))


class Bent(nn.Module):
    """Its margin rises along its gradient, half a grey level to one, and more against it: a right gradient, bent."""

    def forward(self, x):
        phase = 2 * math.pi * 255 * x  # a turn to the grey level; pictures of 8 bits lie at its start
        margin = 0.1 * phase.sin().mean((1, 2, 3)) + 3 * (1 - phase.cos()).mean((1, 2, 3)) - 1
        return torch.stack([-margin / 2, margin / 2], 1)


def test_a_margin_that_bends_more_than_it_rises_has_the_gradient_that_it_has():
    assert answers_of("uphill", Bent()).count(True) == 2, "the two of the class it answers; the others are at a peak"


def test_a_constant_model_is_named_as_one_and_never_called_robust(audit_of):
    record = audit_of("constant")
    assert worst(record) == [zoo.N_PER_CLASS] * len(GRID)
    assert record.verdict.kind == "inconclusive"
    assert "predicts-classes" in record.verdict.reasons
    assert "predicts one class (class01)" in record.verdict.sentence


def test_no_code_recognises_a_member_by_its_type():
    package = Path(zoo.__file__).parents[2] / "robaudit"
    names = ("Around", "Detector", "Scrambled", "NoLinearLayer", "Reversed", "HotFront", "thermometer", "jpeg_like")
    for file in package.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not [name for name in names if name in text], file
