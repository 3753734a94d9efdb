"""What a model file holds, recognised by its content, without running anything from it and without torch."""

import hashlib
import io
import json
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Any

from robaudit.errors import ModelError
from robaudit.load.inert_pickle import InertPickle, PickleError, Value, read_pickle
from robaudit.load.safetensors_header import HeaderError, looks_like_safetensors, read_header
from robaudit.load.torch_pickle import (
    DATA_GLOBALS,
    Groups,
    TensorInfo,
    TensorReader,
    as_mapping,
    dictionary_groups,
    module_tensors,
)

CONFIG_FILE = "config.json"
ASSIMILATED_FORMAT = "robaudit-assimilated"
MAX_PICKLE_BYTES = 32 * 2**20
MAX_CONFIG_BYTES = 2**20
MAX_ENTRIES = 64


class Kind(StrEnum):
    """What a model file can be."""

    ASSIMILATED = "assimilated folder"
    TIMM_FOLDER = "timm folder"
    SAFETENSORS = "safetensors"
    TORCH_CHECKPOINT = "torch checkpoint"
    LEGACY_TORCH_CHECKPOINT = "torch checkpoint (before torch 1.6)"
    PICKLED_MODULE = "pickled torch module"
    TORCHSCRIPT = "TorchScript"
    EXPORTED_PROGRAM = "torch exported program"
    ONNX = "ONNX"
    PICKLE = "pickle (not written by torch.save)"


@dataclass(frozen=True)
class Contents:
    """What a model file or folder holds."""

    kind: Kind
    path: Path
    sha256: str
    """Of the file; of a folder, over its configuration and weights."""
    size_bytes: int
    groups: Groups = field(default_factory=dict)
    """Tensors by the keys that lead to their dictionary: () is the top, ("state_dict",) one level down."""
    globals: frozenset[str] = frozenset()
    """What the pickle would import."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """A folder's configuration, safetensors metadata, the plain entries of a checkpoint."""
    weights: Path | None = None
    """The file that holds the tensors; for a file, itself."""

    @property
    def foreign_globals(self) -> tuple[str, ...]:
        """What the pickle would import beyond data: with any of these, loading runs code from the file."""
        return tuple(sorted(self.globals - DATA_GLOBALS))


@dataclass(frozen=True)
class State:
    """Where the weights of a model lie in its file."""

    nesting: tuple[str, ...]
    """Keys that lead from what the file holds to the state dict; empty where it is the state dict."""
    prefix: str
    """What stands before every name and is no part of the architecture, such as `module.`."""
    tensors: Mapping[str, TensorInfo]
    """By names without the prefix."""
    alternatives: tuple[tuple[str, ...], ...] = ()
    """Other places in the file that hold a state dict, such as an average of the weights."""

    def select(self, loaded: Any) -> dict[str, Any]:
        """Return the same weights from the loaded file, by names without the prefix."""
        for key in self.nesting:
            loaded = loaded[key]
        return {name: loaded[self.prefix + name] for name in self.tensors}


