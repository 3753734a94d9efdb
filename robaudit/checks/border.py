"""Does the answer turn gradually, or jump?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robaudit.attack.batching import Dialogue, Work, query
from robaudit.attack.climb import Target
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.threats import Source
from robaudit.checks.asking import Ask
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check, ImageRow

BORDER = "border"
MAX_SHARE = 0.1
NEARBY = 1 / (64 * 255)
"""How far apart two pictures on either side of the border are, at most: a 64th of a grey level."""
LEAST_CONTRAST = 1 / 255
"""Between the darkest and the lightest pixel of a picture at which a turn counts: a grey level."""
MAX_JUMP = 0.25
"""Margins on both sides together, as a share of the largest margin at the ends of the way, that are still gradual."""


def answers_turn_gradually(evidence: Evidence) -> Check:
    """Fails where the margin jumps as the answer turns: then its height tells nothing of how near the border is.

    Attacks climb the margin, by gradients or by queries; of a jump neither sees anything until it is past. Where an
    attack behind the answers was run, the margin is that of what it follows, which must be near nothing there too.
    """
    return share_check(
        BORDER,
        evidence.answered_no(BORDER),
        MAX_SHARE,
        finding="change their answer in a jump, on the way to a picture of another",
        meaning="How sure the model is does not tell how near another answer is, which is what attacks follow.",
        remedy="Look for thresholds, rounding and detectors in the model, and attack what comes before them.",
        nothing="No way from a sampled image to another answer is known.",
    )


def turns_gradually(source: Source | None) -> Ask:
    """Whether the margin is near nothing where the answer turns, on a straight way to a picture of another answer.

    The ends are brought together by halves, so that the model's answer turns between them; the margin is that of what
    is followed. A turn where the picture is all but flat does not count: a model that standardises each picture sees
    full contrast until there is none. None where no other way is known.
    """

    def seen_in(target: Target, pictures: Sequence[Tensor]) -> Dialogue[list[tuple[int | None, float]]]:
        answers = yield from query(pictures)
        followed = answers if source is None else (yield from query(pictures, source))
        return [(one.prediction, two.margin(target.label)) for one, two in zip(answers, followed, strict=True)]

    def sides(target: Target, before: float, end: Tensor, beyond: float) -> Dialogue[tuple[float, float] | None]:
        here, there = target.origin, end
        while float((there - here).abs().max()) > NEARBY:
            middle = (here + there) / 2
            ((answer, margin),) = yield from seen_in(target, [middle])
            if answer is None:
                return None
            if answer == target.label:
                here, before = middle, margin
            else:
                there, beyond = middle, margin
        return None if float(there.amax() - there.amin()) < LEAST_CONTRAST else (before, beyond)

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        dice = derived_seed(target.seed, target.sha256, BORDER)
        noise = (uniform(target.origin.shape, 0.5, dice) + 0.5).to(target.origin.device)
        pictures = [*(torch.full_like(target.origin, grey) for grey in (0.5, 0.0, 1.0)), noise]
        (_, before), *ends = yield from seen_in(target, [target.origin, *pictures])
        for picture, (answer, margin) in zip(pictures, ends, strict=True):
            if answer not in (None, target.label):
                met = yield from sides(target, before, picture, margin)
                if met is not None:
                    return sum(map(abs, met)) <= MAX_JUMP * max(-before, margin)
        return None

    return ask
