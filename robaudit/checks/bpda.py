"""Does an attack that looks past T and C find what their own gradients hide?"""

from robaudit.checks.evidence import Evidence, follows_answers, sees_past_front
from robaudit.checks.saying import another_way_check, not_applicable
from robaudit.records import Check

BPDA = "bpda"
MAX_SHARE = 0.005


def front_hides_nothing(evidence: Evidence) -> Check:
    """Speaks up where replacing T and C by the identity in the backward pass beats their true gradient.

    BPDA (Athalye et al. 2018, section 4.1). A warning where that attack was run on all images: the worst case then
    includes it.
    """
    if not evidence.has_front:
        return not_applicable(BPDA, "The model has no T and C to look past.")
    return another_way_check(
        BPDA,
        evidence.gained_where_run(BPDA, sees_past_front, follows_answers),
        MAX_SHARE,
        finding="fell, at one eps, to an attack that looks past T and C and to none through them",
        meaning="They hide gradients.",
        attack="+bpda",
        remedy="Read the worst case; retrain the front if its gradients should be of use.",
    )
