"""Where a training works until its folder is whole, and how that takes its place: all or nothing."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from robaudit.data.learnt import LEARNT_FILE
from robaudit.errors import OutputError, TrainingError
from robaudit.files import LOCK_FILE, alone_in, workplace_of, write_text
from robaudit.load.recipe import PROGRAM_FOLDER
from robaudit.records import DIAGNOSTICS_FILE, IDENTITY_FILE, METRICS_FILE, SPLIT_FILE, TRAINING_FILE
from robaudit.retrofit_records import CONFIG_FILE, PICTURES_FOLDER, WEIGHTS_FILE

STATE_FILE = "state.pt"

_WRITTEN = frozenset(
    {
        *(WEIGHTS_FILE, CONFIG_FILE, TRAINING_FILE, METRICS_FILE, DIAGNOSTICS_FILE, SPLIT_FILE, LEARNT_FILE),
        *(PICTURES_FOLDER, PROGRAM_FOLDER, STATE_FILE, IDENTITY_FILE, LOCK_FILE),
    }
)
"""All that a retrofit's folder ever holds."""


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Yield the hidden folder beside `out` that a training fills and then lets `take_place`.

    It outlives an interruption once a state was saved in it; otherwise it is removed, as after a training that failed.

    Raises:
        OutputError: the place cannot be written, the disk is full, or another training is using it.
    """
    folder = workplace_of(out)
    with alone_in(folder, PICTURES_FOLDER, PROGRAM_FOLDER):
        own = folder.stat()
        try:
            for leftover in folder.glob(".tmp*"):  # of safetensors' own writing, when it was killed
                leftover.unlink()
            yield folder
        except TrainingError:
            (folder / STATE_FILE).unlink(missing_ok=True)  # what came to nothing is nothing to go on from
            raise
        except OSError as error:
            raise OutputError(
                f"{out}: cannot be written ({error.strerror}); free space or choose another --out"
            ) from None
        finally:
            with suppress(OSError):  # it has moved, and may be another training's by now
                if os.path.samestat(folder.stat(), own) and not (folder / STATE_FILE).exists():
                    shutil.rmtree(folder, ignore_errors=True)


def identify(folder: Path, identity: Mapping[str, Any], place: Mapping[str, Any], *, restart: bool) -> None:
    """Make sure that an unfinished training in `folder` is the one that is wanted, or clear it away.

    Where it began, `place`, is kept and may be another: whoever has waited for days on one machine goes on on the next.

    Raises:
        OutputError: it belongs to another model, other images or settings.
    """
    if restart or not (folder / STATE_FILE).exists():
        for name in (STATE_FILE, METRICS_FILE):
            (folder / name).unlink(missing_ok=True)
        write_text(folder / IDENTITY_FILE, json.dumps({**identity, "place": place}, sort_keys=True, indent=2))
        return
    if different := _different(folder, identity):
        raise OutputError(
            f"{folder}: an unfinished training with other {' and '.join(different)}; use --restart to discard it, "
            "or another --out"
        )


def elsewhere(folder: Path, place: Mapping[str, Any]) -> str:
    """What was otherwise where the training in `folder` began, in words; empty where nothing was."""
    began = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8")).get("place", place)
    return ", ".join(f"{key} {began.get(key)}, here {now}" for key, now in place.items() if began.get(key) != now)


def goes_on(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether an unfinished training in `folder` is the one that is wanted."""
    return (folder / STATE_FILE).exists() and not _different(folder, identity)


def _different(folder: Path, identity: Mapping[str, Any]) -> list[str]:
    """Names of what the unfinished training in `folder` has otherwise."""
    try:
        found = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return [name for name, value in json.loads(json.dumps(identity)).items() if found.get(name) != value]


def take_place(folder: Path, out: Path) -> None:
    """Rename `folder` to `out`, putting an older retrofit, and nothing else, out of the way.

    What only an unfinished training needs goes along and is removed last: killed at any moment, nothing is lost.

    Raises:
        OutputError: something else is at `out`.
    """
    older = out.parent / f".{out.name}.replaced"
    if out.exists():
        refuse_foreign(out)
        _remove(older)
        out.rename(older)
    try:
        folder.replace(out)
    except OSError:
        if older.exists():
            older.rename(out)
        raise
    tidy(out)


def tidy(out: Path) -> None:
    """Remove what a finished retrofit has no use for."""
    _remove(out.parent / f".{out.name}.replaced")
    for name in (STATE_FILE, IDENTITY_FILE, LOCK_FILE):
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)


def _remove(older: Path) -> None:
    with suppress(OSError):
        older.unlink()  # a link, and not what it leads to
    shutil.rmtree(older, ignore_errors=True)


def require_movable(out: Path) -> None:
    """Refuse, before any training, a folder whose place another cannot take.

    Raises:
        OutputError: it is a mount point, as a volume of a container is, the current folder or one above that, or a
            link in a circle.
    """
    here = Path.cwd()
    if os.path.ismount(out):
        why = "is a mount point"
    elif Path(os.path.realpath(out)) in (here, *here.parents):
        why = "is the current folder, or holds it"
    elif out.is_symlink():
        raise OutputError(f"{out}: is a link that leads in a circle; remove it, or choose another --out")
    else:
        return
    raise OutputError(f"{out}: {why}, and no finished folder can take its place; pass one in it as --out")


def refuse_foreign(out: Path, *, replaced: bool = True) -> None:
    """Make sure that what is at `out` may stay in use: nothing, an empty folder, or an earlier retrofit.

    Args:
        out: where a retrofit is wanted.
        replaced: it is about to be removed, so it must hold nothing else either.

    Raises:
        OutputError: it is, or holds, something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not _is_retrofit(out):
        raise OutputError(f"{out}: exists and is no folder written by robaudit assimilate; choose another --out")
    if replaced and (others := sorted(path.name for path in out.iterdir() if path.name not in _WRITTEN)):
        raise OutputError(
            f"{out}: holds {others[0]}, which robaudit assimilate did not write; move it away, or choose another --out"
        )


def _is_retrofit(out: Path) -> bool:
    """Whether training.json says so, damaged or not: other programs write a file of that name too."""
    try:
        return b'"robaudit_version"' in (out / TRAINING_FILE).read_bytes()
    except OSError:
        return False
