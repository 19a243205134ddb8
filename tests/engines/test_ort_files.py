"""ONNX Runtime's own files (.ort) of differentiated models give the same gradients, at every level of optimisation.

As its converter writes them: ``python -m onnxruntime.tools.convert_onnx_models_to_ort MODEL``, in both styles.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from engines.models import MODELS, difference, sample
from engines.test_engines import TOLERANCE

from support.gradient_passes import LEVELS


def run(path: Path, feeds: dict[str, np.ndarray], level: str) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.add_session_config_entry("session.enable_saved_runtime_optimizations", "1")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_same_gradients(name: str, tmp_path: Path) -> None:
    drawn = sample(MODELS[name])
    onnx.save(drawn.model, tmp_path / "model.onnx")
    command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(tmp_path / "model.onnx")]
    subprocess.run([*command, "--optimization_style", "Fixed", "Runtime"], check=True, capture_output=True)
    files = sorted(tmp_path.glob("*.ort"))
    assert [file.name for file in files] == ["model.ort", "model.with_runtime_opt.ort"]
    for file in files:
        assert file.read_bytes()[4:8] == b"ORTM"
        for level in LEVELS:
            found = run(file, drawn.feeds, level)
            worst = max(difference(found[key], array) for key, array in drawn.gradients.items())
            assert worst <= TOLERANCE, (file.name, level)
