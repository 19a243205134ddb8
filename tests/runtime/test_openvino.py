"""OpenVINO as the runtime: the same numbers as ONNX Runtime's, its own cache, and what it refuses."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, InputError, ModelError, ProviderError, RuntimeMissingError, StoppedError, Target
from onnxplain.methods import METHODS
from onnxplain.runtime import Stop, stoppable

from support import small_models as small
from support.command_line import Runner
from support.detectors import CLASSES, yolov8

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed; the extra test brings it")

#: Of the largest element.
TOLERANCE = 1e-4
SIDE = 24


def network(batch: int | str = "N", side: int | str = SIDE) -> onnx.ModelProto:
    """Convolutions with strides, depthwise and square ones, ReLU6, max pooling and a residual; five classes."""
    rng, nodes, weights = np.random.default_rng(3), [], {}

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def convolve(x: str, outputs: int, inputs: int, extent: int, **attributes: Any) -> str:
        name = f"w{len(weights)}"
        shape = (outputs, inputs, extent, extent)
        weights[name] = (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        return add("Conv", x, name, pads=[extent // 2] * 4, **attributes)

    x = add("Clip", convolve("x", 8, 3, 3, strides=[2, 2]), "zero", "six")
    x = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    inner = add("Clip", convolve(x, 8, 1, 3, group=8), "zero", "six")
    x = add("Add", x, convolve(inner, 8, 8, 1))
    x = add("Relu", convolve(x, 12, 8, 3, strides=[2, 2]))
    weights["W"] = rng.standard_normal((12, 5)).astype(np.float32)
    rows = add("Flatten", add("GlobalAveragePool", x))
    nodes.append(helper.make_node("MatMul", [rows, "W"], ["logits"]))
    constants = {**weights, "zero": np.float32(0), "six": np.float32(6)}
    shape = [batch, 3, side, side]
    return small.build(nodes, [("x", TensorProto.FLOAT, shape)], [("logits", TensorProto.FLOAT, [batch, 5])], constants)


def photos(count: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, side, side)).astype(np.float32)


def loaded(model: Any, **options: Any) -> Explainer:
    return Explainer(model, runtime="openvino", **{"cache": False, **options})


def usual(model: Any, **options: Any) -> Explainer:
    return Explainer(model, cache=False, threads=1, **options)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.max(np.abs(found - expected)) <= TOLERANCE * np.max(np.abs(expected))


@pytest.fixture(scope="module")
def both() -> tuple[Explainer, Explainer]:
    return loaded(network()), usual(network())


def test_the_bundled_classifier_has_the_same_map() -> None:
    """Its last weights are int8, with one scale for each class."""
    x = photos(1, 224)
    mine, theirs = loaded(None), usual(None)
    assert mine.provider == "OpenVINO" and theirs.provider == "CPUExecutionProvider"
    assert_same(mine.scores(x), theirs.scores(x))
    assert_same(mine.saliency(x, 281), theirs.saliency(x, 281))


def test_closed_form() -> None:
    x = small.inputs(3)
    np.testing.assert_allclose(
        loaded(small.quadratic()).attribute(x, 1), small.quadratic_gradient(x, [1] * 3), rtol=1e-5
    )


@pytest.mark.parametrize("count", [1, 2, 3, 9, 20])
def test_any_batch(both: tuple[Explainer, Explainer], count: int) -> None:
    """More sizes than OpenVINO compiles a model for; the last ones share one."""
    mine, theirs = both
    x, targets = photos(count), [row % 5 for row in range(count)]
    assert_same(mine.attribute(x, targets), theirs.attribute(x, targets))
    assert_same(mine.saliency(x), theirs.saliency(x))
    assert_same(mine.scores(x), theirs.scores(x))


@pytest.mark.parametrize("method", [name for name in METHODS if not name.startswith("attention")])
def test_every_method(both: tuple[Explainer, Explainer], method: str) -> None:
    x = photos(2)
    options = {"references": photos(4)} if method == "expected_gradients" else {}
    assert_same(*(one.attribute(x, [1, 3], method, **options) for one in both))


def test_open_height_and_width() -> None:
    model = network(side="S")
    mine, theirs = loaded(model), usual(model)
    for side in (16, 24, 31, 33, 40):
        assert_same(mine.attribute(photos(2, side), 1), theirs.attribute(photos(2, side), 1))


def test_a_fixed_batch_is_filled_up() -> None:
    mine, theirs = loaded(network(batch=4)), usual(network(batch=4))
    assert_same(mine.saliency(photos(6), 2), theirs.saliency(photos(6), 2))


def test_batch_size_and_threads() -> None:
    mine = loaded(network(), batch_size=3, threads=1)
    assert mine.plan(photos(1)).samples == 3
    assert_same(mine.saliency(photos(7), 2), usual(network()).saliency(photos(7), 2))


def test_several_classes_of_a_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    model = network()
    stated = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": [SIDE, SIDE]}
    found = [f(model, preprocessing=stated).explain(photo, "top3") for f in (loaded, usual)]
    for a, b in zip(*found):
        assert a.target == b.target
        assert_same(a.saliency_input, b.saliency_input)


def test_a_detector() -> None:
    mine, theirs = (f(yolov8(), layout="yolov8") for f in (loaded, usual))
    shape = mine.inputs[0].shape
    x = np.random.default_rng(0).random((1, *map(int, shape[1:])), dtype=np.float32)
    ours, others = mine.detect(x, threshold=0.01, limit=5), theirs.detect(x, threshold=0.01, limit=5)
    assert ours and [d.label for d in ours] == [d.label for d in others]
    assert_same(mine.attribute(x, ours[0]), theirs.attribute(x, others[0]))
    assert_same(mine.attribute(x, Target(CLASSES - 1, at="best")), theirs.attribute(x, Target(CLASSES - 1, at="best")))


def test_tokens() -> None:
    ids = np.array([[1, 2, 0], [5, 4, 3]])
    assert_same(*(f(small.tokens()).attribute(ids, 1) for f in (loaded, usual)))


def test_weights_that_stay_in_files(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    for _ in range(2):  # the second one comes out of the cache
        found = loaded(tmp_path / "m.onnx", cache=tmp_path / "cache").saliency(photos(2), 1)
        assert_same(found, usual(network()).saliency(photos(2), 1))


def test_several_threads_ask_at_once(both: tuple[Explainer, Explainer]) -> None:
    mine, theirs = both
    expected = [theirs.attribute(photos(n), 1) for n in range(1, 9)]
    found: list[Any] = [None] * 8

    def ask(n: int) -> None:
        found[n] = mine.attribute(photos(n + 1), 1)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected):
        assert_same(a, b)


def compilations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with every model that OpenVINO compiles."""
    from onnxplain.runtime import openvino as ours

    seen: list[object] = []
    core = ours._core()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            if name == "compile_model":
                seen.append(name)
            return getattr(core, name)

    monkeypatch.setattr(ours, "_core", Watched)
    return seen


