"""Several questions about a sample: the same numbers as one after the other, by one pass forwards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Box, Explainer, Target
from onnxplain.autodiff.explainable import DifferentiatedModel
from onnxplain.runtime import ModelCache, Session
from onnxplain.runtime.halves import Halves

from support import detectors
from support import small_models as small
from support.detectors import FAMILIES, Net

LABELS = ("red", "green", "blue", "cat", "dog")
SIDE = 16
X = np.random.default_rng(3).standard_normal((5, 3, SIDE, SIDE)).astype(np.float32)


def network(batch: int | str = "N") -> onnx.ModelProto:
    """Convolutions, ReLUs, a max pool and a global average: x [N,3,16,16] -> logits [N,5]."""
    net = Net(20)

    def convolved(x: str, inputs: int, outputs: int) -> str:
        weights = net.random.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
        return net.op("Relu", net.op("Conv", x, net.constant(weights), pads=[1, 1, 1, 1]))

    pooled = net.op("MaxPool", convolved("x", 3, 8), kernel_shape=[2, 2], strides=[2, 2])
    means = net.op("Flatten", net.op("GlobalAveragePool", convolved(pooled, 8, 16)))
    net.op("Gemm", means, net.constant(net.random.standard_normal((16, 5))), name="logits")
    model = net.model({"logits": [batch, 5]}, [batch, 3, SIDE, SIDE])
    onnx.helper.set_model_props(model, small.image_metadata(SIDE, LABELS))
    return model


class Passes:
    """Counts the passes of all halves of models, and the runs of whole ones that compute gradients."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        halves, run = Halves.run, Session.run

        def watched(this: Halves, feeds: Any, outputs: Any, kept: Any) -> Any:
            self.counts["forward"] += not kept
            found = halves(this, feeds, outputs, kept)
            self.counts["backward"] += not set(outputs) <= kept.keys()
            return found

        def watched_whole(this: Session, feeds: Any, outputs: Any) -> Any:
            self.counts["whole" if any(name.startswith("grad_") for name in outputs) else "scores"] += 1
            return run(this, feeds, outputs)

        monkeypatch.setattr(Halves, "run", watched)
        monkeypatch.setattr(Session, "run", watched_whole)

    def taken(self) -> dict[str, int]:
        found, self.counts = dict(+self.counts), Counter()
        return found


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(network())


ONE_GRADIENT = ["saliency", "gradient_x_input", "grad_cam", "hires_cam", "guided_backprop", "deconvnet"]


@pytest.mark.parametrize("method", [*ONE_GRADIENT, "guided_grad_cam"])
def test_the_best_classes_are_those_of_separate_runs(method: str, explainer: Explainer, passes: Passes) -> None:
    best = np.argsort(-explainer.scores(X[:1])[0], kind="stable")[:3]
    separate = [explainer.attribute(X[:1], int(target), method)[0] for target in best]
    passes.taken()
    explainer.attribute(X[:1], "top3", method)
    models = 2 if method == "guided_grad_cam" else 1
    assert passes.taken() == {"whole": 3 * models}  # the first time, to load halves would take longer
    found = explainer.attribute(X[:1], "top3", method)
    assert passes.taken() == {"forward": models, "backward": 3 * models}
    np.testing.assert_array_equal(found[0], separate)


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients", "occlusion", "rise"])
def test_methods_that_move_the_input_run_as_before(method: str, explainer: Explainer, passes: Passes) -> None:
    first = explainer.attribute(X[:1], ["cat", "dog"], method)
    before = passes.taken()
    np.testing.assert_array_equal(explainer.attribute(X[:1], ["cat", "dog"], method), first)
    assert passes.taken() == before
    separate = [explainer.attribute(X[:1], one, method)[0] for one in ("cat", "dog")]
    np.testing.assert_array_equal(first[0], separate)


