"""Names of dimensions: equal ones mean equal extents."""

from __future__ import annotations

from onnx import helper

from onnxplain.autodiff.graph.io import read_model
from onnxplain.autodiff.prepare.name_everything import name_everything

from support.graphs import FLOAT, build


def test_a_name_that_only_outputs_share_is_dropped() -> None:
    """YuNet calls the cells of all three strides "anchors"; a name of an input, or of one output, stays."""
    nodes = [helper.make_node("MaxPool", ["x"], ["wide"], kernel_shape=[2]), helper.make_node("Neg", ["x"], ["same"])]
    nodes.append(helper.make_node("MaxPool", ["x"], ["narrow"], kernel_shape=[3]))
    shown = [("wide", FLOAT, ["N", 1, "cells"]), ("narrow", FLOAT, ["N", 1, "cells"]), ("same", FLOAT, ["N", 1, "own"])]
    model = read_model(build(nodes, [("x", FLOAT, ["N", 1, "W"])], shown))
    name_everything(model)
    found = [[d if isinstance(d, int) else d.value for d in v.shape or ()] for v in model.graph.outputs]
    assert found == [["N", 1, None], ["N", 1, None], ["N", 1, "own"]]
