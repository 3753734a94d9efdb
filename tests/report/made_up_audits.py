"""Audit folders made up for the report's tests: records that agree with their rows, and gallery pictures."""

import hashlib
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from robaudit.records import (
    AttackCurve,
    AuditRecord,
    Check,
    Cost,
    DataInfo,
    Environment,
    FileRef,
    FrontInfo,
    GalleryItem,
    ImageRow,
    InputSize,
    ModelInfo,
    Normalization,
    Spent,
    ThreatModel,
    Verdict,
    WorstCase,
)
from robaudit.retrofit_records import EpochMetrics, Losses, TrainingRecord, Validation
from robaudit.tally import Sums

GRID = (1, 2, 3, 4, 5, 6, 7, 8)
CLASSES = ("cancer", "no-cancer")
VANILLA_SHA256 = hashlib.sha256(b"vanilla").hexdigest()
PARAMS: dict[str, dict[str, Any]] = {
    "fgsm": {"steps": 1, "step_fraction": 1.0, "random_start": False},
    "bim": {"steps": 10, "step_fraction": 0.25, "random_start": False},
    "mifgsm": {"steps": 10, "step_fraction": 0.1, "random_start": False, "decay": 1.0},
    "pgd": {"steps": 40, "step_fraction": 0.0625, "random_start": True},
}
ROLES = ("original", "texture", "colour", "adversarial", "difference")


def make_rows(
    *,
    n_per_class: int = 20,
    resistance: float = 2.5,
    clean: float = 0.9,
    classes: Sequence[str] = CLASSES,
    attacks: Sequence[str] = tuple(PARAMS),
    seed: int = 0,
) -> list[ImageRow]:
    """Rows of a model that typically falls at `resistance`/255; iterative attacks need less than FGSM."""
    chance = random.Random(seed)
    rows = []
    for label in classes:
        others = [name for name in classes if name != label]
        for position in range(n_per_class):
            right = chance.random() < clean
            falls_at = chance.lognormvariate(0, 0.6) * resistance
            found = {name: _found(falls_at * (1.9 if name == "fgsm" else chance.uniform(1, 1.25))) for name in attacks}
            name = f"{label}/{position:04d}.png"
            rows.append(
                ImageRow(
                    id=name,
                    sha256=hashlib.sha256(name.encode()).hexdigest(),
                    label=label,
                    prediction=label if right else others[0],
                    fooled_at=found if right else dict.fromkeys(attacks, 0),
                    raw_fooled_at={"fgsm": tuple(eps for eps in GRID if eps >= (found["fgsm"] or 99))}
                    if "fgsm" in found
                    else {},
                )
            )
    return rows


def _found(falls_at: float) -> int | None:
    eps = max(1, round(falls_at))
    return eps if eps <= GRID[-1] else None


def make_record(rows: Sequence[ImageRow], *, classes: Sequence[str] = CLASSES, **changes: Any) -> AuditRecord:
    """A complete audit that agrees with `rows`, measured unless a check failed; `changes` replace its fields."""
    attacks = [AttackCurve(name=name, params=PARAMS.get(name, {"steps": 5}), points=()) for name in rows[0].fooled_at]
    sums = Sums(attacks, ["fgsm"], classes, GRID)
    sums.add(*rows)
    fields: dict[str, Any] = {
        "status": "complete",
        "robaudit_version": "0.1.0",
        "created": "2025-11-24T09:30:00Z",
        "threat_model": ThreatModel(
            eps_255=GRID,
            image_channels="grey",
            sentence="The attacker may change every pixel of the image the model's input grid shows by at most "
            "eps = k/255, inside [0, 1]; a grey image in its one channel.",
        ),
        "protocol": "nested",
        "seed": 0,
        "verdict": _verdict(changes.get("checks", ())),
        "model": make_model(classes=classes),
        "data": make_data(rows, classes),
        "clean": sums.clean,
        "attacks": [
            attack.model_copy(update={"points": points, "raw_points": raw})
            for attack, (points, raw) in zip(attacks, sums.curves, strict=True)
        ],
        "worst_case": WorstCase(points=sums.worst),
        "cost": Cost(gradients=184_320, forwards=201_600, seconds=412.6, device="cpu", checks=Spent()),
        "environment": Environment(
            command="robaudit scan chest-ct-resnet18.pt chest-ct/test --out out/before",
            python="3.11.7",
            platform="Linux-6.1-x86_64",
            versions={"torch": "2.10.0", "timm": "1.0.20", "foolbox": "3.3.4"},
            n_threads=2,
            batch_size=32,
        ),
    }
    return AuditRecord(**(fields | changes))


