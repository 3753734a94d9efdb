"""The folder of an audited model, if it still holds the model that was audited.

The audit names the folder by path, and the path may hold another model by now: what stands there is shown only where
the files still have the hash that was audited.
"""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from robaudit.files import sha256_of
from robaudit.records import TRAINING_FILE, AuditRecord
from robaudit.retrofit_records import CONFIG_FILE, WEIGHTS_FILE, TrainingRecord


def folder_of(record: AuditRecord) -> Path | None:
    """Find the folder of the audited model, retrofitted or not; None where it is no folder, gone, or has changed."""
    folder = Path(record.model.path)
    return folder if _digest(folder) == record.model.sha256 else None


def recorded_training(record: AuditRecord) -> TrainingRecord | None:
    """Read how the audited model was trained; None where that is not told, or not of this model."""
    folder = folder_of(record)
    return None if folder is None else training_record_in(folder)


def training_record_in(folder: Path) -> TrainingRecord | None:
    """Read the training.json of a folder; None where it has none."""
    try:
        return TrainingRecord.read((folder / TRAINING_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _digest(folder: Path) -> str:
    """Hash of a model folder as an audit records it; empty where it cannot be read."""
    try:
        return hashlib.sha256(
            "".join(sha256_of(folder / name) for name in (CONFIG_FILE, WEIGHTS_FILE)).encode()
        ).hexdigest()
    except OSError:
        return ""
