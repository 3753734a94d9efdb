"""Float32 as it is meant, and the same numbers every time, on GPUs too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def true_float32() -> Iterator[None]:
    """Compute in float32 where float32 is said; torch's settings are restored at the end. A decorator too.

    On GPUs, cuDNN would otherwise round to TF32's 10 bits and choose algorithms that differ from run to run, and one of
    the kernels of attention would add up its gradients in any order.
    """
    matmul_precision = torch.get_float32_matmul_precision()
    unordered_attention = torch.backends.cuda.mem_efficient_sdp_enabled()  # type: ignore[no-untyped-call]
    enabled = torch.backends.cudnn.enabled  # not said, it would be switched off: a tenth of the speed on a GPU
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        with torch.backends.cudnn.flags(enabled, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.enable_mem_efficient_sdp(unordered_attention)
        torch.set_float32_matmul_precision(matmul_precision)
