"""What all attribution methods share: names, options, variants of the model, maps."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import Explainer, InputError
from onnxplain.methods import METHODS, find_method
from onnxplain.methods.base import Method
from onnxplain.methods.gradients import GradientXInput
from onnxplain.model.attribution import Attribution

from support import small_models as small


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(metadata=small.image_metadata()), batch_size=2)


def test_every_method_is_listed_under_its_own_name() -> None:
    assert all(method.name == name and issubclass(method, Method) for name, method in METHODS.items())


def test_unknown_names_and_options_are_refused_with_those_that_exist(explainer: Explainer) -> None:
    with pytest.raises(InputError, match=r"'nonsense' is unknown; there are saliency"):
        explainer.attribute(small.inputs(1), 0, method="nonsense")
    with pytest.raises(InputError, match="'saliency' has no option 'samples'; it has none"):
        explainer.saliency(small.inputs(1), 0, samples=3)
    with pytest.raises(InputError, match="samples"):
        find_method(GradientXInput(), {"samples": 3})


def test_gradient_times_input(explainer: Explainer) -> None:
    x, targets = small.inputs(5), [0, 1, 2, 3, 4]
    expected = x * small.quadratic_gradient(x, targets)
    np.testing.assert_allclose(explainer.attribute(x, targets, method="gradient_x_input"), expected, rtol=1e-5)
    summed = np.abs(expected.sum(axis=1))
    maps = explainer.saliency(x, targets, normalize="none", method=GradientXInput())
    np.testing.assert_allclose(maps, summed, rtol=1e-4, atol=1e-6)


def test_signed_maps_of_photos_have_both_signs_and_the_photo_s_size(explainer: Explainer) -> None:
    photo = small.picture()
    found = explainer.explain(photo, 2, method="gradient_x_input")
    assert found.method == "gradient_x_input" and found.signed.shape == found.saliency.shape == photo.shape[:2]
    assert found.signed.min() < 0 < found.signed.max()
    assert explainer.explain(photo, 2).signed is None


def test_variants_are_differentiated_otherwise_and_loaded_once(explainer: Explainer) -> None:

    model, x = explainer._attributor, small.inputs(3)
    inner = model.variant(wrt=("squares",), values=("squares",))
    assert inner is model.variant(values=("squares",), wrt=("squares",))
    found: Attribution = inner.attribute({"x": x}, np.full(3, 1))
    np.testing.assert_allclose(found.tensors["squares"], x * x, rtol=1e-6)
    np.testing.assert_allclose(2 * x * found.attributions[0], small.quadratic_gradient(x, [1] * 3), rtol=1e-5)
    flat = model.variant(
        rules=(("Flatten", lambda emit, node, dy: emit.reshape_like(emit.Mul(dy, 2.0), node.input(0))),)
    )
    twice = flat.attribute({"x": x}, np.full(3, 1)).attributions[0]
    np.testing.assert_allclose(twice, 2 * small.quadratic_gradient(x, [1] * 3), rtol=1e-5)


def test_inner_tensors_that_do_not_exist_are_refused(explainer: Explainer) -> None:
    with pytest.raises(InputError, match="'nowhere'"):
        explainer._attributor.variant(values=("nowhere",))
