"""Did the model answer every image with finite numbers?"""

from itertools import chain, islice

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import plain_check
from robaudit.records import Check

FINITE_ANSWERS = "finite-answers"


def finite_answers(evidence: Evidence) -> Check:
    """Fails where any image got no finite answer: it is never counted as correct, but what it shows is unknown.

    Also where the model fails on a picture made of an image for a check, which is then left without that answer.
    """
    unanswered = {row.id: row.error for row in evidence.rows if row.error is not None}
    probes = chain.from_iterable(evidence.probes.values())
    changed = {probe.id: probe.error for probe in probes if probe.error and probe.id not in unanswered}
    failed = {**unanswered, **changed}
    reasons = "; ".join(f"{id_}: {error}" for id_, error in islice(failed.items(), 3)) + "; ..." * (len(failed) > 3)
    if unanswered:
        what = f"gave no finite answer for {len(unanswered)} of {len(evidence.rows)} images"
        what += f", and failed on changed pictures of {len(changed)} more" if changed else ""
    else:
        what = f"failed on changed pictures of {len(changed)} of the sampled images, which some checks had to leave out"
    return plain_check(
        FINITE_ANSWERS,
        bool(failed),
        value=len(failed),
        why=f"The model {what} ({reasons}).",
        remedy="Look in the model for what is named: overflow, a division by zero, a wrong normalisation, an error.",
        quiet="The model gave a finite answer for every image.",
    )
