"""Do pictures that fool another model fool this one where its own gradients failed?"""

from robaudit.checks.evidence import Evidence, is_white_box, transfers
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

TRANSFER = "transfer"
MAX_SHARE = 0.005


def gradients_beat_transfer(evidence: Evidence) -> Check:
    """Fails where adversarials of another model do better than those of this one: its gradients hide the way."""
    if not evidence.has_surrogate:
        return not_applicable(TRANSFER, "There is no other model to transfer from; --surrogate MODEL names one.")
    return share_check(
        TRANSFER,
        evidence.gained_where_run(TRANSFER, transfers, is_white_box),
        MAX_SHARE,
        finding="fell, at one eps, to pictures made on another model and to no attack on this one",
        meaning="Its own gradients hide the way.",
        remedy="Treat the retrofit as masking: what it hides, an attacker with the model before it still finds.",
    )
