"""What nothing reads of a value is not computed: same scores and gradients."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxplain.autodiff.forms import order as for_provider
from onnxplain.autodiff.forms.early_rows import early_rows
from onnxplain.autodiff.forms.late_pads import late_pads
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import same_outputs
from support.small_models import FLOAT, build
from support.small_transformers import TOKENS, WIDTH, Net, block, classified, feeds


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(for_provider.PASSES, "cpu", (late_pads, early_rows))


def fired(report: Report) -> int:
    return report.counts().get("early_rows", (0, 0))[0]


def products(model: onnx.ModelProto) -> list[int]:
    """The second last extent of every product of tokens, in order."""
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    found = [shapes[n.output[0]] for n in model.graph.node if n.op_type == "MatMul" and n.output[0] in shapes]
    return [v.type.tensor_type.shape.dim[-2].dim_value for v in found if len(v.type.tensor_type.shape.dim) > 2]


@pytest.mark.parametrize("token", ["Gather 0", "Gather 5", "Gather -1", "Slice 2:4"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_last_block_is_computed_for_the_tokens_that_are_read(token: str, blocks: int) -> None:
    net, last = Net(), "x"
    for _ in range(blocks):
        last = block(net, last)
    model, rows = classified(net, last, token), 2 if token.startswith("Slice") else 1
    before = [one for one in products(model) if one == TOKENS]
    for samples in (1, 3):
        after, report = same_outputs(model, feeds(samples))
        assert fired(report) > 1
        forwards = [n for n in after.graph.node if n.op_type == "MatMul" and not n.name.startswith("grad/")]
        assert len(forwards) == 8 * blocks - 6 + 1, "the last keys and values, and the classifier"
    assert len(before) == 8 * blocks and products(after).count(rows) >= 12


def test_a_value_that_the_model_returns_is_computed_as_it_was() -> None:
    net = Net()
    last = block(net, "x")
    model = classified(net, last)
    model.graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info(last, FLOAT, ["N", TOKENS, WIDTH]))
    after, report = same_outputs(model, feeds(3))
    assert fired(report) == 0
    assert [one for one in products(after) if one == 1], "the gradient is that of one token nevertheless"


def test_values_that_are_read_in_two_ways() -> None:
    net = Net()
    last = net.linear(block(net, "x"))
    both = net.op("Add", net.op("Gather", last, np.array(0), axis=1), net.op("Gather", last, np.array(4), axis=1))
    model = build(net.nodes, [("x", FLOAT, ["N", TOKENS, WIDTH])], [(both, FLOAT, ["N", WIDTH])], net.constants)
    _, report = same_outputs(model, feeds(3))
    assert fired(report) == 0


def test_a_row_that_pooling_reads_with_the_others() -> None:
    net = Net()
    last = net.linear(net.op("Tanh", "x"))
    pooled = net.op("ReduceMean", last, np.array([1]), keepdims=0)
    logits = net.op("Add", pooled, net.op("Gather", last, np.array(0), axis=1))
    model = build(net.nodes, [("x", FLOAT, ["N", TOKENS, WIDTH])], [(logits, FLOAT, ["N", WIDTH])], net.constants)
    _, report = same_outputs(model, feeds(3))
    assert fired(report) == 0


def test_no_product_no_rewrite() -> None:
    net = Net()
    _, report = same_outputs(classified(net, net.op("Tanh", "x")), feeds(3))
    assert fired(report) == 0
