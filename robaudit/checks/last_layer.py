"""Does an attack on what the last layer returns find what is hidden by what is done to it afterwards?"""

from robaudit.checks.evidence import Evidence, follows_answers, looks_behind_answers
from robaudit.checks.saying import another_way_check, not_applicable
from robaudit.records import Check

LAST_LAYER = "last-layer"
MAX_SHARE = 0.005


def answers_hide_nothing(evidence: Evidence) -> Check:
    """Speaks up where rounding, scaling or scrambling after the last layer blinds attacks that follow the answers.

    A warning where the attack that looks behind them was run on all images: the worst case then includes it.
    """
    if not evidence.has_head:
        return not_applicable(LAST_LAYER, "The model answers with what its last linear layer returns, or has none.")
    return another_way_check(
        LAST_LAYER,
        evidence.gained_where_run(LAST_LAYER, looks_behind_answers, follows_answers),
        MAX_SHARE,
        finding="fell, at one eps, to an attack on what the last linear layer returns and to none on the answers made "
        "of it",
        meaning="What is done to the answers hides the way.",
        attack="+head",
        remedy="Read the worst case, and not the curve of one attack.",
    )
