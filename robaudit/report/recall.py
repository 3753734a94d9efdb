"""Recall, class by class: what it is called, and where it is worst."""

from robaudit.records import AuditRecord, Point, Tally, by_eps
from robaudit.report.words import share
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
    """The class with the lowest worst-case recall at the eps that headlines; none without images."""
    present = [(name, tally) for name, tally in headline_point(record).per_class.items() if tally.n_images]
    return min(present, key=lambda item: share(item[1]), default=None)
