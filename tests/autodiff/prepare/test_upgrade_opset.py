"""Old models and what the upgrade makes of them return the same in ONNX Runtime, bit by bit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from onnxplain import ModelError, UnsupportedOperatorError
from onnxplain.autodiff import differentiate
from onnxplain.autodiff.prepare.name_everything import name_everything
from onnxplain.autodiff.prepare.opset_adapters import ADAPTERS
from onnxplain.autodiff.prepare.upgrade_opset import UNCHANGED, upgrade_opset

from support.checker import session
from support.graphs import FLOAT, build, run
from support.upgrade_cases import BATCH, BATCH_ELEMENT, CASES, CASES_UNCHANGED, RNG, Old, f32, x

ZOO = os.environ.get("ONNXPLAIN_ZOO")


def upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at opset 18, through the passes before the upgrade; it passes the full checker."""
    graph_model = ir.serde.deserialize_model(model)
    name_everything(graph_model)
    RemoveInitializersFromInputsPass()(graph_model)
    upgrade_opset(graph_model)
    result = ir.serde.serialize_model(graph_model)
    onnx.checker.check_model(result, full_check=True)
    assert max(o.version for o in result.opset_import if o.domain == "") >= 18
    return result


def assert_same(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    names = [v.name for v in model.graph.output]
    before = session(model).run(names, dict(feeds))
    for declared, array in zip(model.graph.output, before):
        kind, shape = helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim
        declared.type.CopyFrom(helper.make_tensor_type_proto(kind, shape))
    after = upgraded(model)
    assert [v.name for v in after.graph.output] == names
    for name, a, b in zip(names, before, session(after).run(names, dict(feeds))):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, err_msg=name, strict=True)
    return after


@pytest.mark.parametrize("how", ["static", "symbolic"])
@pytest.mark.parametrize("case", CASES + CASES_UNCHANGED, ids=lambda case: case.id)
def test_same_outputs(case: Old, how: str) -> None:
    assert_same(case.model(how), case.feeds())


def test_every_adapter_has_a_case() -> None:
    tested = {(case.op, version) for case in CASES for version in range(case.opset + 1, 19)}
    tested |= {("Resize", version) for case in CASES if case.op == "Upsample" for version in (11, 13)}
    assert set(ADAPTERS) - tested == {("Scan", 9)}  # has tests of its own


def test_every_step_of_the_standard_is_decided() -> None:
    history: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            history.setdefault(schema.name, []).append(schema.since_version)
    steps = {(op, v) for op, versions in history.items() for v in versions if 8 <= v <= 18 and min(versions) < v}
    unchanged = {(op, version) for op, versions in UNCHANGED.items() for version in versions}
    assert unchanged & set(ADAPTERS) == set()
    assert unchanged | set(ADAPTERS) == steps


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    opset: int,
    constants: Mapping[str, np.ndarray] | None = None,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in (domains or {}).items())]
    return helper.make_model(graph, opset_imports=imports, ir_version=4)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("shape", "axis", "plain"),
    [((2, 3), 1, True), ((2, 3, 4), 2, True), ((2, 3, 1, 1), 1, True), ((2, 3, 4), 1, False), ((2, 3, 4), 0, False)],
)
def test_a_plain_softmax_where_it_is_equivalent(shape: tuple[int, ...], axis: int, plain: bool) -> None:
    old = Old("Softmax", 9, [x(*shape)], {"axis": axis})
    after = assert_same(old.model("static"), old.feeds())
    assert ("Reshape" not in operators(after)) == plain


def test_plain_forms_of_clip_and_dropout() -> None:
    for opset in (7, 10):
        old = Old("Dropout", opset, [x(2, 3)], {"ratio": 0.2}, outputs=1)
        assert operators(assert_same(old.model("static"), old.feeds())) == ["Dropout"]
    for scales in ([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 3.0]):
        old = Old("Upsample", 7, [x(1, 2, 3, 4)], {"scales": scales})
        assert operators(assert_same(old.model("static"), old.feeds())) == ["Resize"]


def test_upsample_at_run_time_stays_one_node() -> None:
    old = Old("Upsample", 9, [x(1, 2, 5, 7), f32(1, 1, 2.5, 2)])
    assert operators(assert_same(old.model("static"), old.feeds())) == ["Resize"]


