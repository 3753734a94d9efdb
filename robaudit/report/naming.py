"""What the two audits of a comparison are called."""

from dataclasses import dataclass

from robaudit.records import AuditRecord


@dataclass(frozen=True)
class Naming:
    """Names of the two sides; `vanilla`, `fine-tuned` and `assimilated` only where the records say so."""

    before: str
    after: str

    @property
    def the_before(self) -> str:
        """The side before, inside a sentence."""
        return f"the {self.before} model"

    @property
    def the_after(self) -> str:
        """The side after, inside a sentence."""
        return f"the {self.after} model"


def naming(before: AuditRecord, after: AuditRecord, *, rivals: bool = False) -> Naming:
    """Name the sides: a retrofit against what it was made from or against its rival, or any two audits."""
    if rivals:
        return Naming("fine-tuned", "assimilated")
    if before.model.front is None and after.model.front is not None:
        made_from = after.model.front.vanilla.sha256
        return Naming("vanilla" if before.model.sha256 == made_from else "before", "assimilated")
    return Naming("before", "after")
