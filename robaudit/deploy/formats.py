"""The formats: how each is written, and how it is run again for the check. One row per format."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.errors import SettingsError
from robaudit.load.own_export import METADATA_NAME

Metadata = Mapping[str, Any]
"""Each format carries what the file is, under `METADATA_NAME`: classes, input, and the hash of the model it was."""
Run = Callable[[Tensor], Tensor]
"""(B, C, H, W) in [0, 1] -> logits (B, K)."""


@dataclass(frozen=True)
class Format:
    """How a format is written and read."""

    write: Callable[[nn.Module, Tensor, Metadata, Path], None]
    """(classifier in evaluation mode, an example batch of 2, metadata, file) -> the file, for any batch size."""
    read: Callable[[Path], Run]


def _write_torchscript(model: nn.Module, example: Tensor, metadata: Metadata, path: Path) -> None:
    with _quiet(), path.open("wb") as file:  # of a path, torch wants that it has a suffix
        traced = torch.jit.trace(model, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, file, _extra_files={METADATA_NAME: json.dumps(metadata)})


def _read_torchscript(path: Path) -> Run:
    with _quiet():
        loaded = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(x: Tensor) -> Tensor:
        with _quiet():
            logits: Tensor = loaded(x)
        return logits

    return run


def _write_pt2(model: nn.Module, example: Tensor, metadata: Metadata, path: Path) -> None:
    with _quiet():
        program = torch.export.export(model, (example,), dynamic_shapes=_any_batch())
        # Not into the file: on a full disk torch's writer would end the process, and of a path it wants a suffix.
        content = BytesIO()
        torch.export.save(program, content, extra_files={METADATA_NAME: json.dumps(metadata)})
    path.write_bytes(content.getbuffer())


def _read_pt2(path: Path) -> Run:
    with _quiet(), path.open("rb") as file:
        program: Run = torch.export.load(file).module()
    return program


def _write_onnx(model: nn.Module, example: Tensor, metadata: Metadata, path: Path) -> None:
    _require_onnx()
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=_any_batch(),
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props[METADATA_NAME] = json.dumps(metadata)
        program.save(path, external_data=False)  # one file; ONNX allows 2 GB


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"image": x.numpy()})[0])


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingsError(f"--format onnx: needs {error.name}; pip install 'robaudit[onnx]'") from None


def _any_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch")},)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what exporters say about their future: TorchScript is deprecated, and still asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS: Mapping[str, Format] = {
    "torchscript": Format(_write_torchscript, _read_torchscript),
    "onnx": Format(_write_onnx, _read_onnx),
    "pt2": Format(_write_pt2, _read_pt2),
}