def test_resize_with_constant_scales_stays_one_node_unless_it_grows_and_shrinks() -> None:
    for scales, count in (((1, 1, 2, 3), 1), ((1, 1, 0.5, 0.3), 1), ((1, 1, 2, 0.5), 2)):
        old = Old("Resize", 10, [x(1, 2, 5, 7), f32(*scales)], constants=(1,))
        assert operators(assert_same(old.model("static"), old.feeds())).count("Resize") == count


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_training_outputs_of_batch_normalization_that_nobody_reads(opset: int) -> None:
    """Optional outputs mean training mode: the batch's own statistics."""
    names = ["y", "mean", "var", "saved_mean", "saved_var"]
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], names)
    model = model_of([node], {"x": BATCH[0]}, ["y", "mean", "var"], opset, dict(zip("sbmv", BATCH[1:])))
    after = assert_same(model, {"x": BATCH[0]})
    assert len(after.graph.node[0].output) == 3
    model.graph.output.append(helper.make_empty_tensor_value_info("saved_var"))
    with pytest.raises(UnsupportedOperatorError, match="saved_var"):
        upgraded(model)


def test_values_of_unknown_type() -> None:
    """Behind an operator of another domain no type is known; the constants take it at run time."""
    nodes = [
        helper.make_node("Unknown", ["x"], ["u"], domain="elsewhere"),
        helper.make_node("Clip", ["u"], ["c"], max=6.0),
        helper.make_node("Pad", ["c"], ["p"], pads=[0, 1, 0, 1], value=1.5),
        helper.make_node("Softmax", ["p"], ["s"], axis=1),
        helper.make_node("Dropout", ["s"], ["d", "mask"]),
    ]
    model = model_of(nodes, {"x": x(2, 3)}, ["d", "mask"], 9, domains={"elsewhere": 1})
    graph_model = ir.serde.deserialize_model(model)
    name_everything(graph_model)
    upgrade_opset(graph_model)
    identity = next(node for node in graph_model.graph if node.domain)
    identity.op_type, identity.domain = "Identity", ""
    del graph_model.graph.opset_imports["elsewhere"]
    model.graph.node[0].op_type, model.graph.node[0].domain = "Identity", ""
    del model.opset_import[1]
    for dtype in (np.float32, np.float16):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        after = ir.serde.serialize_model(graph_model)
        for proto in (model, after):
            proto.graph.input[0].type.tensor_type.elem_type = kind
        a, b = (session(m).run(["d"], {"x": x(2, 3, dtype=dtype)}) for m in (model, after))
        assert a[0].dtype == b[0].dtype == dtype


def subgraph(name: str, nodes: list[onnx.NodeProto], inputs: dict[str, int], outputs: list[str]) -> onnx.GraphProto:
    """A body whose float inputs have no known rank; the others are scalars."""
    return helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(k, v, None if v == TensorProto.FLOAT else []) for k, v in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )


def test_branches_of_if() -> None:
    def branch(name: str, value: float) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Clip", ["x"], [f"{name}_c"], max=value),
            helper.make_node("Unsqueeze", [f"{name}_c"], [f"{name}_u"], axes=[0]),
            helper.make_node("Softmax", [f"{name}_u"], [f"{name}_s"], axis=1),
            helper.make_node("ReduceSum", [f"{name}_s"], [f"{name}_r"], axes=[1], keepdims=0),
        ]
        return subgraph(name, nodes, {}, [f"{name}_r"])

    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch("then", 0.5), else_branch=branch("else", 0.1)),
        helper.make_node("Squeeze", ["y"], ["z"], axes=[0]),
    ]
    for condition in (True, False):
        feeds = {"x": x(2, 3), "c": np.array(condition)}
        assert_same(model_of(nodes, feeds, ["z"], 9), feeds)


def test_body_of_loop() -> None:
    body = subgraph(
        "body",
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Dropout", ["state"], ["same"], ratio=0.5),
            helper.make_node("Upsample", ["same"], ["twice"], scales=[1.0, 2.0]),
            helper.make_node("Slice", ["twice"], ["half"], axes=[1], starts=[1], ends=[4]),
            helper.make_node("Softmax", ["half"], ["out"], axis=0),
            helper.make_node("ReduceMean", ["out"], ["mean"], axes=[0]),
        ],
        {"i": TensorProto.INT64, "go": TensorProto.BOOL, "state": TensorProto.FLOAT},
        ["go_on", "out", "mean"],
    )
    nodes = [helper.make_node("Loop", ["n", "go0", "x"], ["last", "means"], body=body)]
    feeds = {"n": np.array(3), "go0": np.array(True), "x": x(2, 3)}
    assert_same(model_of(nodes, feeds, ["last", "means"], 8), feeds)


