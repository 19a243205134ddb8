"""Products of the rows that a classifier reads: same gradients as products of all rows."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms import order as for_provider
from onnxplain.autodiff.forms.late_pads import late_pads
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import same_outputs
from support.small_models import FLOAT, build
from support.small_transformers import TOKENS, WIDTH, Net, block, classified, feeds


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(for_provider.PASSES, "cpu", (late_pads,))


def rows_of_products(model: onnx.ModelProto) -> list[int]:
    """The second last extent of each product of tokens that the walk added, in order."""
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    products = [n for n in model.graph.node if n.op_type == "MatMul" and n.name.startswith("grad/")]
    found = [shapes[n.output[0]].type.tensor_type.shape.dim for n in products if n.output[0] in shapes]
    return [dims[-2].dim_value for dims in found if len(dims) > 2]


@pytest.mark.parametrize("token", ["Gather 0", "Gather 5", "Gather -1", "Slice 2:4"])
def test_same_gradient_of_one_token(token: str) -> None:
    for blocks in (1, 2):
        net, last = Net(), "x"
        for _ in range(blocks):
            last = block(net, last)
        model = classified(net, last, token)
        for samples in (1, 3):
            after, report = same_outputs(model, feeds(samples))
            assert report.counts()["late_pads"] == (1, 0)
        rows = 2 if token.startswith("Slice") else 1
        few = [one for one in rows_of_products(after) if one == rows]
        assert len(few) == 6, "two layers, the projection, attention, the queries and their layer"


def test_values_of_the_gradient_are_computed_for_the_rows_alone() -> None:
    net = Net()
    after, _ = same_outputs(classified(net, block(net, "x")), feeds(3))
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(after).graph.value_info}
    (exp,) = [n for n in after.graph.node if n.op_type == "Exp" and n.name.startswith("grad/")]
    assert shapes[exp.output[0]].type.tensor_type.shape.dim[1].dim_value == 1, "the derivative of GELU"
    cut = [n for n in after.graph.node if n.op_type == "Slice"]
    made = {name for n in after.graph.node if n.name.startswith("grad/") for name in n.output}
    assert cut and not [n for n in cut if n.input[0] in made], "what is cut comes from the model itself"


def test_a_pooled_transformer_has_no_zeros() -> None:
    net = Net()
    _, report = same_outputs(net.model(block(net, "x")), feeds(3))
    assert "late_pads" not in report.counts()


def test_many_rows_stay_among_zeros() -> None:
    net = Net()
    _, report = same_outputs(classified(net, block(net, "x"), "Slice 0:5"), feeds(3))
    assert "late_pads" not in report.counts()


def test_zeros_that_no_product_follows_are_left() -> None:
    net = Net()
    after, report = same_outputs(classified(net, net.op("Tanh", "x")), feeds(3))
    assert report.counts()["late_pads"] == (0, 1)
    assert [n.op_type for n in after.graph.node].count("Pad") == 1


def test_an_infinite_factor_of_a_row_that_nothing_reads() -> None:
    """Its gradient is 0; zero times infinity, which the rules write, is not a number."""
    net = Net()
    hidden = net.op("MatMul", net.op("Reciprocal", "x"), net.normal(WIDTH, WIDTH))
    scaled = net.op("Mul", hidden, net.op("Exp", hidden))
    model = classified(net, net.linear(scaled))
    report = Report()
    after = differentiate(model, form="cpu", report=report)
    assert report.counts()["late_pads"] == (1, 0)
    x = feeds(2)["x"]
    x[:, 4] = 1e-4
    session = onnxruntime.InferenceSession(after.SerializeToString(), providers=["CPUExecutionProvider"])
    gradient = dict(
        zip([v.name for v in session.get_outputs()], session.run(None, {"x": x, "target": np.zeros(2, int)}))
    )
    assert np.isfinite(gradient["grad_x"][:, 0]).all() and np.abs(gradient["grad_x"][:, 0]).max() > 0


def test_the_axis_of_samples_can_be_the_one() -> None:
    """A model without an axis of samples for tokens: rows of [T,D], the first axis."""
    net = Net()
    hidden = net.linear(net.op("Reshape", "x", np.array([TOKENS, WIDTH])))
    picked = net.op("Gather", net.linear(net.op("Tanh", hidden)), np.array([3]), axis=0)
    model = build(net.nodes, [("x", FLOAT, [1, TOKENS, WIDTH])], [(picked, FLOAT, [1, WIDTH])], net.constants)
    _, report = same_outputs(model, feeds(1))
    assert report.counts()["late_pads"] == (1, 0)
