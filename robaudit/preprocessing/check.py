"""Is the model given what it was trained on? Clean accuracy as stated against every usual mistake, before any attack.

A wrong normalisation, negative or class order makes a model look bad without any attack, and every later figure wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import Tensor

from robaudit.attack.prepare import judging
from robaudit.data.images import ImageRef, Images
from robaudit.errors import SettingsError
from robaudit.load.classifier import LoadedModel
from robaudit.preprocessing.grid import GridNote, grid_note
from robaudit.preprocessing.hypotheses import Hypothesis, alternatives, stated
from robaudit.progress import Progress
from robaudit.records import Check, Tally
from robaudit.significance import SIGNIFICANCE, holm, mcnemar, p_value
from robaudit.typed import flag, listed

MARGIN = 0.05
"""An alternative must be right about more than this share of images more than what is stated."""
SAMPLE = 200
"""Images tried, at most."""
SCREEN = 32
"""Images of the sample on which every alternative is tried first."""
CONTENDERS = 2
"""Alternatives tried on the whole sample: those furthest ahead on the screen."""
_BATCH = 16

Answers = dict[str, int | None]
"""Image id -> output that the model answers with; None where it is not finite."""


@dataclass(frozen=True)
class Outcome:
    """How an alternative did on the sample, beside what is stated."""

    name: str
    flags: str
    n_correct: int
    only_stated: int
    """Images right as stated and wrong under the alternative."""
    only_alternative: int

    @property
    def gain(self) -> int:
        """Images won, less images lost."""
        return self.only_alternative - self.only_stated


def check_preprocessing(
    loaded: LoadedModel,
    images: Images,
    progress: Progress,
    *,
    accept: bool = False,
    expected: float | None = None,
) -> Check:
    """Refuse to go on where the images are given to the model in a way that another clearly beats.

    Args:
        loaded: the model, its normalisation inside.
        images: in the order of its classes; a stratified sample of at most `SAMPLE` is tried.
        progress: told of what is tried.
        accept: go on all the same; the check becomes a warning.
        expected: clean accuracy that the person knows the model to have, in [0, 1].

    Raises:
        SettingsError: an alternative is right about more than 5 points more images, and by a Holm-corrected exact
            McNemar test not by chance; or clean accuracy is as far below the expected one.
    """
    note = grid_note(loaded, images)
    if note is not None:
        progress.say(f"preprocessing: {note.why} {note.remedy}".rstrip())
    sample = images.limited(SAMPLE, seed=0)
    right, outcomes = _tried(loaded, sample, progress)
    problem = _better(len(sample), right, outcomes) or _below(len(sample), right, expected)
    if problem is None:
        found = _suspected(len(sample), right, outcomes, progress) or _passed(len(sample), right, outcomes)
    elif accept:
        progress.say(f"accepted: {problem}")
        best = max((outcome.gain for outcome in outcomes), default=0)
        found = _check("warning", max(best, 0) / len(sample), f"Accepted by the user: {problem}.", "Settle it first.")
    else:
        raise SettingsError(f"{loaded.info.path}: {problem}, or --accept-preprocessing to measure it as it is")
    return _with_note(found, note)


def require_preprocessing(loaded: LoadedModel, images: Images, progress: Progress) -> None:
    """The same before a training, which would learn to live with the mistake: nothing after it could tell.

    Raises:
        SettingsError: an alternative is clearly better, as above.
    """
    sample = images.limited(SAMPLE, seed=0)
    right, outcomes = _tried(loaded, sample, progress)
    if problem := _better(len(sample), right, outcomes):
        raise SettingsError(f"{loaded.info.path}: {problem}, or --accept-preprocessing to train it as it is")
    _suspected(len(sample), right, outcomes, progress)


def require_expected(path: str, clean: Tally, *, accept: bool = False, expected: float | None = None) -> None:
    """The same of an audit that is finished already, on all its images.

    Raises:
        SettingsError: clean accuracy is clearly below the expected one.
    """
    problem = _below(clean.n_images, clean.n_correct, expected)
    if problem is not None and not accept:
        raise SettingsError(f"{path}: {problem}, or --accept-preprocessing to take it as it is")


def _with_note(check: Check, note: GridNote | None) -> Check:
    """The check, saying as well how images are shown where the model's folder has it otherwise."""
    if note is None:
        return check
    return check.model_copy(
        update={
            "status": "warning" if note.remedy else check.status,
            "why": f"{check.why} {note.why}",
            "remedy": f"{check.remedy} {note.remedy}".strip(),
        }
    )


