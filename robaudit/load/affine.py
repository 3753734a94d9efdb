"""Whether answers are sums of what layers return, scaled by constants: then they are logits, whatever their values.

Nothing that bounds an answer, as a sigmoid does, is such a sum; what is not known here counts as none either.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from robaudit.memory import ran_out

# Operations as autograd names them.
_LAYERS = frozenset({"Addmm", "Linear", "Convolution", "MkldnnConvolution"})
_SCALING = frozenset({"Mul", "Div", "Mm", "Bmm", "Mv"})  # a constant matrix may weigh probabilities as well as logits
_SUMMING = frozenset(
    {
        *("Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "AvgPool2D", "AdaptiveAvgPool2D", "MkldnnAdaptiveAvgPool2D"),
        *("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Expand", "Permute", "Transpose", "T"),
        *("Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Index", "IndexSelect", "Gather", "AsStrided"),
        *("Alias", "Clone", "ToCopy", "Cat", "Stack"),
    }
)


def is_sum_of_layers(network: nn.Module, x: Tensor) -> bool:
    """Follow the answers to pictures `x`, as the network takes them, back to where they come from.

    Raises:
        Exception: what the network raises where memory runs out.
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    pictures = x.detach().clone().requires_grad_()
    try:
        for weight in trained:
            weight.requires_grad_(False)  # so that only what depends on the pictures is met on the way
        with torch.enable_grad():
            answers = network(pictures.clone())  # which it may write to
    except Exception as error:  # a network may answer without gradients alone
        if ran_out(error):
            raise
        return False
    finally:
        for weight in trained:
            weight.requires_grad_(True)
    return answers.grad_fn is not None and _is_sum(answers.grad_fn)


def _is_sum(end: Node) -> bool:
    waiting, seen = [end], set()
    while waiting:
        if (node := waiting.pop()) in seen:
            continue
        seen.add(node)
        name = re.sub(r"Backward\d*$", "", node.name())
        before = [source for source, _ in node.next_functions if source is not None]
        if name in _LAYERS and len(before) == 1:  # of two, it is no layer
            continue
        divides_by_it = name == "Div" and node.next_functions[0][0] is None
        if name not in _SUMMING and not (name in _SCALING and len(before) == 1 and not divides_by_it):
            return False
        waiting += before
    return True