def _verdict(checks: Sequence[Check]) -> Verdict:
    failed = tuple(check.id for check in checks if check.status == "failed")
    if failed:
        return Verdict(kind="inconclusive", sentence="Inconclusive: a check failed.", reasons=failed)
    return Verdict(kind="measured", sentence="Measured: four attacks ran at every eps.")


def make_model(*, front: bool = False, **changes: Any) -> ModelInfo:
    """The vanilla model, or its retrofit."""
    vanilla = FileRef(path="models/chest-ct-resnet18.pt", sha256=VANILLA_SHA256)
    fields: dict[str, Any] = {
        "path": "out/assimilated" if front else vanilla.path,
        "sha256": hashlib.sha256(b"assimilated").hexdigest() if front else vanilla.sha256,
        "arch": "resnet18",
        "n_classes": 2,
        "classes": CLASSES,
        "input": InputSize(channels=3, height=224, width=224),
        "normalization": Normalization(
            mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), source="architecture default"
        ),
        "front": FrontInfo(vanilla=vanilla) if front else None,
    }
    return ModelInfo(**(fields | changes))


def make_data(rows: Sequence[ImageRow], classes: Sequence[str] = CLASSES, **changes: Any) -> DataInfo:
    """The images of `rows`."""
    fields: dict[str, Any] = {
        "path": "data/chest-ct/test",
        "sha256": hashlib.sha256(b"".join(row.sha256.encode() for row in rows)).hexdigest(),
        "n_images": len(rows),
        "per_class": {name: sum(row.label == name for row in rows) for name in classes},
    }
    return DataInfo(**(fields | changes))


def png(shade: int, size: int = 8) -> bytes:
    """A small grey picture."""
    buffer = io.BytesIO()
    Image.new("L", (size, size), shade).save(buffer, "PNG")
    return buffer.getvalue()


def make_gallery(rows: Sequence[ImageRow], folder: Path, *, roles: Sequence[str] = ROLES) -> tuple[GalleryItem, ...]:
    """Pictures of the first images of each class, written into `folder`/gallery."""
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    items = []
    for index, row in enumerate([*rows[:2], *rows[-2:]]):
        files = {role: f"gallery/{index}-{role}.png" for role in roles}
        for shade, path in enumerate(files.values()):
            (folder / path).write_bytes(png(40 * shade + index))
        eps, attack = min(((eps, name) for name, eps in row.fooled_at.items() if eps), default=(None, None))
        items.append(
            GalleryItem(
                id=row.id,
                label=row.label,
                prediction=row.prediction,
                adversarial_prediction="no-cancer" if attack else None,
                attack=attack,
                eps_255=eps,
                magnification=10,
                files=files,
            )
        )
    return tuple(items)


def write_audit(folder: Path, record: AuditRecord, rows: Sequence[ImageRow]) -> Path:
    """Write a record and its rows as scan does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    path = folder / "audit.json"
    path.write_text(record.model_dump_json(indent=2), encoding="utf-8")
    return path


def edit(audit: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change an audit.json in place."""
    content = json.loads(audit.read_text(encoding="utf-8"))
    change(content)
    audit.write_text(json.dumps(content), encoding="utf-8")
    return audit


def audit_of_folder(folder: Path, **changes: object) -> AuditRecord:
    """An audit of the retrofit in `folder`, as it stands there now."""
    parts = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("config.json", "model.safetensors")]
    digest = hashlib.sha256("".join(parts).encode()).hexdigest()
    model = make_model(front=True, path=str(folder), sha256=digest).model_copy(update=changes)
    return make_record(make_rows(), model=model)


def make_training(**changes: Any) -> dict[str, Any]:
    """A training.json; `changes` replace its fields, or fields in them."""
    losses = Losses(total=0.3, cross_entropy=0.2, texture=1.2)
    data = {"path": "chest-ct", "n_images": 40, "per_class": {"cancer": 20, "no-cancer": 20}}
    record = TrainingRecord(
        robaudit_version="0.1.0",
        created="2025-11-24T09:30:00Z",
        settings={},
        ours=(),
        vanilla=make_model(sha256="a" * 64),
        train=DataInfo(sha256="b" * 64, **data),
        val=DataInfo(sha256="c" * 64, **data),
        modules="T+C",
        stopped="epochs",
        n_epochs=3,
        best=EpochMetrics(
            epoch=2,
            train=losses,
            val=Validation(losses=losses, n_correct=22, n_images=40, saturated=0.0),
            seconds=1.5,
            worst_patch=None,
            worst_feature=None,
        ),
        weights=FileRef(path="model.safetensors", sha256="d" * 64),
        seconds=420.0,
        environment=make_record(make_rows(n_per_class=1)).environment,
    )
    return _changed(record.model_dump(mode="json"), changes)


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    inner = {
        name: _changed(document[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and document[name]
    }
    return document | changes | inner