def _tried(loaded: LoadedModel, sample: Images, progress: Progress) -> tuple[int, list[Outcome]]:
    """How many images are right as stated, and how every alternative did where one could do clearly better."""
    progress.start("trying preprocessing", len(sample))
    answers = _answers(loaded, sample, sample.refs, stated(loaded, sample), progress)
    progress.finish()
    right = _right(sample, answers)
    if len(sample) - len(right) <= MARGIN * len(sample):
        return len(right), []
    return len(right), [*_others(loaded, sample, right, progress), _other_order(sample, answers, right)]


def _others(loaded: LoadedModel, sample: Images, right: set[str], progress: Progress) -> list[Outcome]:
    """Try every alternative on a few images, and those furthest ahead on all.

    To have looked at the others costs their share of significance: they count as tried in vain.
    """
    others, screen = alternatives(loaded, sample), sample.limited(SCREEN, seed=0)
    rest = [ref for ref in sample.refs if ref not in set(screen.refs)]
    progress.start("trying others", len(screen) * len(others) + len(rest) * CONTENDERS)
    seen = {other: _answers(loaded, sample, screen.refs, other, progress) for other in others}
    ahead = {other: len(_right(screen, seen[other])) - len(right & seen[other].keys()) for other in others}
    contenders = sorted((other for other in others if ahead[other] > 0), key=lambda other: -ahead[other])
    outcomes = {other: Outcome(other.name, other.flags, 0, 0, 0) for other in others}
    for other in contenders[:CONTENDERS]:
        found = seen[other] | _answers(loaded, sample, rest, other, progress)
        outcomes[other] = _outcome(other.name, other.flags, right, _right(sample, found))
    progress.finish()
    return list(outcomes.values())


def _right(sample: Images, answers: Answers) -> set[str]:
    """Ids of the images that are answered correctly."""
    return {ref.id for ref in sample.refs if answers[ref.id] == sample.label_index(ref)}


def _outcome(name: str, flags: str, right: set[str], now_right: set[str]) -> Outcome:
    return Outcome(name, flags, len(now_right), len(right - now_right), len(now_right - right))


def _answers(
    loaded: LoadedModel, images: Images, refs: Sequence[ImageRef], hypothesis: Hypothesis, progress: Progress
) -> Answers:
    """What the model answers when images are prepared as a hypothesis has it."""
    viewed, device = images.viewed(hypothesis.view), loaded.classifier.device
    answers: Answers = {}
    for start in range(0, len(refs), _BATCH):
        batch = refs[start : start + _BATCH]
        x = torch.stack([viewed.load(ref, hypothesis.size) for ref in batch]).to(device)
        progress.asking([ref.id for ref in batch])
        answers |= dict(zip((ref.id for ref in batch), _answered(loaded, hypothesis, x), strict=True))
        progress.asking(())  # pictures may be read next, from slow storage
        progress.advance(len(batch))
    return answers


def _answered(loaded: LoadedModel, hypothesis: Hypothesis, x: Tensor) -> list[int | None]:
    """Answers to a batch, in halves where memory runs out or the model fails; an image it fails on alone has none."""
    try:
        with judging(loaded.classifier) as model, torch.no_grad():
            logits = model(hypothesis.prepared(x, loaded.info.normalization))
    except Exception:
        if len(x) == 1:
            return [None]
        return [answer for half in x.chunk(2) for answer in _answered(loaded, hypothesis, half)]
    finite = logits.isfinite().all(dim=1).tolist()
    return [answer if known else None for known, answer in zip(finite, logits.argmax(dim=1).tolist(), strict=True)]


def _other_order(sample: Images, answers: Answers, right: set[str]) -> Outcome:
    """The class order that fits the answers best, judged on images that did not choose it.

    Each half of the sample is judged by the order that fits the other half.
    """
    halves = [[ref for ref in sample.refs if _half(ref) == half] for half in (0, 1)]
    now_right: set[str] = set()
    for judged, chosen_by in zip(halves, reversed(halves), strict=True):
        order = _best_order(sample, chosen_by, answers)
        now_right |= {ref.id for ref in judged if (a := answers[ref.id]) is not None and order[a] == ref.label}
    order = _best_order(sample, sample.refs, answers)
    # Where the data has numbers for names, names given to them would only follow: the numbers themselves must be moved.
    typed = [str(sample.classes.index(name)) for name in order] if sample.numbered else order
    return _outcome(f"class order {', '.join(order)}", flag("--classes", listed(typed)), right, now_right)


