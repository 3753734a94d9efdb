"""A network that is already in memory -> a classifier ready to be attacked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from robaudit.errors import ModelError, first_line
from robaudit.load.channels import channels_taken
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.load.evaluating import evaluating
from robaudit.load.head import Head, as_row
from robaudit.load.own_code import code_sha256
from robaudit.memory import ran_out
from robaudit.records import InputSize, ModelInfo, Normalization


def from_module(
    network: nn.Module,
    *,
    classes: Sequence[str],
    size: tuple[int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> LoadedModel:
    """Wrap a network; it stays on its device, and its state is left as it is.

    Args:
        network: (B, 1 or 3, H, W) -> answers (B, K), or (B,) where it has one output; or a `Classifier`, which is taken
            as it is.
        classes: names in the order of the outputs.
        size: (height, width) of its input grid.
        mean: of the normalisation it expects, per channel; None: it takes pixels in [0, 1] as they are.
        std: likewise.

    Raises:
        ModelError: it takes neither 3-channel nor 1-channel pictures of this size, or none alone, the normalisation has
            others, or its weights are of half precision.
    """
    classifier = network if isinstance(network, Classifier) else _wrapped(network, size, mean, std)
    info = ModelInfo(
        path=f"in memory: {type(network).__qualname__}",
        sha256=weights_sha256(network),
        code_sha256=code_sha256(network, None),
        arch=type(network).__qualname__,
        n_classes=len(classes),
        classes=tuple(classes),
        input=InputSize(channels=classifier.in_chans, height=size[0], width=size[1]),
        normalization=classifier.normalization,
    )
    return LoadedModel(classifier, info)


def weights_sha256(network: nn.Module) -> str:
    """Hash of a network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _wrapped(
    network: nn.Module, size: tuple[int, int], mean: Sequence[float] | None, std: Sequence[float] | None
) -> Classifier:
    weights = next(iter(network.parameters()), torch.empty(0))
    if (mean is None) != (std is None):
        raise ModelError("the model in memory: mean and std belong together; pass both")
    if weights.dtype in (torch.float16, torch.bfloat16):
        held = str(weights.dtype).removeprefix("torch.")
        raise ModelError(f"the model in memory: holds {held} weights, wanted float32; pass model.float()")
    in_chans = len(mean) if mean is not None else _channels(network, size, weights.device)
    given = mean is not None and std is not None
    normalization = Normalization(
        mean=tuple(mean) if mean is not None else (0.0,) * in_chans,
        std=tuple(std) if std is not None else (1.0,) * in_chans,
        source="given" if given else "none: in memory",
    )
    backbone = _in_rows(network, (in_chans, *size), weights.device)
    classifier = Classifier(backbone, normalization, in_chans=in_chans)
    classifier.training = network.training
    return classifier.to(weights.device)


def _in_rows(network: nn.Module, shape: tuple[int, int, int], device: torch.device) -> nn.Module:
    """The network, or a wrapper where it answers one number per picture, or drops the batch of a single one.

    Raises:
        ModelError: it takes several pictures (C, H, W) at a time, and not one.
    """
    answers: list[Any] = []
    try:
        with evaluating(network), torch.no_grad():
            answers += (network(torch.zeros(n, *shape, device=device)) for n in (2, 1))
    except Exception as error:
        if ran_out(error):
            raise
        if not answers:  # told where it is asked about images
            return network
        raise ModelError(
            f"the model in memory: takes no picture alone ({type(error).__name__}: {first_line(error)}); let it keep "
            "the batch of one, as .squeeze() does not"
        ) from None
    together, alone = answers
    row = as_row(together)
    if row is None or (row is together and alone.dim() == 2):
        return network
    return Head(network, row.shape[1], None, None)


def _channels(network: nn.Module, size: tuple[int, int], device: torch.device) -> int:
    """3 or 1, whichever the network takes."""
    try:
        with evaluating(network), torch.no_grad():
            return channels_taken(network, size, device=device)
    except Exception as error:  # whatever the network raises on what it does not take
        if ran_out(error):
            raise
        raise ModelError(
            f"the model in memory takes neither 3x{size[0]}x{size[1]} nor 1x{size[0]}x{size[1]} pictures "
            f"({type(error).__name__}: {first_line(error)}); pass input_size"
        ) from None
