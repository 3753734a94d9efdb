"""Whether an error says that memory ran out: torch has a class for it on GPUs, or only words; or whatever else ends.

A leaf, no torch.
"""

import errno

OUT_OF_MEMORY = "memory ran out"
# Of the CPU's allocator, of C++, of a GPU's driver, and of its libraries where they find no room for a workspace.
_WORDS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory", "STATUS_ALLOC_FAILED")


def ran_out(error: BaseException) -> bool:
    """Tell running out of memory, on whatever device, from every other error."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def exhausted(error: BaseException) -> bool:
    """Tell the machine's running out of memory, disk or open files from what is wrong with a file that is read."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
    return ran_out(error) or (isinstance(error, OSError) and error.errno in full)