def test_what_was_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compilations(monkeypatch)
    first = loaded(network(), cache=tmp_path).saliency(photos(2), 1)
    assert len(seen) == 1
    again = loaded(network(), cache=tmp_path).saliency(photos(2), 1)
    assert len(seen) == 1
    np.testing.assert_array_equal(first, again)
    loaded(network(), cache=tmp_path).saliency(photos(1), 1)
    assert len(seen) == 2


def test_a_damaged_entry_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(network(), cache=tmp_path).saliency(photos(2), 1)
    blobs = list(tmp_path.rglob("compiled.blob"))
    assert len(blobs) == 1
    blobs[0].write_bytes(blobs[0].read_bytes()[:100])
    seen = compilations(monkeypatch)
    np.testing.assert_array_equal(loaded(network(), cache=tmp_path).saliency(photos(2), 1), first)
    assert len(seen) == 1


def test_an_entry_of_another_build_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(network(), cache=tmp_path).saliency(photos(2), 1)
    entry = next(tmp_path.rglob("compiled.blob")).parent
    (entry / "compiled.blob").write_bytes(b"nothing that OpenVINO exported")
    from onnxplain.runtime import cache

    (entry / "checksums.json").write_text(json.dumps({"compiled.blob": cache._checksum(entry / "compiled.blob")}))
    seen = compilations(monkeypatch)
    np.testing.assert_array_equal(loaded(network(), cache=tmp_path).saliency(photos(2), 1), first)
    assert len(seen) == 1


def test_the_cache_goes_away_under_a_loaded_model(tmp_path: Path) -> None:
    loaded(network(), cache=tmp_path).saliency(photos(2), 1)
    explainer = loaded(network(), cache=tmp_path)
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert_same(explainer.saliency(photos(3), 1), usual(network()).saliency(photos(3), 1))


# What is refused


def test_providers_are_those_of_onnx_runtime() -> None:
    with pytest.raises(InputError, match="providers are those of ONNX Runtime; leave them out"):
        loaded(small.quadratic(), providers="CPUExecutionProvider")


def test_there_are_two_runtimes() -> None:
    with pytest.raises(InputError, match="runtime must be 'onnxruntime' or 'openvino'; found 'tensorrt'"):
        Explainer(small.quadratic(), runtime="tensorrt")


def test_a_property_that_openvino_does_not_have() -> None:
    with pytest.raises(InputError, match="NONSENSE"):
        loaded(small.quadratic(), session_options={"NONSENSE": 1}).saliency(small.inputs(1), 1)


def test_properties_are_handed_on() -> None:
    explainer = loaded(small.quadratic(), session_options={"INFERENCE_NUM_THREADS": 1})
    explainer.attribute(small.inputs(1), 1)
    compiled = next(iter(explainer._attributor.session.session._compiled.values()))._compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


