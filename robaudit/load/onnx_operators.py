"""ONNX operators in torch, so that a graph has gradients. What is not here is named when it is met.

A function takes the node's inputs (None where one is left out) and its attributes by name, and returns a tensor or a
tuple of them. Semantics: the operator's page at https://onnx.ai/onnx/operators/, opset 7 and later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.load.kinds import ProgramError

Operator = Callable[..., Any]

OPERATORS: dict[str, Operator] = {}


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Enter a function under one or several ONNX names."""

    def enter(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return enter


def _pointwise(names: Mapping[str, Operator]) -> None:
    for name, function in names.items():
        OPERATORS[name] = function


_pointwise(
    {
        "Abs": torch.abs, "Neg": torch.neg, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Erf": torch.erf,
        "Reciprocal": torch.reciprocal, "Sign": torch.sign, "Floor": torch.floor, "Ceil": torch.ceil,
        "Round": torch.round, "Sin": torch.sin, "Cos": torch.cos, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid,
        "Relu": torch.relu, "Softsign": F.softsign, "Softplus": F.softplus, "Mish": F.mish, "HardSwish": F.hardswish,
        "Not": torch.logical_not, "IsNaN": torch.isnan, "Identity": lambda x: x, "Sub": torch.sub, "Mul": torch.mul,
        "Add": torch.add, "Equal": torch.eq, "Greater": torch.gt, "Less": torch.lt, "GreaterOrEqual": torch.ge,
        "LessOrEqual": torch.le, "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
        "Where": torch.where, "MatMul": torch.matmul, "Sum": lambda *xs: sum(xs[1:], xs[0]),
    }
)  # fmt: skip


# Arithmetic


@operator("Div")
def _div(a: Tensor, b: Tensor) -> Tensor:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


@operator("Pow")
def _pow(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b.to(a.dtype))


@operator("Mod")
def _mod(a: Tensor, b: Tensor, fmod: int = 0) -> Tensor:
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@operator("Max")
def _max(first: Tensor, *others: Tensor) -> Tensor:
    for other in others:
        first = torch.maximum(first, other)
    return first


@operator("Min")
def _min(first: Tensor, *others: Tensor) -> Tensor:
    for other in others:
        first = torch.minimum(first, other)
    return first


@operator("Mean")
def _mean(*values: Tensor) -> Tensor:
    return sum(values[1:], values[0]) / len(values)


@operator("Clip")
def _clip(
    x: Tensor, low: Tensor | None = None, high: Tensor | None = None, min: float | None = None,  # noqa: A002
    max: float | None = None,  # noqa: A002
) -> Tensor:  # fmt: skip
    """Before opset 11 the limits are attributes."""
    lower, upper = (low if low is not None else min), (high if high is not None else max)
    if lower is None and upper is None:
        return x
    return torch.clamp(
        x,
        lower.item() if isinstance(lower, Tensor) else lower,
        upper.item() if isinstance(upper, Tensor) else upper,
    )


@operator("LeakyRelu")
def _leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


@operator("PRelu")
def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def _elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


@operator("Selu")
def _selu(x: Tensor, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    return gamma * torch.where(x > 0, x, alpha * (torch.exp(x.clamp(max=0)) - 1))


@operator("Gelu")
def _gelu(x: Tensor, approximate: bytes = b"none") -> Tensor:
    return F.gelu(x, approximate=approximate.decode())


@operator("HardSigmoid")
def _hard_sigmoid(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _softmax(softmax: Callable[[Tensor, int], Tensor]) -> Operator:
    def computed(x: Tensor, opset: int, axis: int | None = None) -> Tensor:
        """Before opset 13 all from the axis on is one row, and the axis is 1 where it is left out."""
        if opset >= 13:
            return softmax(x, -1 if axis is None else axis)
        return softmax(x.flatten(1 if axis is None else axis), -1).reshape(x.shape)

    return computed


_pointwise({"Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax)})


@operator("Einsum")
def _einsum(*operands: Tensor, equation: bytes) -> Tensor:
    return torch.einsum(equation.decode(), *operands)


@operator("Gemm")
def _gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> Tensor:  # fmt: skip
    a, b = (a.t() if transA else a), (b.t() if transB else b)
    if c is None:
        return alpha * (a @ b)
    return torch.addmm(c, a, b, alpha=alpha, beta=beta)


# Convolution and pooling


def _symmetric(pads: Sequence[int]) -> list[int] | None:
    """Padding as torch's convolutions take it; None where begin and end differ."""
    begin, end = list(pads[: len(pads) // 2]), list(pads[len(pads) // 2 :])
    return begin if begin == end else None


def _same_pads(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], auto_pad: bytes
) -> list[int]:
    """Pads of SAME_UPPER and SAME_LOWER: the output has ceil(size / stride) elements."""
    begin, end = [], []
    for n, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // stride) - 1) * stride + dilation * (k - 1) + 1 - n)
        small, large = total // 2, total - total // 2
        begin.append(small if auto_pad == b"SAME_UPPER" else large)
        end.append(large if auto_pad == b"SAME_UPPER" else small)
    return begin + end


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Pads of ONNX (all begins, then all ends, first axis first) on the last axes."""
    n = len(pads) // 2
    flat = [pad for axis in reversed(range(n)) for pad in (pads[axis], pads[axis + n])]
    return F.pad(x, flat, value=value)


def _pads_for(
    x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int] | None,
    auto_pad: bytes,
) -> list[int]:  # fmt: skip
    if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        return _same_pads(x.shape[2:], kernel, strides, dilations, auto_pad)
    return list(pads or [0] * 2 * len(kernel))


@operator("Conv")
def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None, pads: Sequence[int] | None = None, dilations: Sequence[int] | None = None,
    group: int = 1, auto_pad: bytes = b"NOTSET",
) -> Tensor:  # fmt: skip
    n = weight.dim() - 2
    if n not in (1, 2, 3):
        raise ProgramError(f"Conv over {n} dimensions")
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    pads = _pads_for(x, weight.shape[2:], strides, dilations, pads, auto_pad)
    symmetric = _symmetric(pads)
    if symmetric is None:
        x, symmetric = _padded(x, pads), [0] * n
    convolve = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    return convolve(x, weight, bias, strides, symmetric, dilations, group)


@operator("ConvTranspose")
def _conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None, pads: Sequence[int] | None = None, dilations: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None, output_shape: Sequence[int] | None = None, group: int = 1,
    auto_pad: bytes = b"NOTSET",
) -> Tensor:  # fmt: skip
    n = weight.dim() - 2
    symmetric = _symmetric(pads or [0] * 2 * n)
    if symmetric is None or auto_pad not in (b"NOTSET", b"VALID") or output_shape or n != 2:
        raise ProgramError("ConvTranspose with uneven padding, output_shape, or not over 2 dimensions")
    return F.conv_transpose2d(
        x, weight, bias, list(strides or [1] * n), symmetric, list(output_padding or [0] * n), group,
        list(dilations or [1] * n),
    )  # fmt: skip


@operator("MaxPool")
def _max_pool(
    x: Tensor, kernel_shape: Sequence[int], strides: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None, ceil_mode: int = 0, auto_pad: bytes = b"NOTSET", storage_order: int = 0,
) -> Tensor:  # fmt: skip
    n = len(kernel_shape)
    if n != 2:
        raise ProgramError(f"MaxPool over {n} dimensions")
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    pads = _pads_for(x, kernel_shape, strides, dilations, pads, auto_pad)
    symmetric = _symmetric(pads)
    if symmetric is None:
        x, symmetric = _padded(x, pads, float("-inf")), [0] * n
    return F.max_pool2d(x, list(kernel_shape), strides, symmetric, dilations, bool(ceil_mode))


@operator("AveragePool")
def _average_pool(
    x: Tensor, kernel_shape: Sequence[int], strides: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    ceil_mode: int = 0, count_include_pad: int = 0, auto_pad: bytes = b"NOTSET", dilations: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    n = len(kernel_shape)
    strides = list(strides or [1] * n)
    pads = _pads_for(x, kernel_shape, strides, [1] * n, pads, auto_pad)
    symmetric = _symmetric(pads)
    if n != 2 or any(step != 1 for step in dilations or ()) or (symmetric is None and ceil_mode):
        raise ProgramError("AveragePool of this form")
    if symmetric is not None:
        return F.avg_pool2d(x, list(kernel_shape), strides, symmetric, bool(ceil_mode), bool(count_include_pad))
    pooled = F.avg_pool2d(_padded(x, pads), list(kernel_shape), strides)
    if count_include_pad:
        return pooled
    share = F.avg_pool2d(_padded(torch.ones_like(x[:1, :1]), pads), list(kernel_shape), strides)
    return pooled / share


@operator("GlobalAveragePool")
def _global_average_pool(x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.dim())), keepdim=True)


@operator("LRN")
def _local_response_norm(x: Tensor, size: int, alpha: float = 0.0001, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    return F.local_response_norm(x, size, alpha, beta, bias)


# Normalisation


@operator("BatchNormalization")
def _batch_norm(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, epsilon: float = 1e-5, momentum: float = 0.9,
    training_mode: int = 0, spatial: int = 1, n_outputs: int = 1,
) -> Tensor:  # fmt: skip
    """Before opset 14 a node that names statistics as outputs is in training mode."""
    if training_mode or n_outputs > 1:
        raise ProgramError("BatchNormalization in training mode")
    if not spatial:
        raise ProgramError("BatchNormalization with statistics of every pixel")
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, epsilon)


@operator("InstanceNormalization")
def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, None, None, scale, bias, eps=epsilon)


@operator("LayerNormalization")
def _layer_norm(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    shape = x.shape[axis % x.dim() :]
    return F.layer_norm(x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), epsilon)


@operator("GroupNormalization")
def _group_norm(
    x: Tensor, scale: Tensor, bias: Tensor, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    if len(scale) != x.shape[1]:  # opset 18 has one number per group
        scale, bias = (part.repeat_interleave(x.shape[1] // num_groups) for part in (scale, bias))
    return F.group_norm(x, num_groups, scale, bias, epsilon)


@operator("Dropout")
def _dropout(
    x: Tensor, share: Tensor | None = None, training: Tensor | None = None, ratio: float = 0.5, seed: int = 0
) -> Tensor:
    """Nothing, but where the file says that it is being trained."""
    if training is not None and training.any():
        raise ProgramError("Dropout in training mode")
    return x


# Shapes and places


def _listed(value: Tensor | Sequence[int] | None) -> list[int] | None:
    return value.tolist() if isinstance(value, Tensor) else None if value is None else list(value)


@operator("Shape")
def _shape(x: Tensor, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


@operator("Size")
def _size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


@operator("Flatten")
def _flatten(x: Tensor, axis: int = 1) -> Tensor:
    return x.reshape(x.shape[:axis].numel(), -1)


@operator("Reshape")
def _reshape(x: Tensor, shape: Tensor, allowzero: int = 0) -> Tensor:
    sizes = [x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(shape.tolist())]
    return torch.reshape(x, sizes)


@operator("Transpose")
def _transpose(x: Tensor, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(tuple(perm) if perm is not None else tuple(reversed(range(x.dim()))))


@operator("Squeeze")
def _squeeze(x: Tensor, given: Tensor | None = None, axes: Sequence[int] | None = None) -> Tensor:
    found = _listed(given if given is not None else axes)
    return x.squeeze() if found is None else x.squeeze(found)


@operator("Unsqueeze")
def _unsqueeze(x: Tensor, given: Tensor | None = None, axes: Sequence[int] | None = None) -> Tensor:
    wanted = _listed(given if given is not None else axes) or []
    n = x.dim() + len(wanted)
    for axis in sorted(axis % n for axis in wanted):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


@operator("Split")
def _split(
    x: Tensor, sizes: Tensor | None = None, axis: int = 0, split: Sequence[int] | None = None,
    num_outputs: int | None = None, n_outputs: int = 1,
) -> tuple[Tensor, ...]:  # fmt: skip
    given = _listed(sizes if sizes is not None else split)
    each = -(-x.shape[axis] // (num_outputs or n_outputs))
    parts = tuple(torch.split(x, given if given is not None else each, axis))
    if len(parts) != n_outputs:
        raise ProgramError(f"Split of {x.shape[axis]} into {n_outputs}")
    return parts


@operator("Slice")
def _slice(
    x: Tensor, start: Tensor | None = None, end: Tensor | None = None, axis: Tensor | None = None,
    step: Tensor | None = None, starts: Sequence[int] | None = None, ends: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    first, last = _listed(start if start is not None else starts) or [], _listed(end if end is not None else ends) or []
    where = _listed(axis if axis is not None else axes) or list(range(len(first)))
    steps = _listed(step) or [1] * len(first)
    for a, b, along, by in zip(first, last, where, steps, strict=True):
        if by < 0:
            index = torch.tensor(range(x.shape[along])[slice(a, b if b > -(2**31) else None, by)], device=x.device)
            x = x.index_select(along, index.long())
        else:
            n = x.shape[along]
            begin, stop, _ = slice(a, b, by).indices(n)
            x = x.narrow(along, begin, max(0, stop - begin))
            x = x[(slice(None),) * (along % x.dim()) + (slice(None, None, by),)]
    return x


@operator("Gather")
def _gather(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    axis %= x.dim()
    indices = indices.to(x.device).long()
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    picked = x.index_select(axis, indices.reshape(-1))
    return torch.reshape(picked, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operator("GatherElements")
def _gather_elements(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    indices = indices.to(x.device)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@operator("GatherND")
def _gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    if batch_dims:
        raise ProgramError(f"GatherND with batch_dims {batch_dims}")
    return x[_places(x, indices)]


@operator("ScatterND")
def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, reduction: bytes = b"none") -> Tensor:
    if reduction not in (b"none", b"add"):
        raise ProgramError(f"ScatterND with reduction {reduction.decode(errors='replace')}")
    return x.index_put(_places(x, indices), updates, accumulate=reduction == b"add")


def _places(x: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
    """Indices (..., n) of entries, by the first n dimensions of what they lie in."""
    return indices.to(x.device).long().unbind(-1)


@operator("Expand")
def _expand(x: Tensor, shape: Tensor) -> Tensor:
    sizes = [max(size, 1) for size in shape.tolist()]
    sizes = [1] * (x.dim() - len(sizes)) + sizes
    own = [1] * (len(sizes) - x.dim()) + list(x.shape)
    return x.expand([size if size != 1 else n for size, n in zip(sizes, own, strict=True)])


@operator("Tile")
def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


@operator("Pad")
def _pad(
    x: Tensor, given: Tensor | None = None, constant: Tensor | None = None, axis: Tensor | None = None,
    pads: Sequence[int] | None = None, value: float = 0.0, mode: bytes = b"constant",
) -> Tensor:  # fmt: skip
    amounts = _listed(given if given is not None else pads) or []
    axes = _listed(axis)
    if axes is not None:
        full = [0] * 2 * x.dim()
        for i, along in enumerate(axes):
            full[along % x.dim()], full[along % x.dim() + x.dim()] = amounts[i], amounts[i + len(axes)]
        amounts = full
    fill = float(constant) if constant is not None else value
    if mode == b"constant":
        return _padded(x, amounts, fill)
    if mode not in (b"reflect", b"edge"):
        raise ProgramError(f"Pad with mode {mode.decode(errors='replace')}")
    n = x.dim()
    kept = [along for along in range(n) if amounts[along] or amounts[along + n]]
    if kept and kept[0] < 2:
        raise ProgramError(f"Pad with mode {mode.decode()} of batch or channels")
    flat = [pad for along in reversed(range(2, n)) for pad in (amounts[along], amounts[along + n])]
    return F.pad(x, flat, mode={b"reflect": "reflect", b"edge": "replicate"}[mode])


@operator("Resize", "Upsample")
def _resize(
    x: Tensor, *inputs: Tensor | None, opset: int, mode: bytes = b"nearest",
    coordinate_transformation_mode: bytes = b"half_pixel", nearest_mode: bytes = b"round_prefer_floor",
    scales: Sequence[float] | None = None, axes: Sequence[int] | None = None, cubic_coeff_a: float = -0.75,
    keep_aspect_ratio_policy: bytes = b"stretch", exclude_outside: int = 0, antialias: int = 0,
    extrapolation_value: float = 0.0,
) -> Tensor:  # fmt: skip
    """Inputs are (roi, scales, sizes); before opset 11 (scales) alone, or the attribute.

    Before opset 11 nothing says where the new pixels lie. PyTorch's exporters wrote such files of networks with any
    answer to that; what is computed here is what ONNX Runtime does: who deploys the file gets that.
    """
    if antialias or exclude_outside or keep_aspect_ratio_policy != b"stretch":
        raise ProgramError("Resize with antialias, exclude_outside or keep_aspect_ratio_policy")
    if opset < 11:
        coordinate_transformation_mode = b"asymmetric"
    given = [tensor for tensor in inputs if tensor is not None and tensor.numel()]
    wanted = given[-1].cpu() if given else torch.tensor(scales)
    along = [axis % x.dim() for axis in axes or range(x.dim())]
    before = torch.tensor([x.shape[axis] for axis in along])
    # Both in float32, where 10 times 0.7 are 7, as in ONNX Runtime.
    after, ratios = ((wanted * before).long(), wanted) if wanted.is_floating_point() else (wanted, wanted / before)
    if after.equal(before):
        return x
    picked: dict[int, Tensor] = {}
    for axis, size, ratio in zip(along, after.tolist(), ratios, strict=True):
        if ratio == 1:
            continue
        at = _sources(x.shape[axis], size, ratio, coordinate_transformation_mode)
        if mode == b"nearest":
            rounding = nearest_mode if opset >= 11 else b"floor" if ratio > 1 else b"ceil"
            picked[axis] = _rounded(at, rounding).clamp(0, x.shape[axis] - 1).long()
        else:
            x = _sampled(x, axis, at, mode, cubic_coeff_a)
    return _picked(x, picked) if picked else x


def _sources(n: int, size: int, ratio: Tensor, coordinates: bytes) -> Tensor:
    """Where on an axis of n pixels each of the `size` new ones lies."""
    new = torch.arange(size, dtype=torch.float32)
    if coordinates == b"asymmetric":
        return new / ratio
    if coordinates == b"align_corners":
        return new * (n - 1) / max(size - 1, 1)
    if coordinates == b"pytorch_half_pixel" and size == 1:
        return new
    if coordinates in (b"half_pixel", b"pytorch_half_pixel"):
        return (new + 0.5) / ratio - 0.5
    raise ProgramError(f"Resize with coordinate_transformation_mode {coordinates.decode(errors='replace')}")


def _rounded(at: Tensor, rounding: bytes) -> Tensor:
    match rounding:
        case b"floor":
            return at.floor()
        case b"ceil":
            return at.ceil()
        case b"round_prefer_floor":
            return (at - 0.5).ceil()
        case b"round_prefer_ceil":
            return (at + 0.5).floor()
    raise ProgramError(f"Resize with nearest_mode {rounding.decode(errors='replace')}")


def _picked(x: Tensor, picked: Mapping[int, Tensor]) -> Tensor:
    """Pixels by their numbers on some axes; where torch's own resizing picks the same, by it, several times faster."""
    is_picture = x.dim() == 4 and x.is_floating_point() and picked.keys() <= {2, 3}
    if is_picture and all(_is_torchs(x.shape[axis], numbers) for axis, numbers in picked.items()):
        return F.interpolate(x, [len(picked.get(axis, range(x.shape[axis]))) for axis in (2, 3)])
    for axis, numbers in picked.items():
        x = x.index_select(axis, numbers.to(x.device))
    return x


def _is_torchs(n: int, picked: Tensor) -> bool:
    """Whether torch picks these of n pixels, where it is to pick as many."""
    numbers = torch.arange(n, dtype=torch.float32)
    return torch.equal(F.interpolate(numbers[None, None], len(picked))[0, 0].long(), picked)


def _sampled(x: Tensor, axis: int, at: Tensor, mode: bytes, a: float) -> Tensor:
    """Numbers at places between the pixels of one axis; beyond the edge lies more of the same."""
    n = x.shape[axis]
    if mode not in (b"linear", b"cubic"):
        raise ProgramError(f"Resize with mode {mode.decode(errors='replace')}")
    first, shares = at.floor(), torch.zeros(len(at), n)
    for offset in (0, 1) if mode == b"linear" else (-1, 0, 1, 2):
        far = (at - first - offset).abs()
        share = 1 - far if mode == b"linear" else _cubic(far, a)
        shares.scatter_add_(1, (first + offset).clamp(0, n - 1).long()[:, None], share[:, None])
    return (x.movedim(axis, -1) @ shares.to(x).T).movedim(-1, axis)


def _cubic(far: Tensor, a: float) -> Tensor:
    """Keys' cubic convolution: what a pixel counts that lies so far away, up to 2 pixels."""
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    return torch.where(far <= 1, near, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a)


@operator("DepthToSpace")
def _depth_to_space(x: Tensor, blocksize: int, mode: bytes = b"DCR") -> Tensor:
    if mode == b"CRD":
        return F.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    parts = x.reshape(n, blocksize, blocksize, c // blocksize**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // blocksize**2, h * blocksize, w * blocksize)


@operator("SpaceToDepth")
def _space_to_depth(x: Tensor, blocksize: int) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


# New tensors


_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip


@operator("Cast")
def _cast(x: Tensor, to: int, **_: Any) -> Tensor:
    if to not in _TYPES:
        raise ProgramError(f"Cast to type {to}")
    return x.to(_TYPES[to])


@operator("CastLike")
def _cast_like(x: Tensor, like: Tensor, **_: Any) -> Tensor:
    return x.to(like.dtype)


@operator("ConstantOfShape")
def _constant_of_shape(shape: Tensor, value: Tensor | None = None) -> Tensor:
    filling = torch.zeros(1) if value is None else value
    return torch.broadcast_to(filling.flatten()[0], shape.tolist()).clone()


@operator("Range")
def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@operator("Trilu")
def _trilu(x: Tensor, k: Tensor | None = None, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return x.triu(diagonal) if upper else x.tril(diagonal)


# Reductions


def _reduction(reduce: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def reduced(
        x: Tensor, given: Tensor | None = None, axes: Sequence[int] | None = None, keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:  # fmt: skip
        found = _listed(given if given is not None else axes)
        if not found and noop_with_empty_axes:
            return x
        return reduce(x, found or list(range(x.dim())), bool(keepdims))

    return reduced


_pointwise(
    {
        "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keep)),
        "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keep)),
        "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keep)),
        "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keep)),
        "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keep)),
        "ReduceL2": _reduction(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
        "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
        "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keep)),
    }
)


@operator("ArgMax")
def _arg_max(x: Tensor, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if select_last_index:
        raise ProgramError("ArgMax with select_last_index")
    return x.argmax(axis, bool(keepdims))
