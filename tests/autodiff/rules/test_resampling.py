"""Resize against its own forward: the gradient is the transposed Jacobian, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain import UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.checker import session


@dataclass(frozen=True)
class Resize:
    """A Resize of [N, *shape] by scales, or to sizes, one per axis of ``axes`` (default every axis but N)."""

    shape: tuple[int, ...]
    attributes: Mapping[str, Any]
    scales: Sequence[float] | None = None
    sizes: Sequence[int] | None = None
    roi: Sequence[float] | None = None
    axes: tuple[int, ...] | None = None
    runtime: bool = False  # scales, sizes and roi are inputs of the graph
    symbolic: bool = False  # so are the extents
    opset: int = 19

    def model(self) -> onnx.ModelProto:
        rank = len(self.shape) + 1
        given: dict[str, np.ndarray] = {}
        if self.roi is not None:
            roi, half = list(self.roi), len(self.roi) // 2
            full = roi if self.axes else [0, *roi[:half], 1, *roi[half:]]
            given["roi"] = np.array(full, dtype=np.float32)
        if self.scales is not None:
            given["scales"] = np.array(self.scales if self.axes else [1, *self.scales], dtype=np.float32)
        dims = [f"d{i}" if self.symbolic else d for i, d in enumerate(self.shape)]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *dims])]
        nodes = []
        if self.sizes is not None:
            given["sizes"] = np.array(self.sizes, dtype=np.int64)
            if not self.axes:  # the batch stays what it is
                nodes.append(helper.make_node("Shape", ["x"], ["n"], start=0, end=1))
                nodes.append(helper.make_node("Concat", ["n", "sizes"], ["all_sizes"], axis=0))
        names = [name if name in given else "" for name in ("roi", "scales", "sizes")]
        names[2] = "all_sizes" if len(nodes) else names[2]
        axes = {"axes": self.axes} if self.axes else {}
        nodes.append(helper.make_node("Resize", ["x", *names], ["y"], name="node", **self.attributes, **axes))
        initializers = []
        for name, array in given.items():
            if self.runtime:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
            else:
                initializers.append(numpy_helper.from_array(array, name))
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
        graph = helper.make_graph(nodes, "resize", inputs, [output], initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def feeds(self) -> dict[str, np.ndarray]:
        if not self.runtime:
            return {}
        everything = Resize(**{**self.__dict__, "runtime": False}).model()
        return {t.name: numpy_helper.to_array(t) for t in everything.graph.initializer}


def check(case: Resize) -> onnx.ModelProto:
    """The gradient of a random cotangent equals cotangent times Jacobian, for every element."""
    model, feeds = case.model(), case.feeds()
    count = int(np.prod(case.shape))
    forward = session(model)
    basis = np.eye(count, dtype=np.float32).reshape(count, *case.shape)
    columns = forward.run(None, {"x": basis, **feeds})[0]
    columns = columns - forward.run(None, {"x": np.zeros_like(basis), **feeds})[0]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *case.shape)).astype(np.float32)
    cotangent = rng.standard_normal((2, *columns.shape[1:])).astype(np.float32)
    differentiated = differentiate(model, wrt="x", target="cotangent")
    found = session(differentiated).run(["grad_x"], {"x": x, "cotangent": cotangent, **feeds})[0]
    expected = cotangent.reshape(2, -1).astype(np.float64) @ columns.reshape(count, -1).T.astype(np.float64)
    np.testing.assert_allclose(found, expected.reshape(x.shape), atol=3e-5, rtol=1e-5)
    return differentiated


NEAREST = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}  # as torch exports it
COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
MODES: list[dict[str, Any]] = [
    *({"mode": "nearest", "nearest_mode": m} for m in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    {"mode": "linear"},
    {"mode": "linear", "antialias": 1},
    {"mode": "linear", "antialias": 1, "exclude_outside": 1},
    {"mode": "cubic"},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    {"mode": "cubic", "antialias": 1},
    {"mode": "cubic", "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5},
]
SCALES = [(1, 2, 2), (1, 3, 1), (1, 0.6, 1.7), (1, 0.5, 0.5), (1, 2.4, 0.37)]
SIZES = [(2, 8, 14), (2, 4, 5), (2, 1, 7), (2, 3, 21)]
SHAPE = (2, 4, 7)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
def test_scales_and_sizes(mode: dict[str, Any], coordinates: str) -> None:
    attributes = {**mode, "coordinate_transformation_mode": coordinates}
    for index, scales in enumerate(SCALES):
        check(Resize(SHAPE, attributes, scales=scales, symbolic=index % 2 == 0))
    for index, sizes in enumerate(SIZES):
        check(Resize(SHAPE, attributes, sizes=sizes, symbolic=index % 2 == 0))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
def test_crop_and_resize(mode: dict[str, Any]) -> None:
    """Values outside the region are a constant, whose gradient is zero; an axis of scale 1 is not cropped."""
    attributes = {**mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0}
    roi = (0, 0.1, -0.1, 1, 0.7, 1.2)
    for runtime in (False, True):
        check(Resize(SHAPE, attributes, sizes=(2, 5, 9), roi=roi, runtime=runtime))
        check(Resize(SHAPE, attributes, scales=(1, 1, 2), roi=roi, runtime=runtime))
    check(Resize(SHAPE, attributes, scales=(1, 1, 1), roi=roi))


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", [MODES[0], MODES[2], MODES[4], MODES[8]], ids=lambda mode: str(list(mode.values())))
def test_at_run_time(mode: dict[str, Any], coordinates: str) -> None:
    attributes = {**mode, "coordinate_transformation_mode": coordinates}
    for symbolic in (False, True):
        for scales in (SCALES[0], SCALES[2]):
            check(Resize(SHAPE, attributes, scales=scales, runtime=True, symbolic=symbolic))
        for sizes in SIZES[:2]:
            check(Resize(SHAPE, attributes, sizes=sizes, runtime=True, symbolic=symbolic))


@pytest.mark.parametrize(
    ("shape", "scales"),
    [((5,), (1.7,)), ((2, 5), (1, 2)), ((2, 5), (1, 0.6)), ((2, 3, 4, 3), (1, 2, 1, 3)), ((4, 5, 2), (2, 3, 1))],
)
def test_ranks_and_layouts(shape: tuple[int, ...], scales: tuple[float, ...]) -> None:
    """[N,W], [N,C,W], [N,C,D,H,W] and channels last."""
    for mode in ({"mode": "nearest", "nearest_mode": "floor"}, {"mode": "linear"}):
        for coordinates in ("asymmetric", "half_pixel"):
            check(Resize(shape, {**mode, "coordinate_transformation_mode": coordinates}, scales=scales, symbolic=True))


@pytest.mark.parametrize("axes", [(2, 3), (3, 2), (-1, 2), (3,), (-2,)])
def test_axes(axes: tuple[int, ...]) -> None:
    for mode in ("nearest", "linear", "cubic"):
        scales, sizes = (2.4, 0.6)[: len(axes)], (9, 5)[: len(axes)]
        check(Resize(SHAPE, {"mode": mode}, scales=scales, axes=axes))
        check(Resize(SHAPE, {"mode": mode}, sizes=sizes, axes=axes, symbolic=True))
        roi = (0.1, 0.2, 0.8, 0.9) if len(axes) == 2 else (0.2, 0.9)
        crop = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize"}
        check(Resize(SHAPE, crop, sizes=sizes, axes=axes, roi=roi))


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", [MODES[0], *MODES[4:6], *MODES[7:10]], ids=lambda mode: str(list(mode.values())))
def test_aspect_ratio(mode: dict[str, Any], policy: str) -> None:
    for coordinates in COORDINATES:
        attributes = {**mode, "keep_aspect_ratio_policy": policy, "coordinate_transformation_mode": coordinates}
        for sizes in ((7, 8), (3, 11), (4, 7), (8, 14)):
            check(Resize(SHAPE, attributes, sizes=sizes, axes=(2, 3)))


def test_aspect_ratio_at_run_time_is_refused() -> None:
    attributes = {"keep_aspect_ratio_policy": "not_larger"}
    for given in ({"symbolic": True}, {"runtime": True}):
        case = Resize(SHAPE, attributes, sizes=(7, 8), axes=(2, 3), **given)
        with pytest.raises(UnsupportedOperatorError, match=r"node 'node'.*keep_aspect_ratio_policy.*not_larger"):
            differentiate(case.model(), wrt="x", target="cotangent")


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node if node.name.startswith("grad/")}


def test_whole_factors_take_the_short_way() -> None:
    """As torch and TensorFlow export nearest: no matrices, whatever the height and width."""
    for coordinates, rounding, scales in (
        ("asymmetric", "floor", (1, 2, 2)),
        ("asymmetric", "floor", (1, 3, 1)),
        ("asymmetric", "round_prefer_floor", (1, 2, 2)),
        ("half_pixel", "round_prefer_floor", (1, 3, 3)),
        ("half_pixel", "round_prefer_ceil", (1, 4, 2)),
    ):
        attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        after = check(Resize(SHAPE, attributes, scales=scales, symbolic=True))
        assert operators(after) == {"AveragePool", "Mul"}
        sizes = [scale * extent for scale, extent in zip(scales, SHAPE)]
        assert operators(check(Resize(SHAPE, attributes, sizes=sizes))) == {"AveragePool", "Mul"}


def test_only_axes_that_change_are_multiplied() -> None:
    after = check(Resize(SHAPE, {"mode": "linear"}, scales=(1, 2, 1), symbolic=True))
    assert [node.op_type for node in after.graph.node].count("MatMul") == 1
    same = Resize(SHAPE, {"mode": "linear"}, sizes=SHAPE)
    assert "MatMul" not in operators(check(same))


def test_scales_joined_at_run_time() -> None:
    """Scales of height and width as old exporters compute them, beside the constant ones of batch and channels."""
    nodes = [
        helper.make_node("Concat", ["ones", "hw"], ["scales"], axis=0),
        helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "joined",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", "H", "W"]),
            helper.make_tensor_value_info("hw", TensorProto.FLOAT, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.ones(2, dtype=np.float32), "ones")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    after = differentiate(model, wrt="x", target="cotangent")
    assert [node.op_type for node in after.graph.node].count("MatMul") == 2
    feeds = {"x": np.ones((2, 3, 4, 5), dtype=np.float32), "hw": np.array([2, 0.5], dtype=np.float32)}
    cotangent = np.ones((2, 3, 8, 2), dtype=np.float32)
    gradient = session(after).run(["grad_x"], {**feeds, "cotangent": cotangent})[0]
    assert gradient.shape == feeds["x"].shape
    np.testing.assert_allclose(gradient.sum(), cotangent.sum(), rtol=1e-6)


def test_sizes_computed_from_the_input() -> None:
    """Twice the height and width, as exporters write it for symbolic extents: still no matrices."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "factors"], ["sizes"]),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], name="node", **NEAREST),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", "H", "W"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    factors = numpy_helper.from_array(np.array([1, 1, 2, 3]), "factors")
    graph = helper.make_graph(nodes, "sized", [x], [y], [factors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    after = differentiate(model, wrt="x", target="cotangent")
    assert operators(after) == {"AveragePool", "Mul"}
    cotangent = np.random.default_rng(0).standard_normal((2, 3, 8, 15)).astype(np.float32)
    feeds = {"x": np.zeros((2, 3, 4, 5), dtype=np.float32), "cotangent": cotangent}
    expected = cotangent.reshape(2, 3, 4, 2, 5, 3).sum((3, 5))
    np.testing.assert_allclose(session(after).run(["grad_x"], feeds)[0], expected, atol=1e-5)


@pytest.mark.parametrize("attributes", [NEAREST, {"mode": "linear"}], ids=["nearest", "linear"])
def test_the_gradient_of_the_gradient_is_the_forward(attributes: dict[str, Any]) -> None:
    """grad_x is linear in the cotangent; its transpose is Resize itself."""
    case = Resize(SHAPE, attributes, scales=(1, 2, 2), symbolic=True)
    once = differentiate(case.model(), wrt="x", target="cotangent")
    twice = differentiate(once, tensor="grad_x", wrt="cotangent", target="cotangent")
    rng = np.random.default_rng(0)
    x, v = (rng.standard_normal((2, *SHAPE)).astype(np.float32) for _ in range(2))
    names = [value.name for value in twice.graph.input if value.name not in ("x", "cotangent")]
    feeds = {"x": x, names[0]: v, "cotangent": np.zeros((2, 2, 8, 14), dtype=np.float32)}
    runner = session(twice)
    feeds = {value.name: feeds[value.name] for value in runner.get_inputs()}
    found = runner.run([twice.graph.output[-1].name], feeds)[0]
    np.testing.assert_allclose(found, session(case.model()).run(None, {"x": v})[0], atol=1e-5)


@pytest.mark.parametrize(
    "attributes", [NEAREST, {"mode": "linear"}, {"mode": "cubic"}], ids=["nearest", "linear", "cubic"]
)
def test_float16(attributes: dict[str, Any]) -> None:
    case = Resize(SHAPE, attributes, scales=(1, 2, 1.7) if len(attributes) == 1 else (1, 2, 2))
    model = case.model()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, *SHAPE)).astype(np.float16)
    y = session(model).run(None, {"x": x.astype(np.float32)})[0]
    cotangent = rng.standard_normal(y.shape).astype(np.float16)
    full = {"x": x.astype(np.float32), "cotangent": cotangent.astype(np.float32)}
    expected = session(differentiate(model, wrt="x", target="cotangent")).run(["grad_x"], full)[0]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    half = session(differentiate(model, wrt="x", target="cotangent"))
    found = half.run(["grad_x"], {"x": x, "cotangent": cotangent})[0]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_the_batch_keeps_its_name() -> None:
    """A feature pyramid adds what was resized to what was not: nothing is left to be decided at run time."""
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["up"], name="node", **NEAREST),
        helper.make_node("Add", ["up", "lateral"], ["y"]),
    ]
    for small, large in (((4, 5), (8, 10)), (("H", "W"), ("2*H", "2*W"))):
        graph = helper.make_graph(
            nodes,
            "pyramid",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, *small]),
                helper.make_tensor_value_info("lateral", TensorProto.FLOAT, ["N", 3, *large]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
            [scales],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        assert operators(differentiate(model, target="cotangent")) - {"Identity"} == {"AveragePool", "Mul"}


@pytest.mark.parametrize(("mode", "transformation", "wanted"), [
    ("linear", "tf_crop_and_resize", "roi"),
    ("cubic", "half_pixel", "scales"),
])  # fmt: skip
def test_gradients_of_regions_and_scales_are_refused(mode: str, transformation: str, wanted: str) -> None:
    node = helper.make_node(
        "Resize", ["x", "roi", "scales"], ["y"], mode=mode, coordinate_transformation_mode=transformation
    )
    values = [("x", ["N", 4]), ("roi", [4]), ("scales", [2])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", "K"])
    model = helper.make_model(helper.make_graph([node], "g", inputs, [output]), ir_version=9)
    model.opset_import[0].version = 19
    with pytest.raises(UnsupportedOperatorError, match=f"gradient of input = '{wanted}'"):
        differentiate(model, wrt=wanted, target="cotangent")
