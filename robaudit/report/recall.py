"""Recall, class by class: what it is called, and where it is worst."""

from robaudit.records import AuditRecord, Point, Tally, by_eps
from robaudit.report.words import listed, share
from robaudit.tally import headline_eps


def recall_kinds(record: AuditRecord) -> dict[str, str]:
    """Word what the recall of each class is called: sensitivity and specificity once a positive class is named."""
    classes, positive = record.model.classes, record.data.positive
    if positive not in classes:
        return dict.fromkeys(classes, "recall")
    # With more than two classes specificity would need to know which class each image was mistaken for.
    other = "specificity" if len(classes) == 2 else "recall"
    return {name: "sensitivity" if name == positive else other for name in classes}


def headline_point(record: AuditRecord) -> Point:
    """The worst case at the eps that headlines."""
    eps_255 = headline_eps(record.threat_model.eps_255)
    return by_eps(record.worst_case.points)[eps_255]


def worst_class(record: AuditRecord) -> tuple[str, Tally] | None:
    """The class with the lowest worst-case recall at the eps that headlines; none without images.

    Classes that share it are named together, with the sum of their counts: where all are lost, none is hit hardest.
    """
    present = {name: tally for name, tally in headline_point(record).per_class.items() if tally.n_images}
    if not present:
        return None
    lowest = min(map(share, present.values()))
    worst = [name for name, tally in present.items() if share(tally) == lowest]
    if len(worst) == 1:
        return worst[0], present[worst[0]]
    words = "every class alike" if len(worst) == len(present) else f"{listed(worst)} alike"
    return words, Tally(**{field: sum(getattr(present[name], field) for name in worst) for field in Tally.model_fields})