def read_contents(path: Path) -> Contents:
    """Say what a model file or folder holds.

    Raises:
        ModelError: missing, unreadable, damaged, or not a model that robaudit knows of.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        return _read_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); pass a model file or folder") from None
    except (PickleError, HeaderError, ArchiveError, RecursionError) as error:
        raise ModelError(f"{path}: is truncated or damaged ({error}); fetch or save it again") from None


# Folders


def _read_folder(path: Path) -> Contents:
    config = _read_config(path)
    if config.get("format") == ASSIMILATED_FORMAT:
        kind = Kind.ASSIMILATED
    elif isinstance(config.get("architecture"), str):
        kind = Kind.TIMM_FOLDER
    else:
        raise ModelError(
            f"{path}: its {CONFIG_FILE} names no timm architecture and is not a folder that assimilate wrote; "
            "pass the weights file and --arch"
        )
    weights = _weights_file(path)
    inner = _read_file(weights)
    digest = hashlib.sha256(_sha256(path / CONFIG_FILE).encode() + inner.sha256.encode()).hexdigest()
    return replace(inner, kind=kind, path=path, sha256=digest, metadata=config)


def _read_config(path: Path) -> dict[str, Any]:
    file = path / CONFIG_FILE
    if not file.is_file():
        raise ModelError(f"{path}: is a folder without {CONFIG_FILE}; pass the model file in it")
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelError(f"{file}: has more than {MAX_CONFIG_BYTES} bytes; pass the weights file and --arch")
    try:
        config = json.loads(file.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: is not valid JSON ({error}); pass the weights file and --arch") from None
    if not isinstance(config, dict):
        raise ModelError(f"{file}: is not a JSON object; pass the weights file and --arch")
    return config


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _weights_file(path: Path) -> Path:
    """Return the weights of a folder, in the order in which timm looks for them."""
    for name in ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth", "model.pt"):
        if (path / name).is_file():
            return path / name
    for suffix in (".safetensors", ".pth", ".pt", ".bin"):
        found = sorted(file for file in path.glob(f"*{suffix}") if file.is_file())
        if len(found) > 1:
            raise ModelError(f"{path}: holds several weights files ({_names(found)}); pass one of them and --arch")
        if found:
            return found[0]
    raise ModelError(f"{path}: holds {CONFIG_FILE} and no weights; put model.safetensors beside it")


# Files


def _read_file(path: Path) -> Contents:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path}: is no regular file; pass a model file or folder")
    if status.st_size == 0:
        raise ModelError(f"{path}: is empty; fetch or save it again")
    with path.open("rb") as file:
        head = file.read(512)
    base = Contents(Kind.PICKLE, path, sha256=_sha256(path), size_bytes=status.st_size, weights=path)
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(base)
    if looks_like_safetensors(head):
        return _read_safetensors(base)
    if re.match(rb"\x80[\x02-\x05]", head):
        return _read_bare_pickle(base)
    if re.match(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", head):
        # A protobuf whose first field is a small number, as the ir_version of every ONNX file is.
        return replace(base, kind=Kind.ONNX)
    raise ModelError(f"{path}: {_describe(head)}; pass a PyTorch or safetensors model")


def _read_safetensors(base: Contents) -> Contents:
    with base.path.open("rb") as file:
        tensors, metadata = read_header(file, base.size_bytes)
    return replace(base, kind=Kind.SAFETENSORS, groups={(): tensors}, metadata=metadata)


_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def _read_bare_pickle(base: Contents) -> Contents:
    """Read a plain pickle, or what torch wrote before 1.6: magic number, version, system, object, storages."""
    with base.path.open("rb") as file:
        # From memory: a length that the file claims can then never allocate more than the file has.
        stream = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    first = read_pickle(stream)
    if first.value != _LEGACY_MAGIC:
        return replace(base, kind=Kind.PICKLE, globals=first.globals)
    headers = [read_pickle(stream) for _ in range(2)]
    pickle = read_pickle(stream)
    described = _describe_pickle(base, pickle, TensorReader(lambda key: base.size_bytes), Kind.LEGACY_TORCH_CHECKPOINT)
    return replace(described, globals=pickle.globals.union(*(header.globals for header in headers)))


class ArchiveError(ValueError):
    """The zip archive is damaged."""


# What zipfile lets escape when an archive is damaged.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, LookupError, NotImplementedError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip


def _read_zip(base: Contents) -> Contents:
    try:
        archive = zipfile.ZipFile(base.path)
    except _ZIP_ERRORS as error:
        raise ArchiveError(f"zip archive: {error}") from None
    with archive:
        return _read_archive(base, archive)


def _read_archive(base: Contents, archive: zipfile.ZipFile) -> Contents:
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    if len(sizes) < len(archive.infolist()):
        raise ArchiveError("two entries of the same name")
    roots = [name.removesuffix("data.pkl") for name in sizes if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if any(
        re.fullmatch(r"([^/]+/)?(archive_format|models/model\.json|serialized_exported_program\.json)", name)
        for name in sizes
    ):
        return replace(base, kind=Kind.EXPORTED_PROGRAM)
    if len(roots) != 1:
        raise ModelError(
            f"{base.path}: is a zip archive that holds no model ({_names(sizes)}); pass a PyTorch or safetensors model"
        )
    [root] = roots
    pickle = read_pickle(io.BytesIO(_entry(archive, f"{root}data.pkl")))
    as_tensor = TensorReader(lambda key: min(sizes.get(f"{root}data/{key}", 0), base.size_bytes))
    if any(name.startswith(f"{root}code/") for name in sizes):
        tensors = module_tensors(pickle.value, as_tensor)
        return replace(base, kind=Kind.TORCHSCRIPT, groups={(): tensors} if tensors else {}, globals=pickle.globals)
    return _describe_pickle(base, pickle, as_tensor, Kind.TORCH_CHECKPOINT)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        with archive.open(name) as file:
            content = file.read(MAX_PICKLE_BYTES + 1)
    except _ZIP_ERRORS as error:
        raise ArchiveError(f"zip archive: {error}") from None
    if len(content) > MAX_PICKLE_BYTES:
        raise ArchiveError(f"{name} has more than {MAX_PICKLE_BYTES} bytes")
    return content


def _describe_pickle(base: Contents, pickle: InertPickle, as_tensor: TensorReader, kind: Kind) -> Contents:
    base = replace(base, kind=kind, globals=pickle.globals)
    if as_mapping(pickle.value) is not None:
        groups = dictionary_groups(pickle.value, as_tensor)
        return replace(base, groups=groups, metadata=_plain_entries(pickle.value))
    if pickle.globals <= DATA_GLOBALS:
        return base
    tensors = module_tensors(pickle.value, as_tensor)
    return replace(base, kind=Kind.PICKLED_MODULE, groups={(): tensors} if tensors else {})


def _plain_entries(value: Value) -> dict[str, Any]:
    """Return the entries of a checkpoint that are text, numbers or lists of text: epoch, arch, classes."""
    entries = {
        key: item
        for key, item in (as_mapping(value) or {}).items()
        if isinstance(key, str) and (_is_plain(item) or _are_texts(item))
    }
    return dict(list(entries.items())[:MAX_ENTRIES])


def _is_plain(item: Value) -> bool:
    if isinstance(item, str):
        return len(item) <= 200
    return (isinstance(item, int) and abs(item) < 2**63) or (isinstance(item, float) and isfinite(item))


def _are_texts(item: Value) -> bool:
    return isinstance(item, list | tuple) and len(item) <= 1000 and all(isinstance(text, str) for text in item)


# Where the weights lie

_NESTINGS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")
_AVERAGES = ("model_ema", "ema", "ema_model", "state_dict_ema", "ema_state_dict", "model_ema_state_dict")
_PLACES = {key: rank for rank, key in enumerate(_NESTINGS + _AVERAGES, start=1)}
_PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "net.", "network.")
_BOOKKEEPING = "n_averaged"
"""What torch's AveragedModel keeps beside the weights."""


