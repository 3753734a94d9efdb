"""Does an attack that looks past T and C find what their own gradients hide?"""

from robaudit.attack.threats import AnyAttack
from robaudit.checks.evidence import Evidence, follows_entropy, follows_margin, sees_past_front
from robaudit.checks.saying import left_out, not_applicable, share_check
from robaudit.records import Check

BPDA = "bpda"
MAX_SHARE = 0.005
FINDING = "fell, at one eps, to an attack that looks past T and C and to none through them"
MEANING = "They hide gradients."


def front_hides_nothing(evidence: Evidence) -> Check:
    """Speaks up where replacing T and C by the identity in the backward pass beats their true gradient.

    BPDA (Athalye et al. 2018, section 4.1). A warning where that attack was run on all images: the worst case then
    includes it.
    """
    if not evidence.has_front:
        return not_applicable(BPDA, "The model has no T and C to look past.")
    gained = evidence.gained_where_run(BPDA, sees_past_front, _goes_through_front)
    if gained is None:
        return left_out(BPDA)
    if gained.sampled:
        remedy = "Add that attack (--attacks fgsm,bim,mifgsm,pgd,+bpda)."
        return share_check(BPDA, gained, MAX_SHARE, finding=FINDING, meaning=MEANING, remedy=remedy)
    return share_check(
        BPDA, gained, MAX_SHARE,
        finding=f"{FINDING}; the worst case includes both",
        meaning=MEANING,
        remedy="Read the worst case; retrain the front if its gradients should be of use.",
        loud="warning",
    )  # fmt: skip


def _goes_through_front(attack: AnyAttack) -> bool:
    return follows_entropy(attack) or follows_margin(attack)
