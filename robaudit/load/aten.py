"""The operators that a file's program may use without consent: numbers in, numbers out. Needs no torch.

Whatever is not listed here (files, processes, sockets, custom classes, random numbers) takes the person's `--trust`.
"""

_LAYERS = """
    _convolution _convolution_mode conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    convolution adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices batch_norm
    _native_batch_norm_legit_no_training native_batch_norm cudnn_batch_norm instance_norm layer_norm
    native_layer_norm group_norm native_group_norm rms_norm linalg_vector_norm norm
    frobenius_norm addmm addbmm baddbmm bmm mm mv matmul linear dot einsum outer addmv addr addcmul addcdiv lerp
    scaled_dot_product_attention _scaled_dot_product_attention_math _native_multi_head_attention
"""
"""Convolution, pooling, normalisation, linear algebra."""

_ACTIVATIONS = """
    relu relu6 elu celu selu gelu silu mish leaky_relu prelu hardtanh hardswish hardsigmoid sigmoid log_sigmoid tanh
    softplus softmax _softmax log_softmax _log_softmax glu threshold hardshrink logit
    softshrink dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout bernoulli
"""
"""Activations, and what training draws at random."""

_ARITHMETIC = """
    abs absolute neg negative positive sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal pow
    float_power sin cos tan asin acos atan atan2 sinh cosh asinh acosh atanh erf erfc ceil floor round trunc frac
    add sub subtract rsub mul multiply div divide true_divide floor_divide floordiv remainder fmod maximum minimum
    max min clamp clamp_min clamp_max clip eq ne lt le gt ge equal isnan isinf isfinite logical_and logical_or
    logical_not logical_xor bitwise_and bitwise_or bitwise_not __and__ __or__ __xor__ where masked_fill nan_to_num
    sum mean prod var std var_mean std_mean amax amin aminmax argmax argmin any all cumsum logsumexp median mode
    topk sort argsort count_nonzero cumprod logaddexp cdist cosine_similarity
"""
"""Arithmetic and comparison."""

_SHAPES = """
    view _unsafe_view view_as reshape reshape_as _reshape_alias flatten unflatten ravel squeeze unsqueeze permute
    transpose t numpy_T movedim moveaxis swapaxes swapdims expand expand_as broadcast_to repeat repeat_interleave
    tile cat concat concatenate stack hstack vstack dstack split split_with_sizes chunk unbind tensor_split select
    slice narrow index index_select index_put _unsafe_index gather scatter scatter_add take take_along_dim
    masked_select flip rot90 roll pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d
    replication_pad2d reflection_pad3d replication_pad3d pixel_shuffle pixel_unshuffle channel_shuffle unfold im2col
    col2im tril triu diagonal diag meshgrid one_hot embedding upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _upsample_bilinear2d_aa
    _upsample_bicubic2d_aa _upsample_lanczos2d_aa __interpolate grid_sampler grid_sampler_2d affine_grid_generator
    select_scatter slice_scatter as_strided alias
"""
"""Shapes and places."""

_TENSORS = """
    to _to_copy type_as contiguous clone detach detach_ lift_fresh lift_fresh_copy copy copy_ zeros ones full empty
    zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty arange linspace eye
    scalar_tensor tensor as_tensor fill fill_ zero zero_ item _local_scalar_dense
"""
"""Copies, types and new tensors."""

_VALUES = """
    size sym_size sym_numel numel dim len stride is_floating_point is_complex __getitem__
    _set_item __contains__ append extend insert pop reverse keys values items list dict __is__ __isnot__ __not__ Int
    Float Bool IntImplicit FloatImplicit ScalarImplicit ceil_ floor_ format str _assert_scalar
    _assert_tensor_metadata _assert_async sym_constrain_range_for_size sym_constrain_range
"""
"""Sizes, lists, dictionaries and text of the program itself."""

PURE_OPERATORS = frozenset(" ".join((_LAYERS, _ACTIVATIONS, _ARITHMETIC, _SHAPES, _TENSORS, _VALUES)).split())

INERT_OPERATORS = frozenset({"warn", "is_autocast_enabled", "is_grad_enabled"})
"""Of TorchScript: what its libraries ask of the process that runs them, and is answered here without asking."""

PURE_PRIMITIVES = frozenset(
    [
        "NumToTensor",
        "RaiseException",
        "device",
        "dtype",
        "layout",
        "min",
        "max",
        "data",
        "is_cuda",
        "shape",
        "unchecked_cast",
        "isinstance",
        "tolist",
        "type",
        "abs",
        "itemsize",
        "ndim",
        "requires_grad",
        "is_nested",
    ]
)
"""Of TorchScript, under `ops.prim`."""


def is_pure(operator: str) -> bool:
    """Whether an aten operator, in place or not, computes and does nothing else."""
    return operator in PURE_OPERATORS or operator.removesuffix("_") in PURE_OPERATORS
