"""What a model file or folder holds, recognised by its content, without running anything from it and without torch."""

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from robaudit.errors import ModelError, first_line
from robaudit.files import sha256_of
from robaudit.load.archive import Archive, ArchiveError, open_archive
from robaudit.load.as_trained import require_as_trained
from robaudit.load.beside_weights import NumbersOf, numbers_in, picture_entries
from robaudit.load.class_order import CLASS_ORDERS, class_orders, in_order
from robaudit.load.exported_json import describe_exported, is_exported
from robaudit.load.folder import read_folder
from robaudit.load.inert_pickle import Clipped, InertPickle, PickleError, Value, read_entry, read_pickle
from robaudit.load.kinds import Contents, Kind, ProgramError, names
from robaudit.load.own_export import said_in_archive, said_in_onnx
from robaudit.load.scripted_code import read_program
from robaudit.load.torch_pickle import (
    DATA_GLOBALS,
    Groups,
    TensorInfo,
    TensorReader,
    as_mapping,
    dictionary_groups,
    module_tensors,
    without_strays,
)
from robaudit.load.unchanged import stamped

MAX_PLAIN_ENTRIES = 64

DAMAGE = (PickleError, SafetensorError, ArchiveError, RecursionError)
"""What reading a damaged file ends in."""


def read_contents(path: Path) -> Contents:
    """Say what a model file or folder holds.

    Raises:
        ModelError: missing, unreadable, damaged, or not a model that robaudit knows of.
    """
    try:
        return _read_folder(path) if path.is_dir() else _read_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); pass a model file or folder") from None
    except DAMAGE as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: BaseException) -> ModelError:
    """How damage is told."""
    return ModelError(f"{path}: is truncated or damaged ({first_line(error)}); fetch or save it again")


def _read_folder(path: Path) -> Contents:
    folder = read_folder(path)
    inner = _read_file(folder.weights)
    of_configs = [file.sha256 for file in folder.config_files]
    require_as_trained(path, {"weights": inner.sha256, "config": of_configs[0]})
    digest = hashlib.sha256("".join([*of_configs, inner.sha256]).encode()).hexdigest()
    return replace(
        inner, kind=folder.kind, path=path, sha256=digest, metadata=folder.config, weights_kind=inner.kind,
        weights_sha256=inner.sha256, files={**{file.path: file.stamp for file in folder.config_files}, **inner.files},
    )  # fmt: skip


