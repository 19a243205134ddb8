"""Fixed dimensions: the gradients of the dynamic file, in a file without open dimensions, Loop and Scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import InputError, differentiate, differentiate_file

from support.cases import control_flow, recurrent, resampling
from support.cases.base import Case
from support.checker import compare, run_gradients, session
from support.graphs import FLOAT, INT64, build, classifier, names, run

CASES = [
    case
    for family in (control_flow, recurrent, resampling)
    for case in family.CASES
    if any(isinstance(extent, str) for _, value in case.drawn() for extent in value.shape)
    and case.name != "unused-input"  # it is no input of what the Scan becomes, see below
]
BATCH = 3


def extents(case: Case) -> dict[str, int]:
    """The open dimensions of a case, and what they are in its inputs."""
    found = {extent for _, value in case.drawn() for extent in value.shape if isinstance(extent, str)}
    return {name: BATCH if name == "N" else int(name[1:]) for name in found}


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from all_nodes(attribute.g)


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in all_nodes(model.graph)}


def open_dimensions(model: onnx.ModelProto) -> list[str]:
    """The names of values with an open dimension, or none known."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.input, *inferred.graph.output]
    tensors = [(v.name, v.type.tensor_type) for v in values]
    return [n for n, t in tensors if not t.HasField("shape") or any(not d.HasField("dim_value") for d in t.shape.dim)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_gradients_are_those_of_the_dynamic_file(case: Case) -> None:
    model = case.model(np.dtype(np.float32), None)
    dynamic = differentiate(model, wrt=case.wrt(), target="cotangent")
    static = differentiate(model, wrt=case.wrt(), target="cotangent", static=extents(case))
    feeds = case.feeds(1, BATCH)
    known = session(model).run(None, {k: v.astype(np.float32) if v.dtype == float else v for k, v in feeds.items()})
    cotangent = np.random.default_rng(2).standard_normal(known[0].shape)
    found = [run_gradients(session(one), case, feeds, cotangent) for one in (dynamic, static)]
    compare(found[0], found[1], 1e-5, "the dynamic file")
    if not case.runtime:
        assert not open_dimensions(static)
        assert not {"Loop", "Scan", "Shape", "Size"} & operators(static)


def counting(limit: np.ndarray | None, *, until: str) -> onnx.ModelProto:
    """y = x, doubled as often as a loop runs: ``limit`` times, or while i < ``until``, an initialiser or an input."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["count", "one"], ["next"]),
            helper.make_node("Less", ["next", until], ["going"]),
            helper.make_node("Add", ["v", "v"], ["doubled"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("count", INT64, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", INT64, []),
            helper.make_tensor_value_info("doubled", FLOAT, None),
        ],
    )
    names = ["limit" if limit is not None else "", "yes", "start", "x"]
    inputs = [("x", FLOAT, ["N", 2])] + ([("bound", INT64, [])] if until == "bound" else [])
    constants = {"yes": np.array(True), "start": np.array(0), "one": np.array(1), "five": np.array(5)}
    if limit is not None:
        constants["limit"] = limit
    loop = helper.make_node("Loop", names, ["end", "y"], body=body)
    return build([loop], inputs, [("y", FLOAT, ["N", 2])], constants)


@pytest.mark.parametrize("limit", [None, np.array(3), np.array(2**31 - 1), np.array([0])])
def test_a_loop_ends_where_its_counter_says(limit: np.ndarray | None) -> None:
    """As tf2onnx writes ``while_loop``: a counter among the states, and a trip count that means nothing."""
    doubled = 2.0 ** min(5, 5 if limit is None else int(limit.reshape(-1)[0]))
    model = differentiate(counting(limit, until="five"), target="cotangent", static={"N": 1})
    assert "Loop" not in operators(model)
    found = run(model, x=np.array([[1.0, 3.0]], np.float32), cotangent=np.array([[1.0, 2.0]], np.float32))
    np.testing.assert_array_equal(found["y"], [[doubled, 3 * doubled]])
    np.testing.assert_array_equal(found["grad_x"], [[doubled, 2 * doubled]])


def test_a_loop_whose_end_is_an_input_stays() -> None:
    model = differentiate(counting(None, until="bound"), target="cotangent", static={"N": 1})
    assert "Loop" in operators(model)
    cotangent = np.array([[1.0, 2.0]], np.float32)
    found = run(model, x=np.ones((1, 2), np.float32), bound=np.array(3), cotangent=cotangent)
    np.testing.assert_array_equal(found["grad_x"], 8 * cotangent)


def test_a_scanned_input_that_is_not_used_has_no_gradient() -> None:
    (case,) = (case for case in control_flow.CASES if case.name == "unused-input")
    model = case.model(np.dtype(np.float32), None)
    static = differentiate(model, wrt=["x0", "x1"], target="cotangent", static=extents(case))
    feeds = case.feeds(1, BATCH)
    found = session(static).run(
        ["grad_x1"], {**{k: v.astype(np.float32) for k, v in feeds.items()}, "cotangent": np.ones((3, 2), np.float32)}
    )
    np.testing.assert_allclose(found[0], feeds["x0"] ** 3, rtol=1e-5)


def test_a_scan_of_nothing() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "r"], ["t"]), helper.make_node("Identity", ["t"], ["row"])],
        "body",
        [helper.make_tensor_value_info(name, FLOAT, ["N"]) for name in ("s", "r")],
        [helper.make_tensor_value_info(name, FLOAT, ["N"]) for name in ("t", "row")],
    )
    scan = helper.make_node("Scan", ["a", "x"], ["y", "rows"], num_scan_inputs=1, body=body)
    shapes = [("a", FLOAT, ["N"]), ("x", FLOAT, [0, "N"])]
    model = build([scan], shapes, [("y", FLOAT, ["N"]), ("rows", FLOAT, [0, "N"])])
    static = differentiate(model, wrt="a", target="cotangent", static={"N": 3})
    assert "Scan" not in operators(static)
    found = run(static, a=X[0], x=np.zeros((0, 3), np.float32), cotangent=X[1])
    np.testing.assert_array_equal(found["y"], X[0])
    np.testing.assert_array_equal(found["grad_a"], X[1])
    assert found["rows"].shape == (0, 3)


def test_some_dimensions_can_stay_open() -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 3, "H", "W"])], [("y", FLOAT, ["N", 3, "H", "W"])])
    static = differentiate(model, target="cotangent", static={"N": 2, "W": 5})
    for value in [*static.graph.input, *static.graph.output]:
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert dims == [2, 3, "H", 5], value.name


def test_an_open_dimension_without_a_name_is_called_after_its_input_and_axis() -> None:
    model = build([helper.make_node("Mul", ["x", "x"], ["y"])], [("x", FLOAT, [None, 3])], [("y", FLOAT, [None, 3])])
    assert not open_dimensions(differentiate(model, static={"x_dim0": 4}))


def test_extents_that_a_file_kept_from_an_old_size_do_not_count() -> None:
    model = build([helper.make_node("Mul", ["x", "x"], ["y"])], [("x", FLOAT, ["N", "W"])], [("y", FLOAT, ["N", "W"])])
    model.graph.node.append(helper.make_node("Add", ["y", "y"], ["z"]))
    model.graph.output[0].name = "z"
    model.graph.value_info.append(helper.make_tensor_value_info("y", FLOAT, [1, 7]))
    found = run(differentiate(model, target="cotangent", static={"N": 2, "W": 3}), x=X, cotangent=X)
    np.testing.assert_allclose(found["grad_x"], 4 * X * X, rtol=1e-6)


X = np.array([[1.0, 2.0, -1.0], [0.5, -2.0, 3.0]], dtype=np.float32)


def test_a_name_that_no_input_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"static names 'batch'.*they are 'N'\."):
        differentiate(classifier(), static={"batch": 1})
    fixed = differentiate(classifier(), static={"N": 2})
    assert names(fixed.graph.input) == ["x", "target"]
    with pytest.raises(InputError, match="all their dimensions are numbers"):
        differentiate(fixed, static={"N": 2})


@pytest.mark.parametrize("static", [{}, {"N": 0}, {"N": -1}, {"N": 1.0}, {"N": True}, {1: 1}, ["N"], "N=1"])
def test_what_are_no_extents_is_refused(static: Mapping[str, int]) -> None:
    with pytest.raises(InputError, match="static"):
        differentiate(classifier(), static=static)


def test_a_file_is_written_static_too(tmp_path: object) -> None:
    written = differentiate_file(classifier(), f"{tmp_path}/out.onnx", static={"N": 2})
    assert not open_dimensions(written)
    assert not open_dimensions(onnx.load(f"{tmp_path}/out.onnx"))
