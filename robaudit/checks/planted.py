"""Do the attacks find an adversarial example that is known to be there?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attack.batching import Batches, Dialogue, Logits, Task, UnanswerableError, Work
from robaudit.attack.climb import Target
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import within_ball
from robaudit.attack.threats import Source
from robaudit.checks.asking import Ask
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.checks.unbounded import WITHOUT_BOUND, any_fools
from robaudit.load.features import NotAskedError
from robaudit.records import Check, ImageRow

PLANTED = "planted-adversary"
MAX_SHARE = 0.05
"""Share of planted adversarials that may be missed (Zimmermann et al. 2022)."""
MAX_PLANTED = 8
"""Images that get a planted adversary: each costs a head of its own."""
MAX_INNER = 64
"""Random points of the ball that a planted head must call harmless; half as many as features speak, if fewer."""
AT_A_TIME = 8
"""Of these points, through the network."""
PLANTED_THRESHOLD = 0.9
"""Where the planted head decides, between -1 (harmless points) and 1 (the planted one)."""


def planted_are_found(evidence: Evidence) -> Check:
    """Fails where attacks miss adversarials planted in the ball by a new head on the model's own features.

    The binarisation test of Zimmermann et al. 2022: every sampled image then has an adversarial, so attacks that follow
    the features' gradients must find one.
    """
    return share_check(
        PLANTED,
        evidence.answered_no(PLANTED),
        MAX_SHARE,
        finding="have an adversarial planted in their ball that the attacks did not find",
        meaning="They are too weak here.",
        remedy="Look for masked gradients between the image and the last layer, or take more steps.",
        beyond_chance=False,
        nothing="No head could be put on the last features: none were found, or too few.",
    )


def planted(features: Callable[[Tensor], Tensor], eps_255: int) -> Ask:
    """Whether attacks find an adversarial planted by a new head on the features (Zimmermann et al. 2022)."""

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        def answered(x: Tensor) -> Tensor:
            try:
                return features(x)
            except NotAskedError:
                raise
            except Exception as error:  # the model's own
                raise UnanswerableError(row.id, error) from error

        try:
            head = _plant(answered, target, eps_255 / 255, work)
            if head is None:
                return None
            # A network of its own: answered here, one picture at a time, and not in the batches of the audited model.
            victim = Target(target.origin, 0, target.sha256, target.seed)
            batches = Batches(dict.fromkeys(Source, head), head, width=1)
            (found,) = batches.run([Task(any_fools(victim, WITHOUT_BOUND, eps_255), work)])
        except NotAskedError:
            return None
        return found
        yield  # a dialogue that asks nothing of the audited model

    return ask


def _plant(features: Callable[[Tensor], Tensor], target: Target, eps: float, work: Work) -> Logits | None:
    """A head of two classes that calls the image and random points of its ball 0, and one random corner 1.

    The direction is the smallest one that takes the features of the harmless points to -1 and of the corner to 1.
    Features that are zero at the image are left out: units that sleep pass no gradient on, and where one wakes at the
    corner and at no other point, the head would hang on it alone, flat wherever attacks begin.

    Returns:
        Pixels -> logits (B, 2), or None where the features cannot tell these points apart.
    """
    origin = target.origin
    with torch.no_grad():
        speaks = features(origin[None]).flatten() != 0
    n_inner = min(MAX_INNER, int(speaks.sum()) // 2)
    seeds = (derived_seed(target.seed, target.sha256, PLANTED, index) for index in range(n_inner + 1))
    noise = [uniform(origin.shape, eps, seed).to(origin.device) for seed in seeds]
    points = [origin, *(within_ball(origin + each, origin, eps) for each in noise[:-1])]
    points.append(within_ball(origin + eps * noise[-1].sign(), origin, eps))
    with torch.no_grad():
        few_by_few = torch.split(torch.stack(points), AT_A_TIME)
        rows = torch.cat([features(few).flatten(1)[:, speaks] for few in few_by_few]).double()
    work.forwards += len(points) + 1
    wanted = torch.full((len(points),), -1.0, dtype=rows.dtype, device=rows.device)
    wanted[-1] = 1.0
    centre, scale = rows.mean(0), (rows - rows.mean(0)).norm() / len(rows)
    if not rows.isfinite().all() or scale == 0:
        return None
    direction = torch.linalg.pinv((rows - centre) / scale, rcond=1e-6) @ (wanted - wanted.mean())
    reached = (rows - centre) / scale @ direction + wanted.mean()
    if not reached[-1] > PLANTED_THRESHOLD or not (reached[:-1] < PLANTED_THRESHOLD).all():
        return None
    direction, centre = (direction / scale).float(), centre.float()

    def head(x: Tensor) -> Tensor:
        seen = features(x).flatten(1)[:, speaks].float()
        score = (seen - centre) @ direction + (float(wanted.mean()) - PLANTED_THRESHOLD)
        return torch.stack([-score, score], 1)

    return head
