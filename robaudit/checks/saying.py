"""How a check is put: a share of images against a threshold, or a plain answer."""

from __future__ import annotations

from typing import Literal

from robaudit.checks.evidence import Share
from robaudit.intervals import wilson
from robaudit.records import Check
from robaudit.significance import by_luck

Loud = Literal["warning", "failed"]

NOT_ASKED = "was left out: no image was sampled"
NOTHING_TO_ASK = "No image was answered correctly, or no attack to compare with was run on all of them."
TAKE_A_SAMPLE = "Scan with --check-sample 24."


def share_check(
    id_: str,
    share: Share | None,
    threshold: float,
    *,
    finding: str,
    remedy: str,
    meaning: str = "",
    loud: Loud = "failed",
    beyond_chance: bool = True,
    nothing: str = NOTHING_TO_ASK,
) -> Check:
    """A check that speaks up where more than `threshold` of the images show something.

    Args:
        id_: of the check.
        share: images that show it, of those asked; none asked makes the check not applicable; None: the sample was left
            out.
        threshold: share above which it speaks up.
        finding: what they show, to follow "N of M images".
        remedy: what to do where it speaks up.
        meaning: a sentence on what that means; said only then.
        loud: how loud it then is.
        beyond_chance: whether a share above the threshold must also be more than luck: an exact binomial test, 5%. One
            borderline image among few is then no evidence.
        nothing: why there was none to ask, where there was none.
    """
    if share is None:
        return left_out(id_)
    n_found, n_images = share.n_found, share.n_images
    if n_images == 0:
        return not_applicable(id_, nothing)
    speaks = is_more(share, threshold, beyond_chance=beyond_chance)
    low, high = wilson(n_found, n_images)
    of_what = "sampled images" if share.sampled else "images"
    return Check(
        id=id_,
        status=loud if speaks else "passed",
        value=round(n_found / n_images, 6),
        threshold=threshold,
        why=f"{n_found} of {n_images} {of_what} {finding}.{f' {meaning}' if speaks and meaning else ''}",
        remedy=remedy if speaks else "",
        sample_size=n_images if share.sampled else None,
        interval=(round(low, 6), round(high, 6)) if share.sampled else None,
    )


def is_more(share: Share, threshold: float, *, beyond_chance: bool = True) -> bool:
    """Whether a share of images is above a threshold, and is no luck."""
    n_found, n_images = share.n_found, share.n_images
    return n_found > threshold * n_images and not (beyond_chance and by_luck(n_found, n_images, threshold))


def another_way_check(
    id_: str,
    gained: Share | None,
    max_share: float,
    *,
    finding: str,
    meaning: str,
    attack: str,
    remedy: str,
    max_share_of_all: float | None = None,
) -> Check:
    """A check on what an attack gains that goes another way: to be added where it was only sampled.

    Where it was run on all images, the worst case includes what it found, and it is a warning.

    Args:
        id_: of the check.
        gained: images that fell to it alone; None: not asked.
        max_share: share of the sample above which it speaks up.
        finding: what they show, to follow "N of M images".
        meaning: a sentence on what that means; said only then.
        attack: its name, as `--attacks` takes it.
        remedy: what to do where it was run on all images.
        max_share_of_all: share of all images above which it speaks up; None: that of the sample.
    """
    if gained is None or gained.sampled:
        add = f"Add that attack (--attacks fgsm,bim,mifgsm,pgd,{attack})."
        return share_check(id_, gained, max_share, finding=finding, meaning=meaning, remedy=add)
    return share_check(
        id_,
        gained,
        max_share if max_share_of_all is None else max_share_of_all,
        finding=f"{finding}; the worst case includes both",
        meaning=meaning,
        remedy=remedy,
        loud="warning",
    )


def plain_check(
    id_: str,
    speaks: bool,
    *,
    why: str,
    remedy: str,
    quiet: str,
    value: float | None = None,
    threshold: float = 0,
    loud: Loud = "failed",
) -> Check:
    """A check that is a plain yes or no.

    Args:
        id_: of the check.
        speaks: whether it speaks up.
        why: what it says then.
        remedy: what to do then.
        quiet: what it says otherwise.
        value: what was measured; None: whether it speaks up, as 1 or 0.
        threshold: above which it speaks up.
        loud: how loud it then is.
    """
    return Check(
        id=id_,
        status=loud if speaks else "passed",
        value=float(speaks) if value is None else value,
        threshold=threshold,
        why=why if speaks else quiet,
        remedy=remedy if speaks else "",
    )


def not_applicable(id_: str, why: str) -> Check:
    """A check that has nothing to look at here."""
    return Check(id=id_, status="not_applicable", value=None, threshold=None, why=why, remedy="")


def left_out(id_: str) -> Check:
    """A check whose sample the user set to nothing: no evidence either way, and said aloud."""
    return Check(id=id_, status="warning", value=None, threshold=None, why=f"{id_} {NOT_ASKED}.", remedy=TAKE_A_SAMPLE)
