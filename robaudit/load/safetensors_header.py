"""The header of a safetensors file: names, shapes and types, without the numbers and without the library."""

import json
from typing import Any, BinaryIO

from robaudit.load.torch_pickle import ITEM_BYTES, MAX_DIMENSIONS, TensorInfo

MAX_HEADER_BYTES = 16 * 2**20
"""A header of a hundred thousand tensors has about 10 MB."""

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class HeaderError(ValueError):
    """The header is malformed, or claims what the file does not hold."""


def looks_like_safetensors(head: bytes) -> bool:
    """Whether the first bytes are a plausible header length and the opening of a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and head[6:8] == b"\0\0"


def read_header(file: BinaryIO, size_bytes: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Return tensors and metadata of a safetensors file of `size_bytes`.

    Raises:
        HeaderError: malformed, too long, or the tensors do not lie within the file.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > min(size_bytes - 8, MAX_HEADER_BYTES):
        raise HeaderError(f"its header claims {length} bytes, the file has {size_bytes}")
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        tensors = {name: _tensor(name, entry) for name, entry in header.items()}
        spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HeaderError(f"its header is malformed ({str(error)[:200]})") from None
    # The format leaves no gaps and no overlaps: every byte belongs to one tensor.
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), size_bytes - 8 - length]
    if ends != starts:
        raise HeaderError(f"its tensors take {max(ends)} bytes, the file has {size_bytes - 8 - length} for them")
    return tensors, {str(key): str(value) for key, value in metadata.items()}


def _tensor(name: str, entry: dict[str, Any]) -> TensorInfo:
    shape, (start, end) = entry["shape"], entry["data_offsets"]
    if len(shape) > MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in (*shape, start, end)):
        raise HeaderError(f"tensor {name!r} has a malformed shape")
    tensor = TensorInfo(tuple(shape), _DTYPES.get(entry["dtype"], str(entry["dtype"])))
    item = ITEM_BYTES.get(tensor.dtype)
    if item is not None and tensor.n_elements * item != end - start:
        raise HeaderError(f"tensor {name!r} of shape {shape} does not fill its {end - start} bytes")
    return tensor
