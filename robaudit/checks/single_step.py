"""Does one step ever do what many do not?"""

from robaudit.attack.threats import AnyAttack, Attack
from robaudit.checks.evidence import Evidence, follows_entropy, is_iterative
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

SINGLE_STEP = "single-step"
MAX_SHARE = 0.01


def single_step_is_weaker(evidence: Evidence) -> Check:
    """Fails where FGSM fools images that no iterative attack on its loss fools at that eps (Athalye et al. 2018)."""
    if not evidence.names(_takes_one_step) or not evidence.ran_on_all(_takes_many):
        return not_applicable(SINGLE_STEP, "No single-step attack and iterative attack on cross-entropy to compare.")
    return share_check(
        SINGLE_STEP,
        evidence.gained(_takes_one_step, _takes_many),
        MAX_SHARE,
        finding="fell, at one eps, to a single step and to no attack of many steps",
        meaning="The steps lose their way.",
        remedy="Take more steps and restarts (--attacks fgsm,pgd-100x5), and look for masked gradients.",
    )


def _takes_one_step(attack: AnyAttack) -> bool:
    return isinstance(attack, Attack) and attack.is_single_step and follows_entropy(attack)


def _takes_many(attack: AnyAttack) -> bool:
    return follows_entropy(attack) and is_iterative(attack)
