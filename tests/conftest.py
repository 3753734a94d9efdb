"""Audit records made of plain counts, and a retrofit; seeds, and a core for every worker that shares the tests."""

import json
import os
import runpy
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported; commands under test inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own 15 starves workers beside other tests

from robaudit.records import (
    AttackCurve,
    AuditRecord,
    ClassTallies,
    Cost,
    DataInfo,
    Environment,
    InputSize,
    ModelInfo,
    Normalization,
    Point,
    Tally,
    ThreatModel,
    Verdict,
    WorstCase,
)

# What fails once fails again, for everybody, and never for want of speed.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")

CLASSES = ("cancer", "no-cancer")


def make_audit(
    correct: int = 60, total: int = 100, *, cancer: int | None = None, steps: int = 40, **changes: Any
) -> AuditRecord:
    """Return an audit where `correct` of `total` images are right, clean and under attack at 4/255 alike.

    Half of the images are of class cancer; of those `cancer` (else half of `correct`) are right.
    """
    half = total // 2
    right = correct // 2 if cancer is None else cancer
    per_class = {
        "cancer": Tally(n_correct=right, n_images=half),
        "no-cancer": Tally(n_correct=correct - right, n_images=total - half),
    }
    counts = {"n_correct": correct, "n_images": total, "per_class": per_class}
    points = (Point(eps_255=4, **counts),)
    record = AuditRecord(
        status="complete",
        robaudit_version="0.1.0",
        created=datetime(2024, 1, 1, tzinfo=UTC),
        threat_model=ThreatModel(eps_255=(4,), image_channels="grey", sentence="L-inf ball of 4/255."),
        protocol="nested",
        seed=0,
        verdict=Verdict(kind="measured", sentence="It was measured."),
        model=ModelInfo(
            path="model.pt",
            sha256="0" * 64,
            arch="resnet18",
            n_classes=2,
            classes=CLASSES,
            input=InputSize(channels=3, height=224, width=224),
            normalization=Normalization(mean=(0.5,), std=(0.5,), source="--mean"),
        ),
        data=DataInfo(
            path="data", sha256="1" * 64, n_images=total, per_class={"cancer": half, "no-cancer": total - half}
        ),
        clean=ClassTallies(**counts),
        attacks=(AttackCurve(name="pgd", params={"steps": steps}, points=points),),
        worst_case=WorstCase(points=points),
        cost=Cost(device="cpu"),
        environment=Environment(
            command="robaudit scan", python="3.11", platform="linux", versions={}, n_threads=1, batch_size=8
        ),
    )
    return record.model_copy(update=changes)


@pytest.fixture
def audit_of() -> Callable[..., AuditRecord]:
    """Return `make_audit`."""
    return make_audit


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def assimilated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with T and C far from their start, in front of an untrained network for 32x32; only to be read."""
    import timm
    import torch
    from safetensors.torch import save_file

    from robaudit.load.model import load_model
    from robaudit.retrofit.before_training import with_front
    from robaudit.retrofit.model_folder import write_model

    folder = tmp_path_factory.mktemp("model")
    plain = folder / "plain"
    plain.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), plain / "model.safetensors")
    cfg = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"architecture": "test_resnet", "num_classes": 2, "label_names": ["sick", "well"], "pretrained_cfg": cfg}
    (plain / "config.json").write_text(json.dumps(config))
    vanilla = load_model(plain)
    classifier = with_front(vanilla, 1, seed=0)
    classifier.front.start_at_random()
    write_model(folder, classifier, vanilla.info, image_channels=1)
    return folder


@pytest.fixture(scope="session")
def paper() -> Callable[..., None]:
    """Run examples/paper/table.py in this process: another one would load torch anew every time."""
    script = Path(__file__).parents[1] / "examples" / "paper" / "table.py"

    def run(*arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(script.parent)
            patch.setattr(sys, "argv", [str(script), *arguments])
            runpy.run_path(str(script), run_name="__main__")

    return run


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there once a program of that name has been started."""
    started = tmp_path / "started"
    script = tmp_path / "bin" / "gs"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ntouch {started}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return started
