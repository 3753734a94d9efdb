"""Float32 that is none, and how GPUs compute: torch's settings inside and after, whichever way they were set before."""

import subprocess
import sys

SETTINGS = """
import torch
from robaudit.float32 import true_float32

cudnn, cuda, mkldnn = torch.backends.cudnn, torch.backends.cuda, torch.backends.mkldnn

def settings():
    places = (cudnn.conv, cudnn.rnn, cuda.matmul, mkldnn.conv, mkldnn.rnn, mkldnn.matmul)
    repeatable = cudnn.deterministic, not cudnn.benchmark, not cuda.mem_efficient_sdp_enabled()
    return cudnn.enabled, repeatable, [place.fp32_precision for place in places]

{before}
before = settings()
with true_float32():
    inside = settings()
    assert torch.get_float32_matmul_precision() == "highest"
    assert not cudnn.allow_tf32
    with true_float32():
        assert settings() == inside
    assert settings() == inside
assert inside == (before[0], (True, True, True), ["ieee"] * 6), inside
assert settings() == before, (before, settings())
"""

BEFORE = {
    "nothing": "",
    "cuDNN off": "cudnn.enabled = False",
    "fastest kernels": "cudnn.benchmark = True",
    "TF32 as it was said before": "cuda.matmul.allow_tf32 = True; cudnn.allow_tf32 = True",
    "lowest matrix products": "torch.set_float32_matmul_precision('medium')",
    "TF32 everywhere": "torch.backends.fp32_precision = 'tf32'",
    "TF32 nowhere": "cudnn.conv.fp32_precision = 'ieee'; cudnn.rnn.fp32_precision = 'ieee'",
    "TF32 in one place": "cudnn.conv.fp32_precision = 'ieee'",
    "TF32 in products": "cuda.matmul.fp32_precision = 'tf32'",
}


EACH = """
import multiprocessing
import torch, robaudit.float32  # once: it takes longer than all cases

for name, code in {codes!r}.items():
    case = multiprocessing.get_context("fork").Process(target=exec, args=(code, {{}}), name=name)
    case.start()
    case.join()
    if case.exitcode != 0:
        print(name)
"""


def test_it_is_exact_and_repeatable_inside_and_leaves_no_trace():
    """Each in a process of its own: some of these settings cannot be taken back."""
    code = EACH.format(codes={name: SETTINGS.format(before=before) for name, before in BEFORE.items()})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
