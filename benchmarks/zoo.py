"""What every check says of fake defences and of honest models: the table of docs/checks/zoo.md.

    python benchmarks/zoo.py > docs/checks/zoo.md

The models are those of tests/checks/zoo.py: a small network trained on gratings in seconds, and things done to it. Each
is audited with the default preset at 2, 4 and 8/255, the checks on 8 images; `worst case` is what is left of the images
at 0 (clean) and there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checks"))

import torch
import zoo

from robaudit.audit.scan import scan
from robaudit.records import AuditRecord

GRID = (2, 4, 8)
SAMPLE = 8
MARKS = {"passed": "", "not_applicable": "–", "warning": "warns", "failed": "**fails**"}


def main() -> None:
    """Audit every member and print the page."""
    with tempfile.TemporaryDirectory() as folder:
        audits = {name: audit(name, make, Path(folder)) for name, make in members().items()}
    ids = [check.id for check in next(iter(audits.values())).checks]
    spoken = [id_ for id_ in ids if any(status(record, id_) in ("warning", "failed") for record in audits.values())]
    print(INTRODUCTION.format(torch=torch.__version__, n_fake=len(zoo.FAKE)))
    print("| model | verdict | worst case | what spoke up | added |\n|---|---|---|---|---|")
    for name, record in audits.items():
        loud = [f"{id_} {MARKS[status(record, id_)]}" for id_ in spoken if status(record, id_) in ("warning", "failed")]
        added = ", ".join(attack.name for attack in record.attacks if attack.added_by)
        print(f"| {name} | {record.verdict.kind} | {curve(record)} | {', '.join(loud)} | {added} |")
    silent = [id_ for id_ in ids if id_ not in spoken]
    print(f"\nNever spoke up here: {', '.join(silent)}.")


INTRODUCTION = """# The zoo: what the checks say of fake defences and of honest models

Written by `python benchmarks/zoo.py` (torch {torch}, CPU). The models are those of `tests/checks/zoo.py`: a small
network trained to tell gratings, honest relatives of it, and {n_fake} things done to the first that make it look robust
or that break its gradients. Each was audited with the default preset at 2, 4 and 8/255, the checks on a sample of 8.
*Worst case*: images still correct without attack, then at these eps.

A fake defence is dealt with where it is inconclusive, or where its worst case is the vanilla model's. Tests hold this
for every member, and that honest models raise nothing.

Known to remain open: a median filter in front (3x3, trained with it) was measured at 5 of 16 at 4/255 and no check
spoke up, where a longer attack that also follows an average in its place leaves 3. Honest networks that compute in
bfloat16 make `smooth` warn.
"""


def members() -> dict[str, object]:
    """All models of the zoo."""
    return {**zoo.HONEST, **zoo.FAKE, "constant": zoo.Constant}


def audit(name: str, make: object, folder: Path) -> AuditRecord:
    """Audit one model."""
    n_classes = int(name.split()[0]) if name.endswith("classes") else 2
    data = folder / f"data {n_classes}"
    if not data.exists():
        zoo.write_pictures(data, n_classes)
    print(f"{name} ...", file=sys.stderr, flush=True)
    return scan(make(), data, out=folder / name, eps=GRID, check_sample=SAMPLE)  # type: ignore[operator]


def status(record: AuditRecord, id_: str) -> str:
    """What a check says."""
    return next(check.status for check in record.checks if check.id == id_)


def curve(record: AuditRecord) -> str:
    """The worst case at a few eps."""
    tallies = record.tallies()
    shown = [tallies[eps].n_correct for eps in (0, *GRID)]
    return f"{', '.join(map(str, shown))} of {record.clean.n_images}"


if __name__ == "__main__":
    main()