def _half(ref: ImageRef) -> int:
    return int(ref.lot(seed=1)[0], 16) % 2


def _best_order(sample: Images, refs: Sequence[ImageRef], answers: Answers) -> tuple[str, ...]:
    """The name of each output that makes most answers right; outputs that nothing decides keep theirs."""
    confusion = np.eye(len(sample.classes)) * 0.5  # less than one image: only ties are decided by it
    for ref in refs:
        if (answer := answers[ref.id]) is not None:
            confusion[answer, sample.label_index(ref)] += 1
    _, order = linear_sum_assignment(confusion, maximize=True)
    return tuple(sample.classes[index] for index in order)


def _ahead(n: int, outcomes: Sequence[Outcome]) -> list[tuple[Outcome, float]]:
    """Alternatives that are right about clearly more images, the best first, and their corrected p."""
    adjusted = holm([mcnemar(outcome.only_stated, outcome.only_alternative) for outcome in outcomes])
    ahead = [(outcome, p) for outcome, p in zip(outcomes, adjusted, strict=True) if outcome.gain > MARGIN * n]
    return sorted(ahead, key=lambda pair: -pair[0].gain)


def _better(n: int, right: int, outcomes: Sequence[Outcome]) -> str | None:
    """What beats the stated preprocessing, in words; None where nothing does."""
    winners = [(outcome, p) for outcome, p in _ahead(n, outcomes) if p < SIGNIFICANCE]
    if not winners:
        return None
    best, _ = winners[0]
    as_good = [(outcome, p) for outcome, p in winners if outcome.gain >= best.gain - MARGIN * n]
    found = " or ".join(f"{_share(outcome.n_correct, n)} with {outcome.name} ({p_value(p)})" for outcome, p in as_good)
    flags = ", or ".join(outcome.flags for outcome, _ in as_good)
    return f"clean accuracy is {_share(right, n)} of {n} images as stated, and {found}; pass {flags}"


def _suspected(n: int, right: int, outcomes: Sequence[Outcome], progress: Progress) -> Check | None:
    """A warning where an alternative is ahead and chance may explain it; None where none is.

    A mistake among few images looks like this, and so does luck: the scan goes on, and the reader is told.
    """
    ahead = _ahead(n, outcomes)
    if not ahead:
        return None
    best, p = ahead[0]
    why = (
        f"Clean accuracy is {_share(right, n)} of {n} images as stated "
        f"and {_share(best.n_correct, n)} with {best.name}, which may be chance ({p_value(p)})."
    )
    more = f"Audit more images (up to {SAMPLE} are tried), or make" if n < SAMPLE else "Make"
    remedy = f"{more} sure that the model was trained with what is stated; if not, pass {best.flags}."
    progress.say(f"preprocessing: {why} {remedy}")
    return _check("warning", best.gain / n, why, remedy)


def _below(n: int, right: int, expected: float | None) -> str | None:
    """How far clean accuracy lies below the expected, in words; None where it does not."""
    if expected is None or right / n >= expected - MARGIN:
        return None
    if binomtest(right, n, expected, alternative="less").pvalue >= SIGNIFICANCE:
        return None
    return (
        f"clean accuracy is {_share(right, n)} of {n} images, expected {expected:.1%}, and no preprocessing that was "
        "tried explains it; check the weights, the images and their labels"
    )


def _share(count: int, n: int) -> str:
    return f"{count / n:.1%}"


def _passed(n: int, right: int, outcomes: Sequence[Outcome]) -> Check:
    best = max((outcome.gain for outcome in outcomes), default=0)
    tried = f"none of {len(outcomes)} alternatives is clearly better" if outcomes else "no alternative could be better"
    return _check("passed", max(best, 0) / n, f"Clean accuracy is {_share(right, n)} on {n} images; {tried}.", "")


def _check(status: str, value: float, why: str, remedy: str) -> Check:
    return Check.model_validate(
        {"id": "preprocessing", "status": status, "value": value, "threshold": MARGIN, "why": why, "remedy": remedy}
    )
