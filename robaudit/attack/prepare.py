"""A frozen, faster copy of a classifier to take gradients from; the original is left as it was and alone judges.

Frozen parameters, batch-norm folded into the convolution before it, and channels-last memory change nothing but float
rounding; folding is kept only where a numerical check on the model itself agrees.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robaudit.attack.batching import Logits
from robaudit.errors import ModelError
from robaudit.float32 import true_float32
from robaudit.load.classifier import Classifier
from robaudit.load.evaluating import evaluating
from robaudit.memory import ran_out

FOLD_TOLERANCE = 1e-4
"""Largest change of a logit by folding, relative to the spread of an image's logits, that counts as rounding."""


@dataclass(frozen=True)
class Speedups:
    """What the working copy does to save time; each can be switched off."""

    fold: bool = True
    channels_last: bool = True
    bfloat16: bool = False


def working_copy(model: nn.Module, example: Tensor, speedups: Speedups) -> nn.Module:
    """A frozen copy of `model` in eval mode, made fast.

    Args:
        model: pixels (B, C, H, W) in [0, 1] -> logits (B, K).
        example: a few pictures (B, C, H, W), used to check that folding changed nothing.
        speedups: what to do.

    Returns:
        A module from pixels to logits, differentiable in its argument only, in float32; `in_bfloat16` makes it faster.

    Raises:
        ModelError: the model holds something that cannot be copied.
    """
    copied = _copied(model).eval().requires_grad_(False)
    if speedups.fold:
        copied = _folded(copied, example)
    return channels_last(copied) if speedups.channels_last else copied


def channels_last(model: nn.Module) -> nn.Module:
    """The model itself, its weights (O, I, H, W) in the layout that is faster; those of Conv3d have no such layout."""

    def laid_out(tensor: Tensor) -> Tensor:
        return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor

    # What `Module.to` does, which takes five dimensions for four.
    model._apply(laid_out)  # type: ignore[no-untyped-call]
    return model


def in_bfloat16(copied: Logits) -> Logits:
    """The same function computed in bfloat16 where that is safe, its logits in float32."""

    def answer(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            logits = copied(x)
        return logits.float()

    return answer


class StraightThrough(nn.Module):
    """A retrofitted classifier whose T and C pass gradients on unchanged: BPDA (Athalye et al. 2018, section 4.1)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> the classifier's own logits (B, K), but for rounding."""
        seen = self.classifier.features_in(x)
        unchanged = x.expand_as(seen)
        return self.classifier.answer(unchanged + (seen - unchanged).detach())


@contextmanager
def judging(model: nn.Module) -> Iterator[Logits]:
    """The untouched model in eval mode and true float32; modes and numeric settings are restored at the end."""
    with evaluating(model), true_float32():
        yield model


def fingerprint(model: nn.Module) -> str:
    """Hash of everything an audit must leave as it was: weights, buffers, modes, requires_grad, device and layout."""
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        digest.update(f"{name} {type(module).__qualname__} {module.training}\n".encode())
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        described = (name, tensor.dtype, tensor.device, tensor.requires_grad, tuple(tensor.shape), tensor.stride())
        digest.update(repr(described).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        digest.update(b"grad" if tensor.grad is not None else b"")
    return digest.hexdigest()


def unasked_copy(model: nn.Module) -> nn.Module:
    """A copy that shares parameters and buffers, and has everything else that a model may remember for itself.

    Raises:
        ModelError: the model holds something that cannot be copied.
    """
    return _copied(model, chain(model.parameters(), model.buffers()))


def _copied(model: nn.Module, shared: Iterable[Tensor] = ()) -> nn.Module:
    try:
        return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    except Exception as error:  # a lock, an open file, a tensor of an earlier backward pass: whatever a model may hold
        if ran_out(error):
            raise
        raise ModelError(
            f"the model: cannot be copied ({type(error).__name__}: {error}), and attacks follow a copy, so that "
            "it stays as it was; take out of the network what copy.deepcopy cannot copy"
        ) from None


def _folded(model: nn.Module, example: Tensor) -> nn.Module:
    """Fold every batch-norm that reads a convolution's output; keep the result only if the logits stay."""
    pairs = _convolutions_before_batch_norm(model, example)
    if not pairs:
        return model
    folded = copy.deepcopy(model)
    for convolution, batch_norm in pairs:
        conv, norm = folded.get_submodule(convolution), folded.get_submodule(batch_norm)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded.set_submodule(convolution, fuse_conv_bn_eval(conv, norm))
        folded.set_submodule(batch_norm, _what_remains(norm))
    return folded if _agree(model, folded, example) else model


def _agree(model: nn.Module, other: nn.Module, example: Tensor) -> bool:
    """Whether two models give the same logits but for rounding; what all logits of an image share is no difference."""
    with torch.no_grad():
        before, after = (logits - logits.mean(1, keepdim=True) for logits in (model(example), other(example)))
    spread = before.abs().amax(1, keepdim=True)
    return bool(after.isfinite().all()) and bool(((before - after).abs() <= FOLD_TOLERANCE * spread).all())


def _convolutions_before_batch_norm(model: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """Names of (convolution, batch-norm) where the one's output is the other's input, each called once."""
    produced: dict[int, str] = {}
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    alive: list[Tensor] = []  # ids are unique only among living tensors

    def note_output(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            produced[id(output)] = name
            alive.append(output)

        return hook

    def note_input(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            calls[name] = calls.get(name, 0) + 1
            if args and id(args[0]) in produced:
                pairs.append((produced[id(args[0])], name))

        return hook

    handles = []
    for name, module in model.named_modules():
        # Pruning, weight norm and spectral norm compute a weight anew in every pass: there is none to fold into.
        if type(module) is nn.Conv2d and isinstance(module.weight, nn.Parameter):
            handles.append(module.register_forward_hook(note_output(name)))
        elif isinstance(module, nn.BatchNorm2d) and _is_fixed(module):
            handles.append(module.register_forward_pre_hook(note_input(name)))
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    readers = Counter(conv for conv, _ in pairs)
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == readers[conv] == 1]


def _is_fixed(norm: nn.BatchNorm2d) -> bool:
    """Whether a batch-norm scales by numbers of its own, rather than by those of the batch, also in eval mode."""
    return not norm.training and norm.running_mean is not None and norm.running_var is not None


def _what_remains(norm: nn.Module) -> nn.Module:
    """What a batch-norm still does once folded: timm's carry dropout and an activation inside."""
    rest = [norm.get_submodule(part) for part in ("drop", "act") if isinstance(getattr(norm, part, None), nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()
