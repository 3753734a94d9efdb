"""Do the adversarials survive being saved in a file?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

REALISABLE = "realisable"
MAX_SHARE = 0.05


def adversarials_survive_rounding(evidence: Evidence) -> Check:
    """Warns where adversarials stop fooling once rounded to the grey levels that the image's own file can hold."""
    share = evidence.observed_share(lambda each: not each.realisable, lambda each: each.realisable is not None)
    if not share.n_images:
        return not_applicable(REALISABLE, "No adversarial was found.")
    return share_check(
        REALISABLE,
        share,
        MAX_SHARE,
        finding="were fooled by a picture that no longer fools once rounded to the grey levels of its file",
        remedy="Read the curve as of an attacker behind the decoder; one who must save a file does a little worse.",
        loud="warning",
    )
