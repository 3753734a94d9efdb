"""The cells of the paper's table: which network, on which images, from which seed, and what each arm changes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ARMS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "assimilation": {},
    "fine-tuning": {"front": "none"},
    "no-glcm": {"alpha": 1.0},
    # Ablations, and adversarial training with its rival.
    "t-only": {"front": "T"},
    "c-only": {"front": "C"},
    "random-front": {"random_front": True, "trains": "network"},
    "alpha-0.5": {"alpha": 0.5},
    "alpha-0.99": {"alpha": 0.99},
    "robust": {"robust": "fgsm"},
    "robust-fine-tuning": {"robust": "fgsm", "front": "none"},
}
"""Arm -> what it changes of the paper's preset. Vanilla is the network that the others start from."""

THE_SOURCES = ("vanilla", "assimilation", "fine-tuning", "no-glcm")

RIVALS = {
    "robust": "robust-fine-tuning",
    **{arm: "fine-tuning" for arm in ARMS if arm not in ("vanilla", "fine-tuning") and not arm.startswith("robust")},
}
"""Arm -> the same training of the network alone: what T and C add shows against it, not against vanilla."""


@dataclass(frozen=True)
class Cell:
    """One network on one set of images, trained in one way from one seed."""

    images: str
    backbone: str
    seed: int
    arm: str

    @property
    def names(self) -> list[str]:
        """The first columns of both tables."""
        return [self.images, self.backbone, str(self.seed), self.arm]

    def folder(self, out: Path) -> Path:
        """Where its model and audits lie."""
        return out / self.images / self.backbone / f"seed-{self.seed}" / self.arm

    def audit(self, out: Path, *, strong: bool = False) -> Path:
        """Its audit, as the source attacks or by the strongest attack; there once it is finished."""
        return self.folder(out) / ("audit-strong" if strong else "audit") / "audit.json"

    def other(self, arm: str) -> "Cell":
        """The same images, network and seed, trained in another way."""
        return replace(self, arm=arm)


def grid(images: Iterable[str], backbones: Iterable[str], seeds: Iterable[int], arms: Iterable[str]) -> Iterator[Cell]:
    """Cells in the order in which they are run: a vanilla network before what starts from it."""
    order = sorted(arms, key=list(ARMS).index)
    for name in images:
        for backbone in backbones:
            for seed in seeds:
                for arm in order:
                    yield Cell(name, backbone, seed, arm)
