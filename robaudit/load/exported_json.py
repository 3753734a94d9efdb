"""What a torch.export file (.pt2) says: its weights and its program, read as the JSON they are. Needs no torch."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from robaudit.errors import first_line
from robaudit.load.archive import Archive
from robaudit.load.aten import is_pure
from robaudit.load.kinds import ProgramError
from robaudit.load.torch_pickle import MAX_DIMENSIONS, TensorInfo, View

LEGACY_PROGRAM = "serialized_exported_program.json"
"""Before torch 2.8; its weights lie in torch archives of their own."""
LEGACY_WEIGHTS = ("serialized_state_dict.pt", "serialized_constants.pt")

ARITHMETIC = frozenset(
    [
        "add",
        "sub",
        "mul",
        "floordiv",
        "truediv",
        "mod",
        "neg",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "getitem",
        "and_",
        "or_",
        "pow",
    ]
)
"""Of Python's `operator`, on the sizes of tensors."""

# Numbers of torch.export's schema.
DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    12: "bool", 13: "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """An exported program and where its weights lie."""

    graph: Mapping[str, Any]
    signature: Mapping[str, Any]
    answer: Any
    """How the program's caller sees its outputs, as torch.export writes it down."""
    weights: Mapping[str, TensorInfo] = field(default_factory=dict)
    """By name; their storages are entries of the archive. Empty in the legacy format."""
    parameters: frozenset[str] = frozenset()
    """Which of them are trained."""
    operators: frozenset[str] = frozenset()
    not_pure: frozenset[str] = frozenset()
    """What takes a person's consent."""

    @property
    def inputs(self) -> list[str]:
        """Names of what its caller passes."""
        return [
            spec["user_input"]["arg"]["as_tensor"]["name"]
            for spec in self.signature["input_specs"]
            if "as_tensor" in spec.get("user_input", {}).get("arg", {})
        ]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Sizes of the picture it was made for; None for those that may vary."""
        sizes = self.graph["tensor_values"][self.inputs[0]]["sizes"]
        return tuple(size.get("as_int") for size in sizes)


def is_exported(archive: Archive) -> bool:
    """Whether an archive is a torch.export file."""
    return bool(archive.matching(rf"([^/]+/)?(archive_format|models/[^/]+\.json|{re.escape(LEGACY_PROGRAM)})"))


def describe_exported(archive: Archive) -> Exported:
    """Read the program and the places of its weights.

    Raises:
        ArchiveError: an entry is damaged or too long.
        ProgramError: it holds no program, several, or one of an unknown form.
    """
    found = archive.matching(rf"([^/]+/)?(models/[^/]+\.json|{re.escape(LEGACY_PROGRAM)})")
    if len(found) != 1:
        raise ProgramError(f"it holds {len(found)} programs, wanted one")
    try:
        document = _json(archive, found[0])
        graph_module = document["graph_module"]
        [call] = [entry for entry in graph_module["module_call_graph"] if entry["fqn"] == ""]
        answer = json.loads(call["signature"]["out_spec"])
        exported = Exported(graph_module["graph"], graph_module["signature"], answer)
        operators: set[str] = set()
        not_pure: set[str] = set()
        for name in _targets(exported.graph):
            pure = _pure_operator(name)
            (operators if pure else not_pure).add(pure or name)
        weights, parameters, pickled = _weights(archive, found[0])
        not_pure |= pickled
        if len(exported.inputs) != 1 or len(exported.input_shape) != 4:
            raise ProgramError(f"it takes {len(exported.inputs)} inputs, wanted one of four dimensions")
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as error:
        raise ProgramError(f"{type(error).__name__} {first_line(error)}") from None
    return Exported(
        exported.graph, exported.signature, answer, weights, parameters, frozenset(operators), frozenset(not_pure)
    )


def _json(archive: Archive, name: str) -> Any:
    return json.loads(archive.read(name))


def _targets(graph: Mapping[str, Any]) -> Iterator[str]:
    for node in graph["nodes"]:
        yield str(node["target"])


def _pure_operator(target: str) -> str:
    """Name of an operator that only computes; empty for any other."""
    match target.split("."):
        case ["torch", "ops", "aten", name, _] if is_pure(name):
            return name
        case ["_operator", name] if name in ARITHMETIC:
            return name
    return ""


def _weights(archive: Archive, program: str) -> tuple[dict[str, TensorInfo], frozenset[str], set[str]]:
    """Weights and constants by name, which of them are parameters, and what is pickled among them."""
    if program.endswith(LEGACY_PROGRAM):
        return {}, frozenset(), set()
    root, model = re.fullmatch(r"(.*?)models/([^/]+)\.json", program).groups()  # type: ignore[union-attr]
    weights: dict[str, TensorInfo] = {}
    parameters, pickled = set(), set()
    for kind in ("weights", "constants"):
        name = f"{root}data/{kind}/{model}_{kind}_config.json"
        entries = _json(archive, name)["config"] if name in archive else {}
        for key, entry in entries.items():
            if entry["use_pickle"] or entry.get("tensor_meta") is None:
                pickled.add(f"a pickled tensor ({key})")
                continue
            weights[key] = _info(archive, f"{root}data/{kind}/{entry['path_name']}", entry["tensor_meta"])
            if entry.get("is_param"):
                parameters.add(key)
    return weights, frozenset(parameters), pickled


def _info(archive: Archive, entry: str, meta: Mapping[str, Any]) -> TensorInfo:
    shape, stride = (tuple(size["as_int"] for size in meta[key]) for key in ("sizes", "strides"))
    offset = meta["storage_offset"]["as_int"]
    dtype = DTYPES.get(meta["dtype"])
    numbers = (*shape, *stride, offset)
    if dtype is None or len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        raise ProgramError(f"{entry}: a tensor of an unknown type")
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ProgramError(f"{entry}: a tensor with a malformed shape")
    info = TensorInfo(shape, dtype, View(entry, offset, stride))
    if info.room > archive.room(entry):
        raise ProgramError(f"{entry}: a tensor of shape {shape} does not fit into it")
    return info
