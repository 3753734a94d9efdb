"""The first forward pass of somebody else's program: nothing absurdly large is computed, and nothing for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from robaudit.load.kinds import ProgramError

MAX_ELEMENTS = 2**28
"""Of one tensor while one picture is asked: 1 GB; the largest of a ViT-H at 224x224 has 1.3 million."""
MAX_OPERATIONS = 100_000
MAX_FLOPS = 2e13
"""Of one picture; ViT-H takes 3e11."""


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Works every operator out on shapes alone first, and computes only what stays within bounds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._n_operations = 0
        self._flops = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Judge one operator, then compute it."""
        kwargs = kwargs or {}
        self._n_operations += 1
        if self._n_operations > MAX_OPERATIONS:
            raise ProgramError(f"more than {MAX_OPERATIONS} operations")
        if func not in _BOUNDED_BY_INPUT:
            self._judge(func, args, kwargs)
        return func(*args, **kwargs)

    def _judge(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shape_args, shape_kwargs = tree_map_only(Tensor, _shape_only, (args, kwargs))
        if any(argument.name == "device" for argument in func._schema.arguments):
            shape_kwargs["device"] = torch.device("meta")
        if func is _aten._convolution.default:
            # torch 2.10 works this one, which traced programs hold, out on numbers only; its core is the same.
            func, shape_args = _aten.convolution.default, shape_args[:_CONVOLUTION_ARGUMENTS]
        foreseen = func(*shape_args, **shape_kwargs)
        for tensor in tree_leaves(foreseen):
            if isinstance(tensor, Tensor) and tensor.numel() > MAX_ELEMENTS:
                raise ProgramError(f"{func}: a tensor of shape {list(tensor.shape)}")
        count: Callable[..., float] | None = flop_registry.get(func.overloadpacket)
        if count is not None:
            self._flops += count(*shape_args, **shape_kwargs, out_val=foreseen)
        if self._flops > MAX_FLOPS:
            raise ProgramError(f"more than {MAX_FLOPS:.0e} operations on numbers")


_aten = torch.ops.aten
_CONVOLUTION_ARGUMENTS = 9
"""Of `_convolution`, those that decide what comes out; the rest choose how cuDNN computes it."""
_BOUNDED_BY_INPUT = frozenset(
    {
        _aten._local_scalar_dense.default, _aten.nonzero.default, _aten.masked_select.default, _aten.equal.default,
        _aten.item.default, _aten.is_nonzero.default, _aten.copy_.default, _aten.lift_fresh.default,
        _aten._to_copy.default, _aten._assert_async.msg, _aten._assert_async.default,
    }
)  # fmt: skip


def _shape_only(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
