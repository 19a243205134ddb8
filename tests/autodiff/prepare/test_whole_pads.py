"""Pads with a list of axes among transpositions, which ONNX Runtime's optimiser gets wrong."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnxruntime
import pytest

import onnxplain

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def model(axis: int, mode: str) -> onnx.ModelProto:
    """y = g(x) of x [N,4], padded by one element at the beginning of an axis, between two transpositions."""
    return onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 23]>
        g (float[N,4] x) => (float[N,1] y)
        <int64[2] pads = {{1, 0}}, int64[1] axes = {{{axis}}}, int64[1] last = {{1}}> {{
            t = Transpose<perm=[0,1]>(x)
            padded = Pad<mode="{mode}">(t, pads, "", axes)
            squares = Mul(padded, padded)
            y = ReduceL1(squares, last)
        }}""")


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("form", ["portable", "cpu"])
def test_gradient(axis: int, mode: str, form: str) -> None:
    result = onnxplain.differentiate(model(axis, mode), target="cotangent", form=form)
    assert not any(node.op_type == "Pad" and len(node.input) > 3 for node in result.graph.node)
    session = onnxruntime.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])
    y, found = session.run(["y", "grad_x"], {"x": X, "cotangent": np.ones((3, 1), np.float32)})
    twice = {"constant": 0, "reflect": 1, "edge": 0}[mode]
    weights = np.ones(4)
    if mode != "constant":
        weights[twice] = 2
    np.testing.assert_allclose(y[:, 0], (weights * X.astype(np.float64) ** 2).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found, 2 * weights * X, rtol=1e-6)
