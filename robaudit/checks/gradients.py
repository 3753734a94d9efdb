"""Did the attacks have gradients to follow?"""

from collections.abc import Sequence
from typing import Literal

from robaudit.checks.evidence import Evidence, follows_margin
from robaudit.checks.last_layer import last_layer_decides
from robaudit.inert import inert
from robaudit.records import Check

GRADIENTS_PRESENT = "gradients-present"
MAX_ZERO_SHARE = 0.01
"""Share of gradients that may be exactly zero, or not finite, before the attacks that follow them count as blind."""
N_NAMED = 3
"""Images that are named, of those with such gradients."""


def gradients_present(evidence: Evidence) -> Check:
    """Fails where gradients are NaN, infinite or zero too often: then resisting an attack shows nothing.

    One image of several is not enough: a blank one has no slope of its own, and says little of the others.
    Cross-entropy underflows where a model is very sure; an attack on the margin makes up for that, and it is a warning
    where there is one. For the margin's own gradient an attack behind the answers makes up, if it had gradients of
    what decides; `last-layer` and `border` ask for that.
    """
    counts = evidence.gradients
    at_image = [each.gradients for each in evidence.observed]
    n_mute = {loss: sum(kinds.get(loss) != "fine" for kinds in at_image) for loss in ("ce", "margin")}
    n_zero_entropy = counts.n_zero - counts.n_zero_margin
    n_entropy = counts.n_gradients - counts.n_margin - counts.n_behind
    shares = {
        "entropy": _share(n_zero_entropy, n_entropy),
        "margin": max(_share(counts.n_zero_margin, counts.n_margin), _share(n_mute["margin"], len(at_image))),
        "not finite": _share(counts.n_non_finite, n_entropy + counts.n_margin),
    }
    only_one = len(evidence.blind) == 1 < len(at_image)
    blind_to_margin = max(shares["margin"], shares["not finite"]) > MAX_ZERO_SHARE and not only_one
    blind_to_entropy = shares["entropy"] > MAX_ZERO_SHARE
    made_up_for = bool(evidence.names(follows_margin))
    words = (
        f"{n_zero_entropy} of {n_entropy} cross-entropy gradients and {counts.n_zero_margin} of {counts.n_margin} "
        f"margin gradients were zero at every pixel, {counts.n_non_finite} were not finite; at the images themselves "
        f"{n_mute['ce']} and {n_mute['margin']} of {len(at_image)} were of no use{_where(evidence.blind)}"
    )
    value = max(shares.values())
    if blind_to_margin or (blind_to_entropy and not made_up_for):
        if _looked_behind(evidence):
            behind = f"{counts.n_useless_behind} of {counts.n_behind} gradients of what the last layer returns were"
            why = f"{words}: attacks on the answers were blind, the one behind them not, where {behind} of no use."
            return _check("warning", value, why, "Read the worst case, and not the curve of one attack.")
        remedy = "Look for rounding, saturation, clamps or detached steps in the model: what is left may not be robust."
        return _check("failed", value, f"{words}.", remedy)
    if blind_to_entropy:
        return _check("warning", value, f"{words}: attacks on cross-entropy were blind, on the margin not.", "")
    return _check(
        "passed", value, "Every gradient was finite and pointed somewhere." if value == 0 else f"{words}.", ""
    )


def _where(blind: Sequence[str]) -> str:
    """The first of the images, by name."""
    return f" ({', '.join(map(inert, blind[:N_NAMED]))}{', ...' if len(blind) > N_NAMED else ''})" if blind else ""


def _looked_behind(evidence: Evidence) -> bool:
    """Whether an attack behind the answers had gradients, of what decides as far as it and the sample have shown."""
    counts = evidence.gradients
    had_some = counts.n_behind > 0 and _share(counts.n_useless_behind, counts.n_behind) <= MAX_ZERO_SHARE
    return had_some and evidence.sample_size > 0 and last_layer_decides(evidence)


def _share(n: int, of: int) -> float:
    return n / of if of else 0.0


def _check(status: Literal["passed", "warning", "failed"], value: float, why: str, remedy: str) -> Check:
    return Check(
        id=GRADIENTS_PRESENT,
        status=status,
        value=round(value, 6),
        threshold=MAX_ZERO_SHARE,
        why=why,
        remedy=remedy,
    )
