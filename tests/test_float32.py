"""Float32 that is none, and how GPUs compute: torch's settings inside and after."""

import pytest
import torch

from robaudit.float32 import true_float32


def settings():
    cudnn, precision = torch.backends.cudnn, torch.get_float32_matmul_precision()
    attention = torch.backends.cuda.mem_efficient_sdp_enabled()
    return cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, precision, attention


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_exact_and_repeatable_inside_and_leaves_no_trace(enabled):
    with torch.backends.cudnn.flags(enabled, benchmark=True, deterministic=False, allow_tf32=True):
        before = settings()
        with true_float32():
            assert settings() == (enabled, False, True, False, "highest", False), "cuDNN itself stays as it was"
        assert settings() == before