def test_without_openvino_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "onnxplain\[openvino\]"'):
        loaded(small.quadratic())


def test_without_onnx_runtime_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    x = small.inputs(2)
    np.testing.assert_allclose(
        loaded(small.quadratic()).attribute(x, 1), small.quadratic_gradient(x, [1] * 2), rtol=1e-5
    )


def test_a_model_that_openvino_runs_wrongly_is_refused() -> None:
    """HardSigmoid with beta = 0, which it reads as 0.5."""
    nodes = [
        helper.make_node("HardSigmoid", ["x"], ["h"], alpha=1.0, beta=0.0),
        helper.make_node("MatMul", ["h", "W"], ["logits"]),
    ]
    shapes = [("x", TensorProto.FLOAT, ["N", 4])], [("logits", TensorProto.FLOAT, ["N", 3])]
    model = small.build(nodes, *shapes, {"W": np.ones((4, 3), np.float32)})
    with pytest.raises(ModelError, match=r"openvino returns wrong numbers: HardSigmoid with beta = 0.*onnxruntime"):
        loaded(model)


def test_a_model_that_openvino_cannot_read_is_refused() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["s"]),
        helper.make_node("Det", ["s"], ["d"]),
        helper.make_node("Unsqueeze", ["d", "one"], ["logits"]),
    ]
    shapes = [("x", TensorProto.FLOAT, ["N", 3, 3])], [("logits", TensorProto.FLOAT, ["N", 1])]
    with pytest.raises(ProviderError, match=r"OpenVINO cannot read the model: .*Det"):
        loaded(small.build(nodes, *shapes, {"one": np.array([1])}))


def test_a_run_is_stopped() -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h0"])]
    for step in range(600):
        nodes.append(helper.make_node("MatMul", [f"h{step}", "M"], [f"p{step}"]))
        nodes.append(helper.make_node("Tanh", [f"p{step}"], [f"h{step + 1}"]))
    random = np.random.default_rng(0)
    constants = {name: random.standard_normal((768, 768)).astype(np.float32) / 28 for name in "WM"}
    shape = ["N", 768]
    model = small.build(nodes, [("x", TensorProto.FLOAT, shape)], [("h600", TensorProto.FLOAT, shape)], constants)
    from onnxplain.runtime.openvino import OpenVinoSession

    session = OpenVinoSession(lambda: model, threads=1)
    x = np.ones((512, 768), np.float32)
    session.run({"x": x[:1]}, ["h600"])
    session._compiled_for((x.shape,), {"x": x})
    stop = Stop()
    threading.Timer(0.3, stop.stop).start()
    with pytest.raises(StoppedError, match="while it ran"), stoppable(stop):
        session.run({"x": x}, ["h600"])
    assert session.run({"x": x[:1]}, ["h600"])[0].shape == (1, 768)


# The command line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    from PIL import Image

    model = small.quadratic(ending="Softmax", metadata=small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(small.picture()).save(tmp_path / "photo.png")
    return Runner(tmp_path, monkeypatch, capsys)


def test_explain_takes_the_runtime(run: Runner) -> None:
    found = run("explain", "model.onnx", "photo.png", "--json", "--runtime", "openvino")
    document = json.loads(found.out)
    assert document["provider"] == "OpenVINO" and document["results"][0]["files"]
    assert "onnxruntime" not in document["results"][0]["versions"] and document["results"][0]["versions"]["openvino"]
    (run.folder / "record.json").write_text(found.out)
    again = run("explain", "--again", "record.json", "--json")
    assert again.code == 0 and json.loads(again.out)["provider"] == "OpenVINO"
    refused = run("explain", "model.onnx", "photo.png", "--runtime", "openvino", "--provider", "cpu")
    assert refused.code == 1 and "providers are those of ONNX Runtime" in refused.err


def test_bench_compares_what_is_installed(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxplain.cli import timing

    monkeypatch.setattr(timing, "_SECONDS", 0.1)
    bench = json.loads(run("check", "model.onnx", "--bench", "--json").out)["bench"]
    assert bench["runtime"] == "onnxruntime" and list(bench["others"]) == ["openvino"]
    assert [row["batch"] for row in bench["others"]["openvino"]["timings"]] == [1, 8, 32]
    assert bench["take"] in ("onnxruntime", "openvino") and not bench["problems"]
    text = run("check", "model.onnx", "--bench")
    assert "openvino takes, of the time of onnxruntime:" in text.out and "take --runtime" in text.out
    alone = json.loads(run("check", "model.onnx", "--bench", "--json", "--runtime", "openvino").out)["bench"]
    assert alone["runtime"] == "openvino" and not alone["others"]
    monkeypatch.setitem(sys.modules, "openvino", None)
    text = run("check", "model.onnx", "--bench")
    assert "not timed: openvino: OpenVINO is missing" in text.out
