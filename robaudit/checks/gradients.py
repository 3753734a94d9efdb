"""Did the attacks have gradients to follow?"""

from robaudit.records import Check

MAX_ZERO_SHARE = 0.01
"""Share of gradients that may be exactly zero before the attacks count as blind."""


def gradients_present(n_gradients: int, n_zero: int, n_non_finite: int) -> Check:
    """Fails where gradients are NaN, infinite, or zero too often: then resisting an attack shows nothing.

    Args:
        n_gradients: image-gradients the attacks asked for.
        n_zero: of these, zero at every pixel (cross-entropy underflows when a model is very sure).
        n_non_finite: of these, NaN or infinite at some pixel.
    """
    share = (n_zero + n_non_finite) / n_gradients if n_gradients else 0.0
    blind = n_non_finite > 0 or share > MAX_ZERO_SHARE
    useless = f"{n_zero} of {n_gradients} gradients were zero at every pixel and {n_non_finite} not finite"
    return Check(
        id="gradients-present",
        status="failed" if blind else "warning" if n_zero else "passed",
        value=share,
        threshold=MAX_ZERO_SHARE,
        why=f"{useless}: the attacks had nothing to follow there, so what they left standing may not be robust."
        if blind
        else f"{useless}."
        if n_zero
        else "Every gradient was finite and pointed somewhere.",
        remedy="Add attacks with the margin loss (--attacks pgd,pgd-margin), and look for rounding, saturation or "
        "detached steps in the model."
        if blind or n_zero
        else "",
    )
