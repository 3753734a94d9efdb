"""Does one step ever do what many do not?"""

from robaudit.attack.threats import Attack
from robaudit.checks.evidence import Evidence, follows_entropy, is_iterative
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

SINGLE_STEP = "single-step"
MAX_SHARE = 0.01


def single_step_is_weaker(evidence: Evidence) -> Check:
    """Fails where FGSM fools images that no iterative attack on its loss fools at that eps (Athalye et al. 2018)."""
    single = [a.name for a in evidence.attacks if isinstance(a, Attack) and a.is_single_step and follows_entropy(a)]
    many = evidence.names(lambda attack: follows_entropy(attack) and is_iterative(attack))
    if not single or not many:
        return not_applicable(SINGLE_STEP, "No single-step attack and iterative attack on cross-entropy to compare.")
    return share_check(
        SINGLE_STEP,
        evidence.gain(single, many),
        evidence.n_images,
        MAX_SHARE,
        why="fell, at one eps, to a single step and to no attack of many steps: the steps lose their way.",
        remedy="Take more steps and restarts (--attacks fgsm,pgd-100x5), and look for masked gradients.",
        quiet="fell, at one eps, to a single step and to no attack of many steps.",
    )
