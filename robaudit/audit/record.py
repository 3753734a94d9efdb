"""The audit record before, while and after it is measured. Pure: no model is asked anything here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from robaudit import __version__, tally
from robaudit.attack.curve import Engine
from robaudit.attack.examine import Plan
from robaudit.attack.threats import Attack, FoolboxAttack
from robaudit.audit.journal import JOURNAL_FILE, Entry
from robaudit.audit.verdict import verdict
from robaudit.checks.answers import answers
from robaudit.checks.gradients import gradients_present
from robaudit.load.classifier import LoadedModel
from robaudit.load.images import Images
from robaudit.load.provenance import device_name, environment
from robaudit.records import (
    IMAGES_FILE,
    AttackCurve,
    AuditRecord,
    Check,
    Cost,
    DataInfo,
    ImageRow,
    ThreatModel,
    Verdict,
    WorstCase,
)


def draft(
    loaded: LoadedModel, images: Images, engine: Engine, positive: str | None, note: str | None, command: str
) -> AuditRecord:
    """The record before anything is measured: everything that decides what the numbers will be."""
    plan, (height, width) = engine.plan, loaded.size
    return AuditRecord(
        status="partial",
        robaudit_version=__version__,
        created=datetime.now(UTC),
        threat_model=ThreatModel(
            eps_255=plan.grid,
            image_channels="grey" if images.channels == 1 else "rgb",
            sentence=_threat_sentence(images.channels, height, width),
        ),
        protocol=plan.protocol,
        seed=plan.seed,
        verdict=Verdict(kind="inconclusive", sentence="Nothing was measured yet."),
        model=loaded.info,
        data=DataInfo(
            path=str(images.root),
            sha256=images.sha256,
            n_images=len(images),
            per_class=images.per_class,
            positive=positive,
            note=note,
            shown=images.view.flags,
        ),
        clean=tally.clean_tallies([], images.classes),
        attacks=tuple(AttackCurve(name=attack.name, params=attack.params, points=()) for attack in plan.attacks),
        worst_case=WorstCase(points=()),
        cost=Cost(device=device_name(engine.device)),
        environment=environment(
            command,
            batch_size=engine.width,
            precision="bfloat16" if engine.speedups.bfloat16 else "float32",
            settings={
                "search": plan.search.value,
                "rescale": plan.rescale,
                "share_first_gradient": plan.share_first_gradient,
                "warm_start": plan.warm_start,
                "batch_size_asked": engine.batch_size,
                **asdict(engine.speedups),
                "n_skipped_images": images.n_skipped,
            },
        ),
    )


def filled(
    record: AuditRecord,
    entries: Sequence[Entry],
    plan: Plan,
    status: Literal["complete", "partial"],
    checks: Sequence[Check],
) -> AuditRecord:
    """A draft with what was found so far.

    Args:
        record: the draft.
        entries: of the images done, in the order of the data set.
        plan: what was done to each.
        status: of the result.
        checks: those that only the scan itself can make; those on the entries are added here.
    """
    rows, classes = [entry.row for entry in entries], record.model.classes
    curves = tuple(_curve(attack, rows, classes, plan) for attack in plan.attacks)
    worst = tally.worst_case(rows, classes, plan.grid)
    n_gradients = sum(entry.spent.gradients for entry in entries)
    checks = [
        *checks,
        answers(rows),
        _gradients_check(entries),
    ]
    batch_sizes = sorted({entry.batch_size for entry in entries}, reverse=True)
    update: dict[str, Any] = {
        "status": status,
        "images": IMAGES_FILE if status == "complete" else JOURNAL_FILE,
        "verdict": verdict(worst, curves, checks)
        if status == "complete"
        else Verdict(kind="inconclusive", sentence=f"Unfinished: {len(rows)} of {record.data.n_images} images done."),
        "clean": tally.clean_tallies(rows, classes),
        "attacks": curves,
        "worst_case": WorstCase(points=worst),
        "checks": tuple(checks),
        "artifacts": tuple(entry.gallery for entry in entries if entry.gallery is not None),
        "cost": Cost(
            gradients=n_gradients,
            forwards=sum(entry.spent.forwards for entry in entries),
            seconds=round(sum(entry.spent.seconds for entry in entries), 3),
            device=record.cost.device,
        ),
    }
    if len(batch_sizes) > 1:
        # Memory ran out on the way: the shapes that rows were measured in are part of how they came about.
        settings = {**record.environment.settings, "batch_sizes": ",".join(map(str, batch_sizes))}
        update["environment"] = record.environment.model_copy(
            update={"batch_size": batch_sizes[-1], "settings": settings}
        )
    return record.model_copy(update=update)


def identity(record: AuditRecord) -> dict[str, Any]:
    """What two runs must share to give the same result but for borderline images."""
    settings = {key: value for key, value in record.environment.settings.items() if key != "batch_sizes"}
    return {
        "robaudit_version": record.robaudit_version,
        "model": record.model.model_dump(mode="json", exclude={"path", "front"}),
        "data": record.data.model_dump(mode="json", exclude={"path"}),
        "threat_model": record.threat_model.model_dump(mode="json"),
        "protocol": record.protocol,
        "seed": record.seed,
        "attacks": {attack.name: attack.params for attack in record.attacks},
        "order_of_attacks": [attack.name for attack in record.attacks],
        "device": record.cost.device,
        "precision": record.environment.precision,
        "settings": settings,
    }


def _gradients_check(entries: Sequence[Entry]) -> Check:
    """Judge the margin gradients where there are any, else those of cross-entropy."""
    n_non_finite = sum(entry.non_finite_gradients for entry in entries)
    n_zero = sum(entry.zero_gradients for entry in entries)
    if n_margin := sum(entry.margin_gradients for entry in entries):
        n_zero_margin = sum(entry.zero_margin_gradients for entry in entries)
        return gradients_present("margin", n_margin, n_zero_margin, n_non_finite, n_zero - n_zero_margin)
    return gradients_present("cross-entropy", sum(entry.spent.gradients for entry in entries), n_zero, n_non_finite)


def _curve(attack: Attack | FoolboxAttack, rows: Sequence[ImageRow], classes: Sequence[str], plan: Plan) -> AttackCurve:
    raw = tally.raw_curve(rows, classes, attack.name, plan.grid) if plan.runs_every_eps(attack) else None
    nested = tally.curve(rows, classes, attack.name, plan.grid)
    points = raw if plan.protocol == "paper" and raw is not None else nested
    return AttackCurve(name=attack.name, params=attack.params, points=points, raw_points=raw)


def _threat_sentence(channels: int, height: int, width: int) -> str:
    what = "its one grey channel" if channels == 1 else "its three colour channels"
    return (
        f"The attacker changes every pixel of an image in {what} by at most k/255 (L-inf), within [0, 1], on the "
        f"{height}x{width} grid the model sees after decoding and resizing, and knows the whole model: "
        "repeat to RGB, T and C, and normalisation are part of what is attacked."
    )
