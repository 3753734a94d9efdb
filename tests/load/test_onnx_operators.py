"""Every ONNX operator against the reference implementation of the onnx package, which is NumPy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robaudit.errors import ModelError
from robaudit.load.kinds import ProgramError
from robaudit.load.onnx_operators import OPERATORS

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from robaudit.load.onnx_graph import read_onnx  # noqa: E402

DICE = np.random.default_rng(0)
SHAPE = (2, 4, 6, 6)
MASK = np.array([[True, False, True, True, False, True]])


def f(*shape: int) -> np.ndarray:
    return DICE.normal(size=shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


Case = tuple[str, Sequence[np.ndarray | None], dict[str, Any]]

CASES: list[Case] = [
    *((name, [], {}) for name in (
        "Abs", "Neg", "Exp", "Erf", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Tanh", "Sigmoid", "Relu",
        "Softsign",
        "Softplus", "HardSwish", "Identity", "Selu", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Shape", "Size",
        "Reciprocal", "IsNaN", "LeakyRelu", "Elu", "HardSigmoid", "Mish", "Gelu", "Dropout", "Transpose", "Squeeze",
    )),
    ("Add", [f(1, 4, 1, 1)], {}),
    ("Sub", [f(6)], {}),
    ("Mul", [f(6, 6)], {}),
    ("Div", [f(6) + 3], {}),
    ("Pow", [np.array(2.0, np.float32)], {}),
    ("Max", [f(6), f(6, 6)], {}),
    ("Min", [f(6), f(6, 6)], {}),
    ("Sum", [f(6), f(6, 6)], {}),
    ("Mean", [f(6), f(6, 6)], {}),
    ("Mod", [f(6)], {"fmod": 1}),
    ("Equal", [f(6)], {}),
    ("Greater", [f(6)], {}),
    ("Less", [f(6)], {}),
    ("GreaterOrEqual", [f(6)], {}),
    ("LessOrEqual", [f(6)], {}),
    ("MatMul", [f(6, 3)], {}),
    ("Clip", [np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", [None, np.float32(0.5)], {}),
    ("PRelu", [f(4, 1, 1)], {}),
    ("Elu", [], {"alpha": 0.5}),
    ("Gelu", [], {"approximate": "tanh"}),
    ("Softmax", [], {"axis": 1}),
    ("LogSoftmax", [], {"axis": -1}),
    ("Einsum", [f(2, 4, 6, 3)], {"equation": "bchw,bchk->bcwk"}),
    ("Conv", [f(8, 4, 3, 3), f(8)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", [f(8, 2, 3, 3)], {"group": 2, "dilations": [2, 2], "pads": [0, 1, 2, 3]}),
    ("Conv", [f(8, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", [f(8, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}),
    ("ConvTranspose", [f(4, 3, 2, 2), f(3)], {"strides": [2, 2]}),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
    ("BatchNormalization", [f(4), f(4), f(4), np.abs(f(4)) + 0.5], {"epsilon": 1e-3}),
    ("InstanceNormalization", [f(4), f(4)], {}),
    ("LayerNormalization", [f(6, 6), f(6, 6)], {"axis": 2}),
    ("GroupNormalization", [f(4), f(4)], {"num_groups": 2}),
    ("Reshape", [i(2, 0, -1)], {}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Unsqueeze", [i(0, -1)], {}),
    ("Concat", [f(2, 1, 6, 6)], {"axis": 1}),
    ("Slice", [i(1, 0), i(3, -1), i(1, 3), i(1, 2)], {}),
    ("Slice", [i(-1), i(-(2**40)), i(2), i(-1)], {}),
    ("Gather", [i(0, -1)], {"axis": 1}),
    ("Gather", [np.array(2)], {"axis": -1}),
    ("GatherElements", [DICE.integers(-4, 4, (2, 4, 6, 6))], {"axis": 1}),
    ("GatherND", [np.array([[[0, -1]], [[1, 2]]])], {}),
    ("ScatterND", [np.array([[0, 1], [1, -1]]), f(2, 6, 6)], {}),
    ("ScatterND", [np.array([[0, 1], [1, 2]]), f(2, 6, 6)], {"reduction": "add"}),
    ("Expand", [i(3, 1, 1, 1, 6)], {}),
    ("Tile", [i(1, 2, 1, 1)], {}),
    ("Pad", [i(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0.5)], {}),
    ("Pad", [i(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "reflect"}),
    ("Pad", [i(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "edge"}),
    ("Pad", [i(1, 2), None, i(2)], {}),
    ("Resize", [None, np.array([1, 1, 2, 2], np.float32)],
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("Resize", [None, None, i(2, 4, 9, 11)], {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
    ("Resize", [None, None, i(2, 4, 9, 11)], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ("Resize", [None, None, i(2, 4, 12, 12)],
     {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.75}),
    ("DepthToSpace", [], {"blocksize": 2}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [], {"blocksize": 2}),
    ("Cast", [], {"to": TensorProto.INT64}),
    ("Trilu", [], {}),
    ("Trilu", [np.array(1)], {"upper": 0}),
    ("CastLike", [i(1)], {}),
    *((name, [i(2, 3)], {}) for name in (
        "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
        "ReduceLogSumExp",
    )),
    ("ReduceMean", [i(-1)], {"keepdims": 0}),
    ("ReduceSum", [], {}),
    ("ArgMax", [], {"axis": 1}),
]  # fmt: skip

# Operators whose input is no picture, as a node behind one that makes it.
BEHIND: dict[str, tuple[list[Any], Case]] = {
    "Not": ([helper.make_node("Greater", ["x", "zero"], ["m"])], ("Not", [], {})),
    "And": ([helper.make_node("Greater", ["x", "zero"], ["m"])], ("And", [MASK], {})),
    "Or": ([helper.make_node("Greater", ["x", "zero"], ["m"])], ("Or", [MASK], {})),
    "Xor": ([helper.make_node("Greater", ["x", "zero"], ["m"])], ("Xor", [MASK], {})),
    "Where": ([helper.make_node("Greater", ["x", "zero"], ["m"])], ("Where", [f(6), f(1)], {})),
    "ConstantOfShape": (
        [helper.make_node("Shape", ["x"], ["m"])],
        ("ConstantOfShape", [], {"value": numpy_helper.from_array(np.array([2.5], np.float32))}),
    ),
    "Gemm": (
        [helper.make_node("Flatten", ["x"], ["m"])],
        ("Gemm", [f(3, 144), f(3)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ),
    "Log": ([helper.make_node("Exp", ["x"], ["m"])], ("Log", [], {})),
    "Sqrt": ([helper.make_node("Exp", ["x"], ["m"])], ("Sqrt", [], {})),
    "Range": (
        [helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0)],
        ("Range", [np.float32(9), np.float32(0.75)], {}),
    ),
}


def write(
    path: Path, nodes: list[Any], constants: dict[str, np.ndarray], outputs: Sequence[str] = ("y",), opset: int = 21
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def node(case: Case, first: str = "x", outputs: Sequence[str] = ("y",)) -> tuple[Any, dict[str, np.ndarray]]:
    name, inputs, attributes = case
    constants = {f"c{index}": np.asarray(value) for index, value in enumerate(inputs) if value is not None}
    names = [first, *(f"c{index}" if value is not None else "" for index, value in enumerate(inputs))]
    return helper.make_node(name, names, list(outputs), **attributes), constants


def compare(path: Path, n_outputs: int = 1) -> None:
    picture = DICE.normal(size=SHAPE).astype(np.float32)
    wanted = ReferenceEvaluator(str(path)).run(None, {"x": picture})
    network, shape, _ = read_onnx(path)
    assert shape == SHAPE
    with torch.no_grad():
        found = network(torch.from_numpy(picture))
    found = list(found.values()) if n_outputs > 1 else [found]
    assert len(found) == len(wanted) == n_outputs
    for one, other in zip(found, wanted, strict=True):
        assert tuple(one.shape) == other.shape
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_an_operator(tmp_path: Path, case: Case) -> None:
    if case[0] == "Squeeze":
        case = ("ReduceMean", [i(2, 3)], {})
    made, constants = node(case)
    compare(write(tmp_path / "m.onnx", [made], constants))


@pytest.mark.parametrize("name", BEHIND)
def test_an_operator_behind_another(tmp_path: Path, name: str) -> None:
    before, case = BEHIND[name]
    made, constants = node(case, "m")
    compare(write(tmp_path / "m.onnx", [*before, made], {**constants, "zero": np.zeros(1, np.float32)}))


def pads(*amounts: int) -> dict[str, Any]:
    return {"pads": [0, 0, *amounts[:2], 0, 0, *amounts[2:]]}


def scales(*numbers: float) -> np.ndarray:
    return np.array([1, 1, *numbers], np.float32)


AT_OPSETS: list[tuple[int, Case]] = [
    *((opset, (name, [], attributes))
      for opset in (7, 9, 11, 12, 13)
      for name in ("Softmax", "LogSoftmax")
      for attributes in ({}, {"axis": 1}, {"axis": 2}, {"axis": 3})),
    (9, ("ReduceSum", [], {"axes": [2, 3], "keepdims": 0})),
    (9, ("ReduceMean", [], {"axes": [-1]})),
    (9, ("Unsqueeze", [], {"axes": [0, 5]})),
    (9, ("Split", [], {"axis": 1, "split": [1, 3]})),
    (9, ("Slice", [], {"starts": [1, 0], "ends": [3, -1], "axes": [1, 3]})),
    (9, ("Clip", [], {"min": -0.5, "max": 0.5})),
    (9, ("Pad", [], {**pads(1, 2, 0, 1), "value": 0.5})),
    (9, ("Pad", [], {**pads(1, 2, 0, 1), "mode": "reflect"})),
    (9, ("BatchNormalization", [f(4), f(4), f(4), np.abs(f(4)) + 0.5], {})),
    (9, ("Dropout", [], {})),
    (9, ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]})),
    (9, ("DepthToSpace", [], {"blocksize": 2})),
    (11, ("Flatten", [], {"axis": -1})),
    (11, ("ReduceSum", [], {"axes": [-1]})),
    (11, ("Clip", [np.float32(-0.5), np.float32(0.5)], {})),
    (11, ("Pad", [i(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0.5)], {})),
    (11, ("Slice", [i(1, 0), i(3, -1), i(1, 3), i(1, 2)], {})),
    (11, ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})),
    (13, ("Dropout", [np.float32(0.5), np.array(False)], {})),
    (13, ("ReduceSum", [i(2, 3)], {})),
    (13, ("Unsqueeze", [i(0, 5)], {})),
    (13, ("Split", [i(1, 3)], {"axis": 1})),
]  # fmt: skip
"""Operators that changed from one opset to another, with the opset."""


def compare_with_runtime(path: Path, opset: int, case: Case) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made, constants = node(case, outputs=("y", "z") if case[0] == "Split" else ("y",))
    write(path, [made], constants, opset=opset)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    picture = f(*SHAPE)
    with torch.no_grad():
        found = read_onnx(path)[0](torch.from_numpy(picture))
    [wanted] = session.run(None, {"x": picture})
    assert tuple(found.shape) == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "case"), AT_OPSETS, ids=lambda part: part if isinstance(part, int) else part[0])
def test_an_operator_means_what_it_did_at_the_opset_of_the_file(tmp_path: Path, opset: int, case: Case) -> None:
    compare_with_runtime(tmp_path / "m.onnx", opset, case)


RESIZED: list[tuple[int, Case]] = [
    *((9, ("Upsample", [scales(1.6, 2)], {"mode": mode})) for mode in ("nearest", "linear")),
    (7, ("Upsample", [], {"mode": "linear", "scales": [1.0, 1.0, 2.0, 3.0]})),
    *((10, ("Resize", [scales(*numbers)], {"mode": mode}))
      for mode in ("nearest", "linear")
      for numbers in ((2, 2), (1.6, 0.7), (1.05, 1.05))),
    *((11, ("Resize", [f(0), scales(*numbers)], {"mode": mode}))
      for mode in ("nearest", "linear", "cubic")
      for numbers in ((2, 2), (1.6, 0.7))),
    *((19, ("Resize", [None, *how], {"mode": mode, "coordinate_transformation_mode": places}))
      for mode in ("nearest", "linear", "cubic")
      for places in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
      for how in ([scales(1.6, 0.7)], [None, i(2, 4, 9, 4)], [None, i(2, 4, 1, 11)])),
    *((19, ("Resize", [None, None, i(2, 4, 9, 4)], {"nearest_mode": mode}))
      for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    (19, ("Resize", [None, None, i(11, 4)], {"mode": "linear", "axes": [3, 2]})),
    (19, ("Resize", [None, np.array([1.6], np.float32)], {"mode": "linear", "axes": [-1]})),
    (19, ("Resize", [None, scales(1.7 / 6, 0.7)], {"mode": "cubic", "cubic_coeff_a": -0.5})),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "case"), RESIZED, ids=str)
def test_pictures_are_resized_as_another_runtime_does(tmp_path: Path, opset: int, case: Case) -> None:
    compare_with_runtime(tmp_path / "m.onnx", opset, case)


def test_pixels_are_repeated_as_another_runtime_does_and_lie_in_memory_as_they_did(tmp_path: Path) -> None:
    """By torch where it picks the same pixels, which its gradients are several times faster for; never otherwise."""
    onnxruntime = pytest.importorskip("onnxruntime")
    picture = f(*SHAPE)
    lying = torch.from_numpy(picture).to(memory_format=torch.channels_last)
    kept = {}
    for places in ("half_pixel", "asymmetric", "align_corners"):
        for nearest in ("round_prefer_floor", "floor", "ceil"):
            for rows, columns in ((2, 2), (3, 5), (1, 49), (41, 1), (1.6, 2.5), (0.5, 0.3)):
                how = {"mode": "nearest", "coordinate_transformation_mode": places, "nearest_mode": nearest}
                made, constants = node(("Resize", [None, scales(rows, columns)], how))
                path = write(tmp_path / "m.onnx", [made], constants)
                session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
                found = read_onnx(path)[0](lying)
                np.testing.assert_array_equal(found.numpy(), session.run(None, {"x": picture})[0])
                kept[places, nearest, rows] = found.is_contiguous(memory_format=torch.channels_last)
    assert kept["half_pixel", "round_prefer_floor", 2]
    assert kept["asymmetric", "floor", 3]


@pytest.mark.parametrize("n", [10, 20, 30])
def test_sizes_are_rounded_down_in_float32(tmp_path: Path, n: int) -> None:
    """As float64, 10 times the float32 0.7 are 6.9999998."""
    made, constants = node(("Resize", [None, scales(1, 0.7)], {"mode": "linear"}))
    network, _, _ = read_onnx(write(tmp_path / "m.onnx", [made], constants))
    assert network(torch.rand(1, 2, 3, n)).shape[3] == n * 7 // 10


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"mode": "linear", "antialias": 1}, "antialias"),
        ({"mode": "cubic", "exclude_outside": 1}, "exclude_outside"),
        ({"mode": "linear", "keep_aspect_ratio_policy": "not_larger"}, "keep_aspect_ratio_policy"),
        ({"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}, "half_pixel_symmetric"),
    ],
)
def test_a_form_of_resize_that_is_not_computed_is_named(tmp_path: Path, attributes: dict[str, Any], named: str) -> None:
    made, constants = node(("Resize", [None, None, i(2, 4, 9, 4)], attributes))
    network, _, _ = read_onnx(write(tmp_path / "m.onnx", [made], constants))
    with pytest.raises(ProgramError, match=named):
        network(torch.rand(SHAPE))


@pytest.mark.parametrize(
    ("opset", "case", "named", "outputs"),
    [
        (13, ("Dropout", [np.float32(0.5), np.array(True)], {}), "Dropout in training mode", 1),
        (13, ("BatchNormalization", [f(4)] * 4, {}), "BatchNormalization in training mode", 5),
        (15, ("BatchNormalization", [f(4)] * 4, {"training_mode": 1}), "BatchNormalization in training mode", 3),
        (8, ("BatchNormalization", [f(4, 6, 6)] * 4, {"spatial": 0}), "statistics of every pixel", 1),
        (12, ("ArgMax", [], {"select_last_index": 1}), "ArgMax with select_last_index", 1),
        (19, ("Pad", [i(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "wrap"}), "Pad with mode wrap", 1),
        (11, ("ConvTranspose", [f(4, 3, 2, 2)], {"output_shape": [9, 9]}), "output_shape", 1),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else None,
)
def test_a_form_that_is_not_computed_is_named(tmp_path: Path, opset: int, case: Case, named: str, outputs: int) -> None:
    made, constants = node(case, outputs=[f"y{index}" for index in range(outputs)])
    network, _, _ = read_onnx(write(tmp_path / "m.onnx", [made], constants, ("y0",), opset))
    with pytest.raises(ProgramError, match=named):
        network(torch.rand(SHAPE))


def write_taking(path: Path, kind: Any, nodes: list[Any], weight: np.ndarray) -> Path:
    """A graph that takes numbers of another kind, and weighs columns."""
    write(path, [*nodes, helper.make_node("MatMul", ["h", "w"], ["y"])], {"w": weight}, opset=13)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = kind
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64)])
def test_half_and_double_precision_are_computed_in_float32(tmp_path: Path, kind: Any, dtype: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    constant = numpy_helper.from_array(np.array(0.75, dtype))
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["g"], to=kind),
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("Mul", ["g", "c"], ["h"]),
    ]
    path = write_taking(tmp_path / "m.onnx", kind, nodes, f(6, 3).astype(dtype))
    picture = f(*SHAPE).astype(np.float16)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [wanted] = session.run(None, {"x": picture.astype(dtype)})
    network, _, _ = read_onnx(path)
    found = network(torch.from_numpy(picture).float())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-2 if dtype == np.float16 else 1e-5)


@pytest.mark.parametrize(
    ("kind", "named"), [(TensorProto.UINT8, "uint8"), (TensorProto.INT64, "int64"), (TensorProto.BFLOAT16, "bfloat16")]
)
def test_an_input_of_another_kind_is_refused(tmp_path: Path, kind: Any, named: str) -> None:
    """float32 would be given to what divides by 255."""
    path = write_taking(
        tmp_path / "m.onnx", kind, [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT)], f(6, 3)
    )
    with pytest.raises(ProgramError, match=f"its input is {named}, wanted float32"):
        read_onnx(path)


def test_whole_numbers_stay_whole_within_limits(tmp_path: Path) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["n"]), helper.make_node("Clip", ["n", "low"], ["c"])]
    nodes += [helper.make_node("ConstantOfShape", ["c"], ["y"])]
    compare(write(tmp_path / "m.onnx", nodes, {"low": np.array(3)}))


def test_opsets_of_another_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="opset 6, wanted 7 or later"):
        read_onnx(write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, opset=6))


def test_squeeze_and_split(tmp_path: Path) -> None:
    split, constants = node(("Split", [i(1, 3)], {"axis": 1}), outputs=("a", "b"))
    squeeze = helper.make_node("Squeeze", ["a", "one"], ["c"])
    compare(write(tmp_path / "m.onnx", [split, squeeze], {**constants, "one": i(1)}, ("b", "c")), 2)


def test_a_split_into_fewer_parts_than_it_names_is_told(tmp_path: Path) -> None:
    split = helper.make_node("Split", ["x"], ["a", "b", "c", "d"], axis=1, num_outputs=4)
    network, _, _ = read_onnx(write(tmp_path / "m.onnx", [split], {}, ("d",), opset=18))
    with pytest.raises(ProgramError, match="Split of 9 into 4"):
        network(torch.zeros(1, 9, 2, 2))


def test_a_shape_without_dimensions(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=1),
        helper.make_node("Reshape", ["s", "none"], ["r"]),
        helper.make_node("ConstantOfShape", ["none"], ["c"]),
        helper.make_node("Shape", ["x"], ["n"]),
        helper.make_node("Gather", ["n", "first"], ["g"]),
        helper.make_node("Cast", ["g"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["r", "c", "f"], ["y"]),
    ]
    compare(write(tmp_path / "m.onnx", nodes, {"none": np.zeros(0, np.int64), "first": np.array(1)}))


def test_local_response_normalisation_by_its_formula(tmp_path: Path) -> None:
    """The reference of onnx 1.23 clips the channels at the size of the batch."""
    made, constants = node(("LRN", [], {"size": 3, "alpha": 0.3, "beta": 0.5, "bias": 2.0}))
    network, _, _ = read_onnx(write(tmp_path / "m.onnx", [made], constants))
    x = f(*SHAPE)
    squares = np.pad(x**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    around = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    found = network(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, x / np.sqrt(2.0 + 0.3 / 3 * around), rtol=1e-5)


def test_every_operator_is_compared_here() -> None:
    here = {name for name, _, _ in CASES} | set(BEHIND) | {"Split", "Squeeze", "Upsample", "LRN"}
    assert OPERATORS.keys() - here == set()


def test_gradients_flow_to_the_picture_and_to_the_weights(tmp_path: Path) -> None:
    made, constants = node(("Conv", [f(8, 4, 3, 3), f(8)], {}))
    network, _, _ = read_onnx(write(tmp_path / "m.onnx", [made], constants))
    picture = torch.rand(SHAPE, requires_grad=True)
    network(picture).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert [tuple(weight.shape) for weight in network.parameters()] == [(8, 4, 3, 3), (8,)]


def test_operators_that_are_not_computed_are_named(tmp_path: Path) -> None:
    made = [helper.make_node("QLinearConv", ["x"] * 8, ["y"]), helper.make_node("Mystery", ["x"], ["z"], domain="me")]
    with pytest.raises(ProgramError, match=r"robaudit computes no QLinearConv, me\.Mystery"):
        read_onnx(write(tmp_path / "m.onnx", made, {}))


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ModelError, match=r"pip install 'robaudit\[onnx\]'"):
        read_onnx(tmp_path / "m.onnx")
