"""The folder of an audited model, if it still holds the model that was audited.

The audit names the folder by path, and the path may hold another model by now: what stands there is shown only where
the files still have the hash that was audited.
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from robaudit.files import sha256_of
from robaudit.records import AuditRecord

_HASHED = ("config.json", "model.safetensors")


class Told(BaseModel):
    """A part of what a retrofit wrote. A later robaudit may write more; what is not needed here is passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


def folder_of(record: AuditRecord) -> Path | None:
    """Find the folder of the audited model, retrofitted or not; None where it is no folder, gone, or has changed."""
    folder = Path(record.model.path)
    return folder if _digest(folder) == record.model.sha256 else None


def _digest(folder: Path) -> str:
    """Hash of a model folder as an audit records it; empty where it cannot be read."""
    try:
        return hashlib.sha256("".join(sha256_of(folder / name) for name in _HASHED).encode()).hexdigest()
    except OSError:
        return ""
