"""Does the model answer with logits, and if not, can they be had?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import plain_check
from robaudit.load.outputs import OutputKind
from robaudit.records import Check

OUTPUT_KIND = "output-kind"
LOGITS_BEHIND = "the logits behind the probabilities"


def output_kind_known(evidence: Evidence) -> Check:
    """Warns where only rounded probabilities are there to attack; behind a softmax that is seen, there are logits."""
    outputs = evidence.outputs
    probabilities = outputs.kind in (OutputKind.PROBABILITIES, OutputKind.ONE_PROBABILITY)
    only_rounded = probabilities and outputs.behind is None
    said = _sentence(outputs.words or "the model answers with logits")
    check = plain_check(
        OUTPUT_KIND,
        only_rounded,
        why=said,
        remedy="Export the model without its last softmax or sigmoid: probabilities near 0 and 1 are rounded, and with "
        "them what attacks follow.",
        quiet=said,
        loud="warning",
    )
    repaired = probabilities and not only_rounded
    return check.model_copy(update={"repaired_by": LOGITS_BEHIND}) if repaired else check


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
