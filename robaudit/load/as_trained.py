"""Whether a folder still holds what training left in it. Needs no torch.

Its training.json tells how the model in it came about; beside other weights, or another configuration, it would be
believed of a model that it says nothing of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robaudit.errors import ModelError
from robaudit.records import TRAINING_FILE


def require_as_trained(folder: Path, found: Mapping[str, str]) -> None:
    """Compare files with the hashes that training.json has of them.

    Args:
        folder: of a model.
        found: entry of training.json (`weights`, `config`) -> hash of that file as it is now.

    Raises:
        ModelError: one of them is another, or training.json is damaged.
    """
    path = folder / TRAINING_FILE
    if not path.is_file():
        return
    try:
        told: Any = json.loads(path.read_bytes())
        if "robaudit_version" not in told:
            return  # of another program
        files = {name: told[name] for name in found if told.get(name)}
        changed = [file["path"] for name, file in files.items() if file["sha256"] != found[name]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path}: is damaged; assimilate again with --restart") from None
    if changed:
        raise ModelError(
            f"{folder}: its {' and '.join(map(str, changed))} changed after training, by the hash in {TRAINING_FILE}; "
            f"assimilate again with --restart, or, for the model as it is now, move {TRAINING_FILE} away"
        )
