"""What no output depends on goes, and with it what only its branches read."""

from __future__ import annotations

import numpy as np
import onnx.parser

from onnxplain import Explainer


def test_scores_of_a_model_with_branches_need_no_target() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["": 21]>
        g (float[N,3] x, bool c) => (float[N,3] y) {
            y = If(c) <then_branch = t () => (float[N,3] a) { a = Mul(x, x) },
                       else_branch = e () => (float[N,3] b) { b = Exp(x) }>
        }""")
    explainer = Explainer(model, wrt="x")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(explainer.scores({"x": x, "c": np.array(True)}), x * x)
    found = explainer.attribute({"x": x, "c": np.array(True)}, 1, method="occlusion")["x"]
    np.testing.assert_allclose(found, [[0, 1, 0], [0, 16, 0]])
