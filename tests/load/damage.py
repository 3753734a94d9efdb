"""Damaging files at random, and loading what is left: an object or one line, whatever happens."""

import random
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from itertools import islice
from pathlib import Path

import containers
import timm
import torch
from torch import nn

from robaudit.errors import ModelError
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.model import load_model

PICTURES = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def small() -> nn.Module:
    """A network whose files are small, so that damage hits what describes it."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    return nn.Sequential(*layers).eval()


def named() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=2, in_chans=1).eval()


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[..., None]]] = {
    "checkpoint": (named, containers.lightning),
    "legacy": (named, containers.legacy),
    "safetensors": (named, containers.safetensors),
    "module": (small, containers.pickled),
    "torchscript": (small, containers.scripted),
    "exported": (small, containers.exported),
    "onnx": (small, containers.onnx_by_trace),
}


def rewrite(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Change the entries of an archive: name, content -> content."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))


def intact(kind: str, folder: Path) -> bytes:
    """A whole file of a kind."""
    make, save = KINDS[kind]
    save(make(), PICTURES, folder / kind)
    return (folder / kind).read_bytes()


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Cut, fill, flip or repeat a few bytes; in an archive, as often within an entry that describes the model."""
    if content.startswith(b"PK") and dice.random() < 0.7:
        return _damaged_entry(content, dice)
    return _damaged_bytes(content, dice)


def _damaged_entry(content: bytes, dice: random.Random) -> bytes:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    describing = [name for name in entries if not name.rpartition("/")[2].isdigit() and "weight_" not in name]
    name = dice.choice(describing or list(entries))
    entries[name] = _damaged_bytes(entries[name], dice)
    written = BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return written.getvalue()


def _damaged_bytes(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        place = dice.randrange(min(len(changed), 4000) if dice.random() < 0.7 else len(changed)) if changed else 0
        match dice.randrange(6):
            case 0:
                del changed[place : place + dice.randrange(1, 40)]
            case 1:
                changed[place:place] = dice.randbytes(dice.randrange(1, 9))
            case 2:
                changed[place : place + 1] = bytes([dice.randrange(256)])
            case 3:
                changed[place : place + 8] = dice.choice((b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7))
            case 4:
                changed[place:place] = changed[dice.randrange(place + 1) : place]
            case 5:
                _inflate_a_number(changed, dice)
    return bytes(changed)


def _inflate_a_number(changed: bytearray, dice: random.Random) -> None:
    """Replace a number in text: shapes and lengths of JSON and code."""
    digits = [found.start() for found in islice(re.finditer(rb"[0-9]", changed), 2000)]
    if digits:
        place = dice.choice(digits)
        changed[place : place + 1] = dice.choice((b"99999999", b"-1", b"1e9", b"0", b"18446744073709551615"))


def outcome(path: Path) -> str:
    """What becomes of a file: `loaded`, or one line.

    Raises:
        AssertionError: the line is none. Anything else but a ModelError escapes too.
    """
    try:
        describe(read_contents(path)).document()
        load_model(path, input_size=(16, 16))
    except ModelError as error:
        message = str(error)
        assert message.startswith(str(path)), message
        assert "\n" not in message, message
        return "refused"
    return "loaded"
