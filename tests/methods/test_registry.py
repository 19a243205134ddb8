"""Methods of one's own beside those of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer, InputError
from onnxplain.methods import METHODS, Method, register_method
from onnxplain.model.attribution import Attribution
from onnxplain.model.attributor import Attributor

from support import small_models as small


@dataclass(frozen=True)
class Scaled(Method):
    """The gradient times ``factor``."""

    factor: float = 2.0

    name = "scaled"

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Any], targets: Any) -> Attribution:
        found = attributor.attribute(feeds, targets)
        return found.with_attributions([self.factor * gradient for gradient in found.attributions])


def test_a_registered_method_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "scaled", Scaled)  # so that it goes again at the end
    assert register_method(Scaled) is Scaled
    explainer, x = Explainer(small.quadratic()), small.inputs(2)
    found = explainer.attribute(x, 1, "scaled", factor=3.0)
    np.testing.assert_allclose(found, 3 * small.quadratic_gradient(x, [1, 1]), rtol=1e-6)
    noisy = explainer.attribute(x, 1, "smoothgrad", base="scaled", samples=2, noise=0.0)
    np.testing.assert_allclose(noisy, 2 * small.quadratic_gradient(x, [1, 1]), rtol=1e-6)


def test_what_is_no_method_of_its_own_is_refused() -> None:
    @dataclass(frozen=True)
    class Saliency(Scaled):
        name = "saliency"

    @dataclass(frozen=True)
    class Nameless(Method):
        attribute = Scaled.attribute

    before = dict(METHODS)
    with pytest.raises(InputError, match="the name 'saliency' is that of"):
        register_method(Saliency)
    with pytest.raises(InputError, match=r"Nameless\.name is the name of the method"):
        register_method(Nameless)
    with pytest.raises(InputError, match="a method is a subclass"):
        register_method(int)  # type: ignore[type-var]
    assert before == METHODS
