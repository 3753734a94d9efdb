"""The numbers of a torch archive, read without torch's unpickler: nothing in the file can name code."""

from collections.abc import Mapping

import torch
from torch import Tensor

from robaudit.errors import first_line
from robaudit.load.archive import Archive, ArchiveError
from robaudit.load.kinds import ProgramError
from robaudit.load.torch_pickle import ITEM_BYTES, TensorInfo


class StorageReader:
    """Tensors of an archive; those that share a storage share memory here too."""

    def __init__(self, archive: Archive, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        """Where the storages lie, such as `archive/data/`."""
        self._storages: dict[str, bytearray] = {}

    def tensor(self, info: TensorInfo) -> Tensor:
        """The tensor that a pickle described.

        Raises:
            ArchiveError: its storage is damaged or too small.
            ProgramError: its type is none that a network's weights have.
        """
        if info.view is None or info.dtype not in ITEM_BYTES:
            raise ProgramError(f"numbers of type {info.dtype}")
        dtype = getattr(torch, info.dtype)
        if not info.n_elements:
            return torch.empty(info.shape, dtype=dtype)
        content = self._storage(info.view.storage)
        whole = torch.frombuffer(content, dtype=dtype, count=len(content) // ITEM_BYTES[info.dtype])
        try:
            return whole.as_strided(info.shape, info.view.stride, info.view.offset)
        except RuntimeError as error:
            raise ArchiveError(f"storage {info.view.storage}: {first_line(error)}") from None

    def tensors(self, infos: Mapping[str, TensorInfo]) -> dict[str, Tensor]:
        """Several of them, by name."""
        return {name: self.tensor(info) for name, info in infos.items()}

    def _storage(self, key: str) -> bytearray:
        if key not in self._storages:
            name = self._folder + key
            content = bytearray(self._archive.read(name, self._archive.room(name)))
            if len(content) < 1:
                raise ArchiveError(f"storage {key} is empty")
            self._storages[key] = content
        return self._storages[key]
