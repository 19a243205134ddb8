"""The options of pictures: one definition, which says what the functions take."""

from __future__ import annotations

import inspect

import pytest

from onnxplain.pictures import PictureOptions, contour_image, heatmap, overlay_image

FUNCTIONS = {"overlay": overlay_image, "heatmap": heatmap, "contour": contour_image}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_every_option_of_a_function_is_defined_with_its_type(kind: str) -> None:
    options = [one for one in inspect.signature(FUNCTIONS[kind]).parameters.values() if one.kind is one.KEYWORD_ONLY]
    defined = {name: hint.__forward_arg__ for name, hint in PictureOptions.__annotations__.items()}
    assert options
    for one in options:
        assert defined.get(one.name) == one.annotation, one


def test_every_definition_is_an_option_of_a_function() -> None:
    taken = {name for function in FUNCTIONS.values() for name in inspect.signature(function).parameters}
    assert set(PictureOptions.__annotations__) <= taken
