"""Did the attacks have gradients to follow?"""

from typing import Literal

from robaudit.records import Check

MAX_ZERO_SHARE = 0.01
"""Share of gradients that may be exactly zero before the attacks count as blind."""


def gradients_present(loss: str, n_gradients: int, n_zero: int, n_non_finite: int, n_zero_elsewhere: int = 0) -> Check:
    """Fails where gradients are NaN, infinite, or zero too often: then resisting an attack shows nothing.

    Args:
        loss: the loss judged by: margin where an attack climbs it, for it cannot fade with confidence.
        n_gradients: image-gradients the attacks took of it.
        n_zero: of these, zero at every pixel (cross-entropy underflows when a model is very sure).
        n_non_finite: image-gradients of any loss that were NaN or infinite at some pixel.
        n_zero_elsewhere: zero gradients of the other loss; they speak against its attacks alone.
    """
    share = n_zero / n_gradients if n_gradients else 0.0
    blind = n_non_finite > 0 or share > MAX_ZERO_SHARE
    useless = (
        f"{n_zero} of {n_gradients} {loss} gradients were zero at every pixel and {n_non_finite} gradients not finite"
    )
    if n_zero_elsewhere:
        useless += f"; {n_zero_elsewhere} cross-entropy gradients were zero, which the margin attacks make up for"
    if blind:
        remedy = "Look for rounding, saturation or detached steps in the model."
        if loss != "margin":
            remedy = f"Add attacks with the margin loss (--attacks pgd,pgd-margin). {remedy}"
        return _check("failed", share, f"{useless}: what the attacks left standing may not be robust.", remedy)
    if n_zero or n_zero_elsewhere:
        return _check("warning", share, f"{useless}.", "Trust the attacks with the margin loss more than the others.")
    return _check("passed", share, "Every gradient was finite and pointed somewhere.", "")


def _check(status: Literal["passed", "warning", "failed"], share: float, why: str, remedy: str) -> Check:
    return Check(id="gradients-present", status=status, value=share, threshold=MAX_ZERO_SHARE, why=why, remedy=remedy)
