"""Broadcasting to extents that only the run knows, undone over axes that are known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.constant_axes import constant_axes
from onnxplain.autodiff.forms.order import PASSES

from support.gradient_passes import gradient_operators, run
from support.graphs import FLOAT, build

NAME = "constant_axes"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (constant_axes,))


def sums(b: list[int | str]) -> onnx.ModelProto:
    """y = a b, where the file does not say how b is broadcast."""
    node = helper.make_node("Mul", ["a", "b"], ["y"])
    return build([node], [("a", FLOAT, ["N", "p", "q"]), ("b", FLOAT, b)], [("y", FLOAT, ["N", None, None])])


@pytest.mark.parametrize(
    ("names", "extents"),
    [
        (["N", "r", "s"], (2, 3, 4)),
        (["N", "r", "s"], (2, 1, 4)),
        (["N", "r", "s"], (2, 3, 1)),
        (["N", "r", "s"], (2, 1, 1)),
        (["r", "s"], (1, 4)),
        (["s"], (1,)),
        (["s"], (4,)),
    ],
)
def test_same_gradient(names: list[int | str], extents: tuple[int, ...]) -> None:
    rng, model = np.random.default_rng(0), sums(names)
    feeds = {
        "a": rng.standard_normal((2, 3, 4)).astype(np.float32),
        "b": rng.standard_normal(extents).astype(np.float32),
        "cotangent": rng.standard_normal((2, 3, 4)).astype(np.float32),
    }
    made = differentiate(model, "cotangent", form="cpu", wrt=["a", "b"])
    assert not {"NonZero", "Size"} & set(gradient_operators(made))
    found, expected = (run(m, feeds, "ORT_ENABLE_ALL") for m in (made, differentiate(model, "cotangent", form="cuda")))
    for name in ("grad_a", "grad_b"):
        assert found[name].shape == expected[name].shape
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_numbers_of_elements_are_constants() -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Compress", ["f", "keep"], ["y"], axis=1)]
    keep = {"keep": np.array([True, False, True, False])}
    model = build(nodes, [("x", FLOAT, [1, 2, 2])], [("y", FLOAT, [1, 2])], keep)
    assert "Size" not in gradient_operators(differentiate(model, "cotangent", form="cpu"))


def test_the_portable_form_has_it() -> None:
    assert constant_axes in PASSES["portable"]
