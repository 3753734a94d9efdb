"""Running out of memory is told from other errors, on whatever device."""

import errno

import pytest

from robaudit.memory import exhausted, ran_out


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    ],
)
def test_memory_that_ran_out_is_known_by_its_class_or_its_words(error: Exception) -> None:
    assert ran_out(error)


@pytest.mark.parametrize("error", [RuntimeError("the size of tensor a must match"), ValueError("out of memory")])
def test_other_errors_are_other_errors(error: Exception) -> None:
    assert not ran_out(error)


def test_a_machine_may_run_out_of_more_than_memory() -> None:
    out = [MemoryError(), *(OSError(code, "") for code in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))]
    assert all(map(exhausted, out))
    assert not any(map(exhausted, [FileNotFoundError(errno.ENOENT, ""), ValueError(), OSError("truncated")]))
