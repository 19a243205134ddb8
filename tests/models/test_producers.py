"""Models of other frameworks against the gradients that those computed themselves (see ``producers/``)."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxplain

from producers.fixture import FOLDER, LARGEST, Fixture, load
from support import REPOSITORY as ROOT

NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))


@pytest.fixture(params=NAMES)
def fixture(request: pytest.FixtureRequest) -> Fixture:
    return load(request.param)


def differentiated(fixture: Fixture) -> onnx.ModelProto:
    return onnxplain.differentiate(fixture.model, **fixture.options)


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def test_gradient_is_the_producers(fixture: Fixture) -> None:
    """To 1e-4 of the largest gradient; the original outputs are as they were."""
    if fixture.refused:
        with pytest.raises(onnxplain.ModelError, match=rf"{fixture.refused}.*use a perturbation method"):
            differentiated(fixture)
        return
    runner = session(differentiated(fixture).SerializeToString())
    before = session(fixture.model.read_bytes())
    feeds = {**fixture.inputs, "target": fixture.target}
    for name, expected in fixture.gradients.items():
        found = runner.run([f"grad_{name}"], feeds)[0]
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()))
    for name in [value.name for value in before.get_outputs()]:
        expected, found = (r.run([name], f)[0] for r, f in ((before, fixture.inputs), (runner, feeds)))
        if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))
        else:
            assert np.all(np.array(found == expected))


def test_fixture_says_where_it_comes_from(fixture: Fixture) -> None:
    script = ROOT / fixture.script
    assert script.is_file()
    assert fixture.name.startswith(script.stem)
    assert fixture.versions.keys() >= {"onnx"}
    assert len(fixture.versions) >= 2
    assert all(version[0].isdigit() for version in fixture.versions.values())
    assert fixture.size < LARGEST
    assert fixture.refused or (fixture.gradients.keys() and len(fixture.target))


def test_every_producer_has_fixtures() -> None:
    scripts = {path.stem for path in (ROOT / "tests" / "producers").glob("*.py")} - {"fixture"}
    assert scripts == {Path(load(name).script).stem for name in NAMES}
    for name in scripts:
        ast.parse((ROOT / "tests" / "producers" / f"{name}.py").read_text(encoding="utf-8"))
