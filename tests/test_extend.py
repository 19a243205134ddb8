"""Methods of one's own, by a name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxplain
from onnxplain import Explainer, InputError
from onnxplain.extend import Method, register_method
from onnxplain.methods import METHODS
from onnxplain.methods.gradients import Saliency

from support import REPOSITORY
from support import small_models as small
from support.command_line import Runner

DOCS = REPOSITORY / "docs" / "custom_rules.md"


@pytest.fixture(autouse=True)
def own_methods() -> Iterator[None]:
    """Every test leaves the methods as they were."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def registered() -> type[Method]:
    @register_method
    @dataclass(frozen=True)
    class Halved(Saliency):
        name = "halved"
        share: float = 0.5

        def attribute(self, model, feeds, targets):  # type: ignore[no-untyped-def]
            found = model.attribute(feeds, targets)
            return found.with_attributions([self.share * one for one in found.attributions])

        def for_maps(self, model):  # type: ignore[no-untyped-def]
            return model

    return Halved


def test_a_method_is_called_by_its_name() -> None:
    method, explainer, x = registered(), Explainer(small.quadratic()), small.inputs(2)
    np.testing.assert_allclose(explainer.attribute(x, 1, "halved"), explainer.attribute(x, 1) / 2)
    np.testing.assert_array_equal(explainer.attribute(x, 1, "halved", share=1.0), explainer.attribute(x, 1))
    np.testing.assert_allclose(explainer.saliency(x, 1, method="halved"), explainer.saliency(x, 1), rtol=1e-6)
    with pytest.raises(InputError, match="its options are share"):
        explainer.attribute(x, 1, "halved", part=1.0)
    assert METHODS["halved"] is method


def test_the_command_line_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registered()
    run = Runner(tmp_path, monkeypatch, capsys)
    model = small.quadratic(metadata=small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(small.picture()).save("photo.png")
    arguments = ("--method", "saliency,halved", "--set", "halved.share=2")
    assert run("explain", "model.onnx", "photo.png", *arguments, "--quiet") == (0, "", "")
    assert {"photo_saliency.png", "photo_halved.png"} <= run.files()


@dataclass(frozen=True)
class Named(Saliency):
    name = "saliency"


@dataclass(frozen=True)
class Wordless(Saliency):
    name = "two words"


class Abstract(Method):
    name = "abstract"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Named, "the name 'saliency' is that of onnxplain.methods.gradients.Saliency; choose another"),
        (Wordless, "Wordless.name is the name of the method.*'two words'"),
        (Abstract, "a subclass of onnxplain.extend.Method with attribute()"),
        (dict, "a subclass of onnxplain.extend.Method.*found <class 'dict'>"),
        (Saliency(), r"a subclass of onnxplain.extend.Method.*found Saliency\(\)"),
    ],
)
def test_what_is_refused(method: object, message: str) -> None:
    before = dict(METHODS)
    with pytest.raises(InputError, match=message):
        register_method(method)  # type: ignore[type-var]
    assert before == METHODS


def test_a_cell_of_a_notebook_runs_again() -> None:
    first = type("Halved", (Saliency,), {"name": "halved", "__module__": "__main__"})
    again = type("Halved", (Saliency,), {"name": "halved", "__module__": "__main__"})
    assert register_method(first) is first and register_method(again) is again
    assert METHODS["halved"] is again


def test_the_page_registers_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (source,) = [block for block in blocks if "register_method" in block]
    code, usage = source.split("\nexplainer = ")
    scope = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    exec(code, scope)
    assert usage.startswith("onnxplain.Explainer(")
    explainer, x = Explainer(small.quadratic()), small.inputs(2)
    gradient = explainer.attribute(x, 1)
    found = explainer.attribute(x, 1, "gradient_power", power=3.0)
    np.testing.assert_allclose(found, np.abs(gradient) ** 3, rtol=1e-6)


def test_the_module_is_public() -> None:
    assert "extend" in dir(onnxplain) and onnxplain.extend.register_method is register_method
    assert all(hasattr(onnxplain.extend, name) for name in onnxplain.extend.__all__)
