"""Do the adversarials survive being saved in a file?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

REALISABLE = "realisable"
MAX_SHARE = 0.05


def adversarials_survive_rounding(evidence: Evidence) -> Check:
    """Warns where adversarials stop fooling once rounded to the grey levels that the image's own file can hold."""
    rounded = [each.realisable for each in evidence.observed if each.realisable is not None]
    if not rounded:
        return not_applicable(REALISABLE, "No adversarial was found.")
    return share_check(
        REALISABLE,
        sum(not survives for survives in rounded),
        len(rounded),
        MAX_SHARE,
        why="were fooled by a picture that no longer fools once rounded to the grey levels of its file.",
        remedy="Read the curve as of an attacker behind the decoder; one who must save a file does a little worse.",
        quiet="were fooled by a picture that no longer fools once rounded to the grey levels of its file.",
        loud="warning",
    )
