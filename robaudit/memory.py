"""Whether an error says that memory ran out: torch has a class for GPUs, and only words for CPUs. A leaf, no torch."""

OUT_OF_MEMORY = "memory ran out"


def ran_out(error: BaseException) -> bool:
    """Tell running out of memory, on whatever device, from every other error."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "bad_alloc" in str(error))