TARGETS = {
    "classes": ["red", 2, "dog"],
    "comparisons": [Target("cat", versus="dog"), Target("red", versus="blue"), Target(versus="green")],
    "weights": [Target(weights=np.eye(5, dtype=np.float32)[k]) for k in range(3)],
    "similarities": [Target(like=np.eye(5, dtype=np.float32)[k]) for k in range(3)],
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_all_kinds_of_targets_share(targets: list[Any], explainer: Explainer, passes: Passes) -> None:
    separate = [explainer.attribute(X[:1], [one])[0] for one in targets]
    explainer.attribute(X[:1], targets)
    passes.taken()
    found = explainer.attribute(X[:1], targets)
    assert passes.taken() == {"forward": 1, "backward": 3}
    np.testing.assert_array_equal(found[0], np.stack(separate)[:, 0] if found.ndim < np.ndim(separate) else separate)


def test_one_target_loads_and_runs_what_it_did(explainer: Explainer, passes: Passes) -> None:
    for target in (None, "cat", ["cat"], "top1", Target("cat", versus="dog")):
        for _ in range(3):
            explainer.attribute(X[:1], target)
            assert passes.taken() == {"whole": 1}


def test_a_single_question_of_another_kind_is_not_cut(explainer: Explainer, passes: Passes) -> None:
    targets = ["cat", "dog", Target("cat", versus="dog")]
    first = explainer.attribute(X[:1], targets)
    passes.taken()
    found = explainer.attribute(X[:1], targets)
    assert passes.taken() == {"forward": 1, "backward": 2, "whole": 1}
    np.testing.assert_array_equal(found, first)


def test_a_batch_shares_run_by_run(explainer: Explainer, passes: Passes) -> None:
    best = np.argsort(-explainer.scores(X), axis=1, kind="stable")[:, :2]
    separate = [explainer.attribute(X, best[:, rank]) for rank in range(2)]
    explainer.attribute(X, "top2")
    passes.taken()
    found = explainer.attribute(X, "top2")
    taken = passes.taken()
    assert taken.keys() == {"forward", "backward"} and taken["backward"] == 2 * taken["forward"]
    np.testing.assert_array_equal(found, np.stack(separate, axis=1))


def test_a_fixed_batch_is_filled_up() -> None:
    explainer = Explainer(network(batch=4))
    first = explainer.attribute(X[:3], "top2")
    np.testing.assert_array_equal(explainer.attribute(X[:3], "top2"), first)
    np.testing.assert_allclose(first, Explainer(network()).attribute(X[:3], "top2"), rtol=1e-4, atol=1e-5)


def test_photos_in_threads(explainer: Explainer, passes: Passes) -> None:
    photos = [small.picture(20, 24, seed=seed) for seed in range(8)]
    found = list(explainer.stream(photos, "top3"))
    assert passes.taken().keys() <= {"forward", "backward"} or explainer._attributor.session.workers == 1
    for several, photo in zip(found, photos):
        for one in several:
            alone = explainer.explain(photo, one.target)
            np.testing.assert_allclose(one.attribution, alone.attribution, rtol=1e-4, atol=1e-6)
            assert (one.score, one.label) == (pytest.approx(alone.score, rel=1e-5), alone.label)


@pytest.mark.parametrize("family", ["yolov5", "yolov8", "nanodet", "detr"])
def test_detections_share_the_pass_that_finds_them(family: str, passes: Passes) -> None:
    one = FAMILIES[family]
    explainer = Explainer(one.build(), layout=one.layout)
    x = np.random.default_rng(1).standard_normal((1, *detectors.USUAL[1:])).astype(np.float32)
    found = explainer.detect(x, threshold=0.0, limit=3)
    assert len(found) == 3
    separate = [explainer.attribute(x, detection) for detection in found]
    box = Target(versus=Target(at="best"), at=Box(0, 0, 16, 16))
    comparison = [explainer.attribute(x, box) for _ in range(2)]
    np.testing.assert_array_equal(*comparison)
    passes.taken()
    np.testing.assert_array_equal(explainer.attribute(x, found), np.stack(separate, axis=1))
    assert passes.taken() == {"forward": 1, "backward": 3}
    np.testing.assert_array_equal(explainer.attribute(x, found[1]), separate[1])
    assert passes.taken() == {"forward": 1, "backward": 1}
    explainer.attribute(x, box)
    assert passes.taken() == {"forward": 1, "backward": 1}


def test_the_cache_holds_both_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: Passes) -> None:
    def explained() -> np.ndarray:
        explainer = Explainer(network(), cache=tmp_path)
        return np.asarray([explainer.attribute(X[:1], "top3") for _ in range(2)][1])

    first, entries = explained(), ModelCache(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*ward.onnx")) == ["backward.onnx", "forward.onnx"]
    assert entries.count() == 2
    for path in tmp_path.rglob("model.onnx"):
        path.unlink()  # so that the halves can only be those of the cache
    built: list[Any] = []
    build = DifferentiatedModel.build
    monkeypatch.setattr(DifferentiatedModel, "build", lambda *given: (built.append(given), build(*given))[1])
    passes.taken()
    np.testing.assert_array_equal(explained(), first)
    assert passes.taken() == {"whole": 3, "forward": 1, "backward": 3}
    assert len(built) == 1
    for path in tmp_path.rglob("forward.onnx"):
        path.write_bytes(path.read_bytes()[:-40])
    np.testing.assert_array_equal(explained(), first)
    assert entries.count() == 2


def test_without_a_cache_and_where_nothing_can_be_written(
    explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: Passes
) -> None:
    expected = explainer.attribute(X[:1], "top3")
    for cache in (False, tmp_path / "file"):
        (tmp_path / "file").touch()
        other = Explainer(network(), cache=cache)
        other.attribute(X[:1], "top3")
        passes.taken()
        np.testing.assert_array_equal(other.attribute(X[:1], "top3"), expected)
        assert passes.taken() == {"forward": 1, "backward": 3}

    def full(*given: Any, **options: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(onnx, "save", full)
    other = Explainer(network(), cache=False)
    for _ in range(3):
        np.testing.assert_array_equal(other.attribute(X[:1], "top3"), expected)
        assert passes.taken() == {"whole": 3}


def test_weights_in_files_of_their_own_are_not_copied(tmp_path: Path, passes: Passes) -> None:
    file = tmp_path / "model.onnx"
    onnx.save_model(network(), file, save_as_external_data=True, location="weights", size_threshold=0)
    explainer = Explainer(file)
    for _ in range(3):
        explainer.attribute(X[:1], "top3")
        assert passes.taken().keys() <= {"whole", "forward", "backward"}


def test_a_file_that_was_replaced_is_not_cut(tmp_path: Path) -> None:
    """Halves are made late: those of another model would answer beside this one, and for it out of the cache."""
    path, cache = tmp_path / "model.onnx", ModelCache(tmp_path / "models")
    model, other = network(), network()
    weights = next(t for t in other.graph.initializer if list(t.dims) == [8, 3, 3, 3])
    weights.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights), weights.name))
    onnx.save(model, path)
    explainer = Explainer(path, cache=cache.folder)
    expected = explainer.attribute(X[:1], "top3")
    cache.clear()
    onnx.save(other, path)
    np.testing.assert_array_equal(explainer.attribute(X[:1], "top3"), expected)
    onnx.save(model, path)
    later = Explainer(path, cache=cache.folder)
    for _ in range(2):  # the second time by halves
        np.testing.assert_array_equal(later.attribute(X[:1], "top3"), expected)


@pytest.mark.parametrize("kept", [True, False], ids=["cache", "no cache"])
def test_a_file_that_has_gone_is_not_missed(kept: bool, tmp_path: Path) -> None:
    path, cache = tmp_path / "model.onnx", ModelCache(tmp_path / "models")
    onnx.save(network(), path)
    explainer = Explainer(path, cache=cache.folder if kept else False)
    expected = explainer.attribute(X[:1], "top3")
    cache.clear()
    path.unlink()
    np.testing.assert_array_equal(explainer.attribute(X[:1], "top3"), expected)
