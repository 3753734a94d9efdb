"""Do pictures that fool another model fool this one where its own gradients failed?"""

from robaudit.checks.evidence import Evidence, is_white_box, transfers
from robaudit.checks.saying import left_out, not_applicable, share_check
from robaudit.records import Check

TRANSFER = "transfer"
MAX_SHARE = 0.005


def gradients_beat_transfer(evidence: Evidence) -> Check:
    """Fails where adversarials of another model do better than those of this one: its gradients hide the way."""
    if not evidence.has_surrogate:
        return not_applicable(TRANSFER, "There is no other model to transfer from; --surrogate MODEL names one.")
    why = (
        "fell, at one eps, to pictures made on another model and to no attack on this one: its gradients hide the way."
    )
    quiet = "fell, at one eps, to pictures made on another model and to no attack on this one."
    remedy = "Treat the retrofit as masking: what it hides, an attacker with the model before it still finds."
    names = evidence.names(transfers)
    if names:
        gain, n = evidence.gain(names, evidence.names(is_white_box)), evidence.n_images
        return share_check(TRANSFER, gain, n, MAX_SHARE, why=why, remedy=remedy, quiet=quiet)
    if not evidence.sample_size:
        return left_out(TRANSFER)
    gain, n = evidence.probed_gain(TRANSFER), evidence.n_probed(TRANSFER)
    return share_check(TRANSFER, gain, n, MAX_SHARE, why=why, remedy=remedy, quiet=quiet, sampled=True)
