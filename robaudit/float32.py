"""Float32 as it is meant, and the same numbers every time, on GPUs too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_BACKENDS: Any = torch.backends
_PLACES = (
    *(_BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn, _BACKENDS.cuda.matmul),
    *(_BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.rnn, _BACKENDS.mkldnn.matmul),
)
"""Where torch lets float32 be computed in fewer bits; each has a `fp32_precision` of its own."""


@contextmanager
def true_float32() -> Iterator[None]:
    """Compute in float32 where float32 is said; torch's settings are restored at the end. A decorator too.

    On GPUs, convolutions would otherwise round to TF32's 10 bits and choose algorithms that differ from run to run, and
    one of the kernels of attention would add up its gradients in any order. Settings are made one by one, for
    `torch.backends.cudnn.flags` switches off cuDNN itself unless told otherwise, and misses precisions set elsewhere.
    """
    cudnn = _BACKENDS.cudnn
    precisions, of_matmul = [place.fp32_precision for place in _PLACES], _matmul_precision()
    repeatable = cudnn.deterministic, cudnn.benchmark
    unordered_attention = _BACKENDS.cuda.mem_efficient_sdp_enabled()
    try:
        _set_precisions("highest", False, ["ieee"] * len(_PLACES))
        cudnn.deterministic, cudnn.benchmark = True, False
        _BACKENDS.cuda.enable_mem_efficient_sdp(False)
        yield
    finally:
        _BACKENDS.cuda.enable_mem_efficient_sdp(unordered_attention)
        cudnn.deterministic, cudnn.benchmark = repeatable
        _set_precisions(of_matmul, precisions[0] == "tf32", precisions)


def _set_precisions(of_matmul: str, allow_tf32: bool, precisions: list[str]) -> None:
    """Set the older settings first, and the newer ones to agree with them: torch refuses to read what does not."""
    torch.set_float32_matmul_precision(of_matmul)
    _BACKENDS.cudnn.allow_tf32 = allow_tf32
    for place, precision in zip(_PLACES, precisions, strict=True):
        place.fp32_precision = precision


def _matmul_precision() -> str:
    """The older setting of matrix products; guessed where it disagrees with the newer one."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "high" if _BACKENDS.cuda.matmul.fp32_precision == "tf32" else "highest"