def state_tensors(contents: Contents) -> State:
    """Find the state dict in a file: where it is nested, and which prefix its names carry.

    Of several, the plain weights come before an average of them, as the names of their keys tell.

    Raises:
        ModelError: the file holds no tensors, or several groups of them and none under a known key.
    """
    known = [path for path in contents.groups if set(path) <= _PLACES.keys()]
    if not known and len(contents.groups) == 1:
        known = list(contents.groups)
    if not known:
        places = _names(".".join(path) for path in contents.groups) or "none"
        raise ModelError(
            f"{contents.path}: holds no state dict under a known key (tensors under: {places}); "
            "save model.state_dict() on its own"
        )
    nesting, *alternatives = sorted(known, key=lambda path: _rank(path, contents.groups[path]))
    prefix, tensors = _without_prefix(contents.groups[nesting])
    return State(nesting, prefix, tensors, tuple(alternatives))


def _rank(path: tuple[str, ...], names: Iterable[str]) -> tuple[int, ...]:
    """Preference among places, the lowest first."""
    if not path:
        # A state dict has dotted names; stray tensors beside a nested one (a mean, a class weight) have not.
        return (0 if any("." in name for name in names) else len(_PLACES),)
    return tuple(_PLACES.get(key, 0) for key in path)


def _without_prefix(tensors: Mapping[str, TensorInfo]) -> tuple[str, dict[str, TensorInfo]]:
    prefix = ""
    names = [name for name in tensors if name != _BOOKKEEPING]
    while names and (found := next((p for p in _PREFIXES if all(name.startswith(p) for name in names)), "")):
        prefix += found
        names = [name.removeprefix(found) for name in names]
    return prefix, {name: tensors[prefix + name] for name in names}


# Words and hashes


def _describe(head: bytes) -> str:
    """Say what a file looks like that is no model."""
    for magic, what in (
        (b"version https://git-lfs", "is a Git LFS pointer, not the file itself (run `git lfs pull`)"),
        (b"\x1f\x8b", "is gzip-compressed (unpack it first)"),
        (b"\x89HDF", "is an HDF5 file, as Keras writes"),
        (b"\x89PNG", "is a PNG image"),
        (b"\xff\xd8\xff", "is a JPEG image"),
        (b"\x93NUMPY", "is a NumPy array"),
    ):
        if head.startswith(magic):
            return what
    if re.match(rb"\s*<(!doctype|html)", head, re.IGNORECASE):
        return "is a web page, perhaps a download that wanted a login"
    if all(byte >= 32 or byte in b"\t\n\r" for byte in head):
        return "is a text file"
    return "is no model file that robaudit knows"


def _names(names: Any) -> str:
    shown = [" ".join(str(name.name if isinstance(name, Path) else name).split()) for name in names]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