def _read_file(path: Path) -> Contents:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path}: is no regular file; pass a model file or folder")
    if status.st_size == 0:
        raise ModelError(f"{path}: is empty; fetch or save it again")
    files = stamped([path])
    with path.open("rb") as file:
        head = file.read(512)
    base = Contents(Kind.PICKLE, path, sha256_of(path), status.st_size, files, weights=path)
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(base)
    if re.match(rb".{6}\0\0\{", head, re.DOTALL):  # the length of its header, and a JSON object
        return _read_safetensors(base)
    if re.match(rb"\x80[\x02-\x05]", head):
        return _read_bare_pickle(base)
    if re.match(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", head):
        # A protobuf whose first field is a small number, as the ir_version of every ONNX file is.
        return replace(base, kind=Kind.ONNX, metadata=said_in_onnx(path))
    raise ModelError(f"{path}: {_describe(head)}; pass a PyTorch, ONNX or safetensors model")


def _read_safetensors(base: Contents) -> Contents:
    with safe_open(base.path, framework="np") as file:
        held = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        metadata = file.metadata() or {}
    tensors = {name: TensorInfo(tuple(each.get_shape()), _dtype(each.get_dtype())) for name, each in held.items()}
    return replace(base, kind=Kind.SAFETENSORS, groups={(): tensors}, metadata=metadata)


def _dtype(name: str) -> str:
    """As torch has it: `float32` for `F32`; another's name as it is."""
    whole = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
    kind, bits = name.rstrip("0123456789"), name.lstrip("BFIU")
    return "bool" if name == "BOOL" else f"{whole[kind]}{bits}" if kind in whole and bits.isdigit() else name


MAX_PICKLE_BYTES = 2 * 2**30
"""Of a bare pickle, whose tensors stand among its instructions and are read with them."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def _read_bare_pickle(base: Contents) -> Contents:
    """Read a plain pickle, or what torch wrote before 1.6: magic number, version, system, object, storages."""
    if base.size_bytes > MAX_PICKLE_BYTES:
        raise ModelError(f"{base.path}: a bare pickle of more than {MAX_PICKLE_BYTES >> 30} GiB; save with torch.save")
    with base.path.open("rb") as file:
        stream = Clipped(file, base.size_bytes)
        first = read_pickle(stream)
        if first.value != _LEGACY_MAGIC:
            return replace(base, kind=Kind.PICKLE, globals=first.globals)
        headers = [read_pickle(stream) for _ in range(2)]
        pickle = read_pickle(stream)
    as_tensor = TensorReader(lambda key: base.size_bytes)
    described = _describe_pickle(base, pickle, as_tensor, lambda item: None, Kind.LEGACY_TORCH_CHECKPOINT)
    return replace(described, globals=pickle.globals.union(*(header.globals for header in headers)))


def _read_zip(base: Contents) -> Contents:
    with open_archive(base.path) as archive:
        return _read_archive(base, archive)


def _read_archive(base: Contents, archive: Archive) -> Contents:
    if is_exported(archive):
        return _describe_exported(base, archive)
    roots = [name.removesuffix("data.pkl") for name in archive.matching(r"[^/]+/data\.pkl")]
    if len(roots) != 1:
        raise ModelError(f"{base.path}: {_describe_zip(archive)}; pass a PyTorch, ONNX or safetensors model")
    [root] = roots
    pickle = read_entry(archive.read(f"{root}data.pkl"))
    as_tensor = TensorReader(lambda key: archive.room(f"{root}data/{key}"))
    if archive.matching(re.escape(root) + "code/.*"):
        tensors = module_tensors(pickle.value, as_tensor)
        scripted = replace(base, kind=Kind.TORCHSCRIPT, groups={(): tensors} if tensors else {})
        return _describe_program(replace(scripted, metadata=said_in_archive(base.path, archive)), archive, root)
    numbers_of = numbers_in(archive, f"{root}data/", as_tensor)
    return _describe_pickle(base, pickle, as_tensor, numbers_of, Kind.TORCH_CHECKPOINT)


def _describe_program(base: Contents, archive: Archive, root: str) -> Contents:
    try:
        program = read_program(archive, root)
    except ProgramError as error:
        return replace(base, not_pure=(str(error),))
    return replace(base, operators=tuple(sorted(program.operators)), not_pure=tuple(sorted(program.not_pure)))


def _describe_exported(base: Contents, archive: Archive) -> Contents:
    base = replace(base, kind=Kind.EXPORTED_PROGRAM, metadata=said_in_archive(base.path, archive))
    try:
        exported = describe_exported(archive)
    except ProgramError as error:
        return replace(base, not_pure=(str(error),))
    return replace(
        base,
        groups={(): dict(exported.weights)} if exported.weights else {},
        operators=tuple(sorted(exported.operators)),
        not_pure=tuple(sorted(exported.not_pure)),
    )


def _describe_pickle(
    base: Contents, pickle: InertPickle, as_tensor: TensorReader, numbers_of: NumbersOf, kind: Kind
) -> Contents:
    base = replace(base, kind=kind, globals=pickle.globals)
    entries = as_mapping(pickle.value)
    if entries is not None:
        groups = without_strays(dictionary_groups(pickle.value, as_tensor))
        has_state = any("." in name for tensors in groups.values() for name in tensors)
        modules = {} if has_state or pickle.globals <= DATA_GLOBALS else _modules(entries, as_tensor)
        if modules and not groups.keys() & without_strays(modules | groups).keys():
            kind, groups = Kind.PICKLED_MODULE, modules
        beside = {key: item for key, item in entries.items() if key not in groups.get((), {})}
        return replace(base, kind=kind, groups=groups, metadata=_plain_entries(beside, numbers_of))
    if pickle.globals <= DATA_GLOBALS:
        return base
    tensors = module_tensors(pickle.value, as_tensor)
    return replace(base, kind=Kind.PICKLED_MODULE, groups={(): tensors} if tensors else {})


def _modules(entries: Mapping[Value, Value], as_tensor: TensorReader) -> Groups:
    """Weights of the whole networks that a checkpoint keeps under its keys, instead of their state dicts."""
    named = [(key, item) for key, item in entries.items() if isinstance(key, str)][:MAX_PLAIN_ENTRIES]
    found = {(key,): module_tensors(item, as_tensor) for key, item in named}
    return {place: tensors for place, tensors in found.items() if tensors}


def _plain_entries(found: Mapping[Value, Value], numbers_of: NumbersOf) -> dict[str, Any]:
    """Return the entries of a checkpoint that are text, numbers, lists of text, or say what its pictures are."""
    of_pictures = picture_entries(found, numbers_of)
    entries = of_pictures | {
        key: item for key, item in found.items()
        if isinstance(key, str) and key not in of_pictures and (_is_plain(item) or _are_texts(item))
    }  # fmt: skip
    by_index = in_order(found.get("class_to_idx"))
    if by_index and "classes" not in entries:
        entries = {"classes": by_index, **entries}
    orders = class_orders(found)
    if len(orders) > 1 or (orders and "classes" not in entries):
        entries = {CLASS_ORDERS: orders} | {key: item for key, item in entries.items() if key != CLASS_ORDERS}
    return dict(list(entries.items())[:MAX_PLAIN_ENTRIES])


def _is_plain(item: Value) -> bool:
    if isinstance(item, str):
        return len(item) <= 200
    return (isinstance(item, int) and abs(item) < 2**63) or (isinstance(item, float) and isfinite(item))


def _are_texts(item: Value) -> bool:
    return isinstance(item, list | tuple) and len(item) <= 1000 and all(isinstance(text, str) for text in item)


# Words


def _describe_zip(archive: Archive) -> str:
    """The same of an archive that torch has not written."""
    if "model.weights.h5" in archive:
        return "is a Keras model (export it to ONNX, channels first)"
    packed = archive.matching(r".*\.(pt|pth|ckpt|bin|safetensors|onnx|pt2|ts)")
    unpack = ", but a file that may be one: unpack it first" if packed else ""
    return f"is a zip archive that holds no model ({names(packed or archive.sizes)}){unpack}"


def _describe(head: bytes) -> str:
    """Say what a file looks like that is no model."""
    for magic, what in (
        (b"version https://git-lfs", "is a Git LFS pointer, not the file itself (run `git lfs pull`)"),
        (b"\x1f\x8b", "is gzip-compressed (unpack it first)"),
        (b"\x89HDF", "is an HDF5 file, as Keras writes (export it to ONNX, channels first)"),
        (b"GGUF", "is a GGUF file, weights of llama.cpp"),
        (b"\x89PNG", "is a PNG image"),
        (b"\xff\xd8\xff", "is a JPEG image"),
        (b"\x93NUMPY", "is a NumPy array"),
    ):
        if head.startswith(magic):
            return what
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite file (export the network it was made from to ONNX, channels first)"
    if head[257:262] == b"ustar":
        return "is a tar archive (unpack it first)"
    if re.match(rb"\s*<(!doctype|html)", head, re.IGNORECASE):
        return "is a web page, perhaps a download that wanted a login"
    if all(byte >= 32 or byte in b"\t\n\r" for byte in head):
        return "is a text file"
    return "is no model file that robaudit knows"
