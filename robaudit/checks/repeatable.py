"""Does the model give the same answer every time, and in any company?"""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attack.batching import Logits
from robaudit.attack.curve import Engine
from robaudit.attack.prepare import judging, unasked_copy
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import within_ball
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import plain_check
from robaudit.data.images import Images
from robaudit.records import Check

REPEATABLE = "repeatable"
N_PASSES = 5
MAX_CHANGE = 1e-4
"""Largest relative change of a logit between passes; both constants are AutoAttack's (Croce & Hein 2020)."""
N_ALONE = 4
"""Pictures, and as many random points of balls, that are also asked without any company."""
MAX_ROUNDING = 0.1
"""Largest relative change of a logit that another shape of batch may make: networks that compute in 8 bits round so."""


def repeatable(evidence: Evidence) -> Check:
    """Fails where the same pictures get other logits another time, or beside or after others: luck may then fool."""
    change = evidence.unrepeatable
    return plain_check(
        REPEATABLE,
        not change <= MAX_CHANGE,
        value=min(change, 1e9),
        threshold=MAX_CHANGE,
        why=f"The same images got other logits within {N_PASSES} passes beside other images (relative change "
        f"{change:.2g}), so images may have been fooled, or spared, by chance.",
        remedy="Switch off dropout, noise and other random steps in the model's forward pass, what remembers earlier "
        "pictures, and what looks at others of the batch, such as batch-norm without running statistics.",
        quiet=f"The model gave the same answers {N_PASSES} times, whatever images stood beside them.",
    )


def unrepeatable(engine: Engine, images: Images) -> float:
    """Largest change of a logit between passes, relative to the largest, without what a picture's logits share.

    A batch of images and as many random points of their balls are asked, each time with other neighbours, noise where
    there are too few: a model may look at the rest of its batch, or be random only off the grey levels of files. Then a
    model that has not been asked before is, the random points first: what was asked earlier may be remembered. Last, a
    few are asked alone; another shape of batch rounds otherwise, and what may be rounding does not count. Infinite
    where finiteness itself changed.
    """
    width, plan = engine.width, engine.plan
    refs = images.refs[:width]
    pictures = torch.stack([engine.picture(images, ref) for ref in refs])
    eps = plan.grid[-1] / 255
    seeds = [derived_seed(plan.seed, ref.sha256, REPEATABLE) for ref in refs]
    moves = torch.stack([uniform(pictures[0].shape, eps, seed) for seed in seeds]).to(engine.device)
    looked_at = torch.cat([pictures, within_ball(pictures + moves, pictures, eps)])
    noise = engine.example[:1].expand(2 * width - len(looked_at), -1, -1, -1)
    shown = torch.cat([looked_at, noise])
    with judging(engine.model) as untouched, torch.no_grad():
        asked = [_asked_rolled(untouched, shown, width, turn) for turn in range(N_PASSES)]
    with judging(unasked_copy(engine.unasked)) as forgetful, torch.no_grad():
        asked.append(_asked_rolled(forgetful, shown, width, len(pictures)))
        some = torch.cat([pictures[:N_ALONE], looked_at[-N_ALONE:]])
        alone = _asked_rolled(forgetful, some, 1, 0)
    first, *others = (logits[: len(looked_at)] for logits in asked)
    in_company = torch.cat([first[: len(pictures)][:N_ALONE], first[-N_ALONE:]])
    apart = _change(in_company, alone)
    return max(*(_change(first, other) for other in others), apart if apart > MAX_ROUNDING else 0.0)


def _change(logits: Tensor, others: Tensor) -> float:
    """Largest change of a logit, relative to the largest; infinite where finiteness itself changed."""
    if not torch.equal(logits.isfinite(), others.isfinite()):
        return float("inf")
    largest = float(torch.nan_to_num(logits.abs()).amax().clamp_min(torch.finfo(logits.dtype).tiny))
    return float(torch.nan_to_num((logits - others).abs()).amax()) / largest


def _asked_rolled(model: Logits, shown: Tensor, width: int, turn: int) -> Tensor:
    """Centred logits (N, K) of N pictures, asked in batches of `width` that begin `turn` pictures later."""
    logits = torch.cat([model(batch) for batch in torch.split(shown.roll(-turn, 0), width)]).roll(turn, 0)
    return logits - logits.mean(1, keepdim=True)
