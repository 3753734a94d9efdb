"""Does an attack that looks past T and C find what their own gradients hide?"""

from robaudit.checks.evidence import Evidence, follows_entropy, follows_margin, sees_past_front
from robaudit.checks.saying import left_out, not_applicable, share_check
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
    why = "fell, at one eps, to an attack that looks past T and C and to none through them: they hide gradients"
    quiet = "fell, at one eps, to an attack that looks past T and C and to none through them."
    names = evidence.names(sees_past_front)
    if names:
        through = evidence.names(lambda attack: follows_entropy(attack) or follows_margin(attack))
        return share_check(
            BPDA, evidence.gain(names, through), evidence.n_images, MAX_SHARE,
            why=f"{why}; the worst case includes both.",
            remedy="Read the worst case; retrain the front if its gradients should be of use.",
            quiet=quiet,
            loud="warning",
        )  # fmt: skip
    if not evidence.sample_size:
        return left_out(BPDA)
    return share_check(
        BPDA, evidence.probed_gain(BPDA), evidence.n_probed(BPDA), MAX_SHARE,
        why=f"{why}.",
        remedy="Add that attack (--attacks fgsm,bim,mifgsm,pgd,+bpda).",
        quiet=quiet,
        sampled=True,
    )  # fmt: skip
