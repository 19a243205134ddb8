"""That a gradient is a straight-through estimate is stated wherever a person or a program reads the result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import onnxplain
from onnxplain.cli import app


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """Mean colour in steps of a half: [N,3,4,4] to [N,3]."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    constants = {"scale": np.array(0.5, np.float32), "zero": np.array(0, np.uint8)}
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path / "quantized.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


IMAGE = np.full((4, 4, 3), 100, np.uint8)


def test_the_explanation_says_so(quantized: Path) -> None:
    explainer = onnxplain.Explainer(quantized, preprocessing="none")
    explanation = explainer.explain(IMAGE, target=1)
    assert explainer.straight_through
    assert explanation.straight_through
    assert explanation.to_dict()["straight_through"] is True
    assert "straight-through" in explanation.title
    np.testing.assert_allclose(explanation.attribution[1], 1 / 16)


def test_other_models_do_not(quantized: Path) -> None:
    explanation = onnxplain.Explainer().explain(IMAGE)
    assert not explanation.straight_through
    assert "straight-through" not in explanation.title


def test_the_command_line_says_so(quantized: Path, tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    out = ["-o", str(tmp_path / "out"), "--preprocessing", "none"]
    arguments = ["explain", str(quantized), str(tmp_path / "photo.png"), *out]
    assert "straight-through" in CliRunner().invoke(app, arguments).output
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert facts["results"][0]["straight_through"] is True
