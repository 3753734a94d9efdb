"""What people put on top of a network, as modules that every container of programs can hold."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Headed(nn.Module):
    """A network of K logits with something done to them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class Softmax(Headed):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).softmax(1)


class LogSoftmax(Headed):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).log_softmax(1)


class Sigmoid(Headed):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).sigmoid()


class Squeezed(Headed):
    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).flatten()


class InTuple(Headed):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(x), x.mean((2, 3))


class InDict(Headed):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": x.mean((2, 3)), "logits": self.network(x)}


class Head(NamedTuple):
    """A head, what a person says of it, and the two logits or more that the audit attacks."""

    put_on: Callable[[nn.Module], nn.Module]
    n_outputs: int = 3
    options: Mapping[str, Any] = MappingProxyType({})
    output: int | None = None
    """Which of several outputs it is, in containers that give them names of their own."""
    expected: Callable[[Tensor], Tensor] = lambda z: z


def two(z: Tensor) -> Tensor:
    """One logit (B, 1) as two of the same probability."""
    return torch.cat([-z / 2, z / 2], 1)


def itself(network: nn.Module) -> nn.Module:
    return network


WEIGHT_HEADS = {
    "logits": Head(itself),
    "one logit": Head(itself, 1, expected=two),
}
"""Those that any container can hold, also one of weights alone."""

PROGRAM_HEADS = {
    **WEIGHT_HEADS,
    "softmax": Head(Softmax),
    "log-softmax": Head(LogSoftmax, expected=lambda z: z.log_softmax(1)),
    "one sigmoid": Head(Sigmoid, 1, expected=two),
    "one logit, squeezed": Head(Squeezed, 1, expected=two),
    "tuple": Head(InTuple, options={"output": "0"}, output=0),
    "dictionary": Head(InDict, output=1),
    "one finding of three": Head(Sigmoid, options={"label_index": 2}, expected=lambda z: two(z[:, 2:])),
}