@pytest.mark.parametrize("directions", [None, [0, 0], [1, 0]])
@pytest.mark.parametrize("states", [1, 2])
def test_scan_over_a_batch(directions: list[int] | None, states: int) -> None:
    kinds = {f"s{i}": TensorProto.FLOAT for i in range(states)} | {"a": TensorProto.FLOAT, "b": TensorProto.FLOAT}
    body = subgraph(
        "body",
        [
            helper.make_node("Mul", ["a", "w"], ["aw"]),
            helper.make_node("Add", ["s0", "aw"], ["t0"]),
            helper.make_node("Sub", ["t0", "b"], ["out"]),
            helper.make_node("ReduceSum", ["b"], ["sum"], axes=[0], keepdims=0),
            *(helper.make_node("Mul", [f"s{i}", "b"], [f"t{i}"]) for i in range(1, states)),
        ],
        kinds,
        [*(f"t{i}" for i in range(states)), "out", "sum"],
    )
    given = {} if directions is None else {"directions": directions}
    inputs = ["", *(f"s{i}_0" for i in range(states)), "as", "bs"]
    outputs = [*(f"last{i}" for i in range(states)), "outs", "sums"]
    node = helper.make_node("Scan", inputs, outputs, body=body, num_scan_inputs=2, **given)
    feeds = {f"s{i}_0": x(3, 4) for i in range(states)} | {"as": x(3, 5, 4), "bs": x(3, 5, 4)}
    assert_same(model_of([node], feeds, outputs, 8, {"w": x(4)}), feeds)


def test_scan_with_sequence_lengths_is_refused() -> None:
    body = subgraph("body", [helper.make_node("Neg", ["a"], ["o"])], {"a": TensorProto.FLOAT}, ["o"])
    node = helper.make_node("Scan", ["lens", "as"], ["os"], body=body, num_scan_inputs=1)
    feeds = {"lens": np.array([2, 3]), "as": x(2, 3, 4)}
    with pytest.raises(UnsupportedOperatorError, match="sequence_lens"):
        upgraded(model_of([node], feeds, ["os"], 8))


def test_half_pixel_for_nn_only_as_tensorflow_used_it() -> None:
    attributes = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "mode": "linear"}
    old = Old("Resize", 11, [x(1, 2, 5, 7), f32(), f32(1, 1, 2, 2)], attributes, constants=(1, 2))
    with pytest.raises(UnsupportedOperatorError, match=r"node 'node'.*tf_half_pixel_for_nn"):
        upgraded(old.model("static"))


def test_per_element_normalisation_in_training_is_refused() -> None:
    old = Old("BatchNormalization", 7, BATCH_ELEMENT, {"spatial": 0}, outputs=5)
    with pytest.raises(UnsupportedOperatorError, match="spatial"):
        upgraded(old.model("static"))


def test_opset_below_seven_is_refused() -> None:
    for opset in (1, 6):
        node = helper.make_node("Relu", ["x"], ["y"])
        with pytest.raises(ModelError, match=rf"opset {opset}.*Export it again"):
            upgraded(model_of([node], {"x": x(2)}, ["y"], opset))


def test_an_operator_the_opset_does_not_define_is_refused() -> None:
    for op, opset in (("ConstantFill", 7), ("ThresholdedRelu", 9), ("Mish", 17)):
        node = helper.make_node(op, ["x"], ["y"], name="it")
        with pytest.raises(ModelError, match=f"'it'.*{op}.*opset {opset}"):
            upgraded(model_of([node], {"x": x(2)}, ["y"], opset))


