"""One attributor in several threads: nothing of it is replaced while they run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer, TargetError
from onnxplain.model import loading
from onnxplain.runtime import CPU

from support import small_models as small

THREADS = 8
X = np.array([[1, 0, 2, 0, 3, 4], [1, 0, 5, 0, 3, 4]], np.float32)


def at_once(function: Any) -> list[Any]:
    """What ``function(number)`` returns in eight threads that start together."""
    barrier = Barrier(THREADS)

    def run(number: int) -> Any:
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_the_number_of_classes_is_learned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = Explainer(small.open_classes(), threads=1)
    attributor, asked = explainer._attributor, list[int]()
    before, class_scores = attributor.classes, attributor.class_scores

    def counted(feeds: Any) -> Any:
        asked.append(len(feeds))
        return class_scores(feeds)

    monkeypatch.setattr(attributor, "class_scores", counted)
    found = at_once(lambda number: explainer.attribute(X, number % 4))
    for number, gradient in enumerate(found):
        column = [0, 2, 4, 5][number % 4]
        np.testing.assert_array_equal(gradient, np.eye(6)[[column, column]])
    assert len(asked) == 1
    assert attributor.classes is before
    with pytest.raises(TargetError, match=r"target 4 is out of range.*0\.\.3"):
        explainer.attribute(X, 4)
    assert len(asked) == 1


def test_maps_and_gradients_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are reduced in the graph, gradients are not, and neither sees the other's outputs."""
    monkeypatch.setitem(loading._FORMS, CPU, "cuda")
    explainer, x = Explainer(small.quadratic(), cache=False, threads=1), small.inputs(3)
    found = at_once(
        lambda number: (
            explainer.saliency(x, number % 5, normalize="none")
            if number % 2
            else np.abs(explainer.attribute(x, number % 5)).max(axis=1)
        )
    )
    for number, maps in enumerate(found):
        expected = np.abs(small.quadratic_gradient(x, [number % 5] * 3)).max(axis=1)
        np.testing.assert_allclose(maps, expected, rtol=1e-6)


def test_what_reduces_maps_is_an_attributor_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loading._FORMS, CPU, "cuda")
    attributor = Explainer(small.quadratic(), cache=False)._attributor
    reduced = attributor.magnitudes
    assert reduced is attributor.magnitudes and reduced.session is attributor.session
    assert [g.output for g in reduced.gradients] == ["magnitude_x"]
    assert [g.output for g in attributor.gradients] == ["grad_x"]
    assert reduced.gradient_axes == {"x": None} and attributor.gradient_axes == {"x": 1}
    assert not {name for name in vars(reduced) if "lock" in name and vars(reduced)[name] is vars(attributor)[name]}
