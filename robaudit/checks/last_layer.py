"""Does an attack on what the last layer returns find what is hidden by what is done to it afterwards?"""

from robaudit.checks.evidence import Evidence, follows_answers, looks_behind_answers
from robaudit.checks.saying import another_way_check, is_more, not_applicable
from robaudit.records import Check

LAST_LAYER = "last-layer"
MAX_SHARE = 0.005
MAX_REFUSED = 0.05
"""Share of images that may withstand the attack after it has turned what the last layer returns."""


def answers_hide_nothing(evidence: Evidence) -> Check:
    """Speaks up where rounding, scaling or scrambling after the last layer blinds attacks that follow the answers.

    A warning where the attack that looks behind them was run on all images: the worst case then includes it. A failure
    still where what it turned is not what decides, as in a vote of which it sees one voter.
    """
    if not evidence.has_head:
        return not_applicable(LAST_LAYER, "The model answers with what its last linear layer returns, or has none.")
    check = another_way_check(
        LAST_LAYER,
        evidence.gained_where_run(LAST_LAYER, looks_behind_answers, follows_answers),
        MAX_SHARE,
        finding="fell, at one eps, to an attack on what the last linear layer returns and to none on the answers made "
        "of it",
        meaning="What is done to the answers hides the way.",
        attack="+head",
        remedy="Read the worst case, and not the curve of one attack.",
    )
    if check.status != "warning" or last_layer_decides(evidence):
        return check
    refused = evidence.refused(looks_behind_answers)
    why = (
        f"{check.why} But {refused.n_found} of {refused.n_images} images withstood it after it had turned what that "
        "layer returns: something else decides as well."
    )
    remedy = "Look for what else the answers are made of, such as a vote of several networks, and attack it as a whole."
    return check.model_copy(update={"status": "failed", "why": why, "remedy": remedy})


def last_layer_decides(evidence: Evidence) -> bool:
    """Whether the model's answers turned with what the last layer returns, wherever an attack turned that."""
    return not is_more(evidence.refused(looks_behind_answers), MAX_REFUSED)
