"""A class axis of one element is not taken for a batch of one."""

from __future__ import annotations

import numpy as np
import onnx

from onnxplain import differentiate
from onnxplain.target import Target

from support.graphs import run


def test_a_softmax_over_one_class_without_a_batch() -> None:
    """y [T,1] of one sample: asked for its only class at all places, the score is the sum of the logits."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]> g (float[1,T,1] x) => (float[S,1] y) {
            p = Softmax <axis = 2> (x) zero = Constant<value_ints = [0]>() y = Squeeze(p, zero) }"""
    )
    x = np.array([[[1.0], [2.0], [4.0]]], np.float32)
    found = run(differentiate(model, Target(0, at="all")), x=x, target=np.array([0]))
    np.testing.assert_allclose(found["score"], [7.0])
    np.testing.assert_allclose(found["grad_x"], np.ones_like(x))
