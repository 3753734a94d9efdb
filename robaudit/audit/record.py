"""The audit record before, while and after it is measured. Pure: no model is asked anything here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from robaudit import __version__
from robaudit.attack.curve import Engine
from robaudit.attack.threats import AnyAttack
from robaudit.attack.trial import Plan
from robaudit.audit.believe import Judged
from robaudit.audit.journal import Entry
from robaudit.audit.verdict import verdict
from robaudit.checks.evidence import Probe
from robaudit.data.images import Images
from robaudit.load.classifier import LoadedModel
from robaudit.load.provenance import device_name, environment
from robaudit.records import (
    IMAGES_FILE,
    JOURNAL_FILE,
    AttackCurve,
    AuditRecord,
    Cost,
    DataInfo,
    FileRef,
    GalleryItem,
    Points,
    Spent,
    ThreatModel,
    Verdict,
    WorstCase,
)
from robaudit.tally import Sums


def draft(
    loaded: LoadedModel,
    images: Images,
    engine: Engine,
    *,
    surrogate: FileRef | None,
    sample_size: int,
    positive: str | None,
    note: str | None,
    command: str,
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
        surrogate=surrogate,
        data=DataInfo(
            path=str(images.root),
            sha256=images.sha256,
            n_images=len(images),
            per_class=images.per_class,
            n_skipped=images.n_skipped,
            n_learnt_skipped=images.n_learnt_skipped,
            positive=positive,
            note=note,
            shown=images.view.flags,
        ),
        clean=Sums((), (), images.classes, ()).clean,
        attacks=tuple(
            AttackCurve(name=attack.name, params=attack.params, scope=attack.scope, points=())
            for attack in plan.attacks
        ),
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
                "check_sample": sample_size,
            },
        ),
    )


def filled(
    record: AuditRecord, entries: Iterable[Entry], plan: Plan, judged: Judged | None, probes: Collection[Probe]
) -> AuditRecord:
    """A draft with what was found so far.

    Args:
        record: the draft.
        entries: of the images done, in the order of the data set; read once, and none is kept.
        plan: what was done to each.
        judged: the attacks and checks in the end; None while the scan is under way.
        probes: what was asked for the checks.
    """
    attacks = plan.attacks if judged is None else judged.attacks
    at_every_eps = [attack.name for attack in attacks if plan.runs_every_eps(attack)]
    sums = Sums(attacks, at_every_eps, record.model.classes, plan.grid, plan.protocol)
    done = _Done()
    for entry in entries:
        sums.add(entry.row)
        done.add(entry)
    curves = tuple(_curve(attack, *points, judged) for attack, points in zip(attacks, sums.curves, strict=True))
    clean, worst = sums.clean, sums.worst
    update: dict[str, Any] = {
        "status": "partial" if judged is None else "complete",
        "images": JOURNAL_FILE if judged is None else IMAGES_FILE,
        "verdict": _unfinished(clean.n_images, record) if judged is None else verdict(worst, curves, judged.checks),
        "clean": clean,
        "attacks": curves,
        "worst_case": WorstCase(points=worst),
        "checks": () if judged is None else judged.checks,
        "artifacts": tuple(done.gallery),
        "cost": Cost(
            **done.spent.model_dump(),
            device=record.cost.device,
            checks=reduce(Spent.plus, (probe.spent for probe in probes), Spent()),
        ),
    }
    batch_sizes = sorted(done.batch_sizes | {probe.batch_size for probe in probes if probe.batch_size}, reverse=True)
    if batch_sizes and batch_sizes != [record.environment.batch_size]:
        # Memory ran out on the way: the shapes that images were asked in are part of how numbers came about.
        settings = {**record.environment.settings, "batch_sizes": ",".join(map(str, batch_sizes))}
        update["environment"] = record.environment.model_copy(
            update={"batch_size": batch_sizes[-1], "settings": settings}
        )
    return record.model_copy(update=update)


@dataclass
class _Done:
    """What a record tells of the way its rows came about."""

    spent: Spent = Spent()  # noqa: RUF009 (frozen)
    batch_sizes: set[int] = field(default_factory=set)
    gallery: list[GalleryItem] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self.spent = self.spent.plus(entry.spent)
        self.batch_sizes |= {entry.batch_size, *entry.amended_in}
        if entry.gallery is not None:
            self.gallery.append(entry.gallery)


def identity(record: AuditRecord) -> dict[str, Any]:
    """What two runs must share to give the same result but for borderline images."""
    settings = {key: value for key, value in record.environment.settings.items() if key != "batch_sizes"}
    asked = [attack for attack in record.attacks if attack.added_by is None]
    return {
        "robaudit_version": record.robaudit_version,
        "model": record.model.model_dump(mode="json", exclude={"path", "front"}),
        "surrogate": None if record.surrogate is None else record.surrogate.sha256,
        "data": record.data.model_dump(mode="json", exclude={"path"}),
        "threat_model": record.threat_model.model_dump(mode="json"),
        "protocol": record.protocol,
        "seed": record.seed,
        "attacks": {attack.name: {**attack.params, "scope": attack.scope} for attack in asked},
        "order_of_attacks": [attack.name for attack in asked],
        "device": record.cost.device,
        "precision": record.environment.precision,
        "settings": settings,
    }


def _unfinished(n_done: int, record: AuditRecord) -> Verdict:
    sentence = f"Unfinished: {n_done} of {record.data.n_images} images done."
    return Verdict(kind="inconclusive", sentence=sentence)


def _curve(attack: AnyAttack, points: Points, raw: Points | None, judged: Judged | None) -> AttackCurve:
    return AttackCurve(
        name=attack.name,
        params=attack.params,
        scope=attack.scope,
        added_by=None if judged is None else judged.added.get(attack.name),
        points=points,
        raw_points=raw,
    )


def _threat_sentence(channels: int, height: int, width: int) -> str:
    what = "its one grey channel" if channels == 1 else "its three colour channels"
    return (
        f"The attacker changes every pixel of an image in {what} by at most k/255 (L-inf), within [0, 1], on the "
        f"{height}x{width} grid the model sees after decoding and resizing, and knows the whole model: "
        "repeat to RGB, T and C, and normalisation are part of what is attacked."
    )