def test_a_newer_model_and_other_domains_stay() -> None:
    for opset in (18, 21):
        node = helper.make_node("ReduceMax", ["x"], ["y"])
        model = model_of([node], {"x": x(2)}, ["y"], opset)
        graph_model = ir.serde.deserialize_model(model)
        upgrade_opset(graph_model)
        assert ir.serde.serialize_model(graph_model).SerializeToString() == model.SerializeToString()
    only_ml = model_of([helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml")], {"x": x(2)}, ["y"], 1)
    only_ml.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    graph_model = ir.serde.deserialize_model(only_ml)
    upgrade_opset(graph_model)
    assert graph_model.graph.opset_imports == {"": 18, "ai.onnx.ml": 1}


def test_the_default_domain_by_its_other_name() -> None:
    old = Old("Squeeze", 9, [x(1, 3)], {"axes": [0]})
    model = old.model("static")
    model.opset_import[0].domain = "ai.onnx"
    assert [(o.domain, o.version) for o in assert_same(model, old.feeds()).opset_import] == [("", 18)]


def outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without what changes the rounding: threads, and fusions and layouts that follow from the shapes known."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    runner = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [value.name for value in runner.get_outputs()]
    return dict(zip(names, runner.run(names, feeds)))


def tensors_only(path: Path) -> bool:
    """A ZipMap's sequence of maps cannot be read into the graph representation."""
    graph = onnx.load(path, load_external_data=False).graph
    return all(value.type.HasField("tensor_type") for value in graph.output)


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
@pytest.mark.parametrize(
    "path", [p for p in sorted(Path(ZOO or ".").glob("models/*.onnx")) if tensors_only(p)], ids=lambda path: path.stem
)
def test_zoo(path: Path) -> None:
    """Outputs before and after are equal, every bit.

    ONNX Runtime computes float16 in float32 between casts, which it places elsewhere for other versions of an
    operator (outputs then differ by a unit of float16), so float16 models are compared with float32 weights.
    """
    model = onnx.load(path)
    widen(model)
    feeds = {}
    for value in session(model).get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 2 if axis == 0 else 48 for axis, d in enumerate(value.shape)]
        dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[value.type]
        feeds[value.name] = RNG.uniform(0, 255 if dtype is np.uint8 else 1, shape).astype(dtype)
    after = outputs(upgraded(model), feeds)
    for name, before in outputs(model, feeds).items():
        np.testing.assert_array_equal(before, after[name], strict=True)


def widen(model: onnx.ModelProto) -> None:
    """Turn float16 weights, inputs and outputs into float32."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT


@pytest.mark.parametrize("opset", [9, 10, 11])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("open_axis", ["L", None])
def test_a_slice_of_a_symbolic_axis_does_not_keep_its_extent(open_axis: str | None, axis: int, opset: int) -> None:
    """y = x times its first row, or column: the gradient is summed over that axis, which opset 10 hides."""
    bounds = {"starts": [0], "ends": [1], "axes": [axis]}
    first = helper.make_node(
        "Slice", ["x"] if opset < 10 else ["x", *bounds], ["first"], **bounds if opset < 10 else {}
    )
    constants = {name: np.array(value) for name, value in bounds.items()} if opset >= 10 else {}
    spec = FLOAT, ["N", open_axis]
    nodes = [first, helper.make_node("Mul", ["x", "first"], ["y"])]
    model = differentiate(build(nodes, [("x", *spec)], [("y", *spec)], constants, opset), target="cotangent")
    rows = np.random.default_rng(2).standard_normal((3, 3)).astype(np.float32)
    expected = np.broadcast_to(rows[:1] if axis == 0 else rows[:, :1], rows.shape).copy()
    expected[(slice(0, 1),) if axis == 0 else (slice(None), slice(0, 1))] += rows.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(run(model, x=rows, cotangent=np.ones_like(rows))["grad_x"], expected, rtol=1e-5)


def test_an_old_ir_version_of_a_model_without_standard_operators() -> None:
    """Below IR version 4, what the gradient adds as constants would have to be inputs."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("ArrayFeatureExtractor", ["x", "places"], ["y"], domain="ai.onnx.ml")],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 2))],
            [numpy_helper.from_array(np.array([1, 3]), "places")],
        ),
        opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=3,
    )
    model.graph.input.append(helper.make_tensor_value_info("places", TensorProto.INT64, (2,)))
    result = differentiate(model, target="cotangent")
    onnx.checker.check_model(result, full_check=True)
    feeds = {"x": np.ones((3, 4), np.float32), "cotangent": np.full((3, 2), 2, np.float32)}
    found = session(result).run(["grad_x"], feeds)[0]
    np.testing.assert_array_equal(found, [[0, 2, 0, 2]] * 3)
