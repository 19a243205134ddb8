"""The methods of ``--method`` and their options of ``--set``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

import click

from .common import say

if TYPE_CHECKING:
    from ..methods import Method


#: What ``--method`` takes for the list of all methods.
_HELP = ("help", "?")

#: A line for each method; others, which users register, have the first line of their docstring.
SUMMARIES = {
    "saliency": "the gradient of the score, the largest of the channels; one pass (Simonyan et al. 2013)",
    "gradient_x_input": "gradient times input: the first-order share of every value",
    "smoothgrad": "the mean of gradients of noisy copies: less noise",
    "smoothgrad_squared": "the mean of squared gradients of noisy copies: larger contrast",
    "vargrad": "the variance of gradients of noisy copies",
    "integrated_gradients": "gradients along a line from a baseline; the shares add up to the score",
    "blur_integrated_gradients": "gradients along a path from the blurred photo to the sharp one",
    "guided_integrated_gradients": "gradients along a path that avoids noisy directions",
    "expected_gradients": "integrated gradients over several baselines",
    "grad_cam": "the last feature map, channels weighted by their gradients: coarse, on the object",
    "grad_cam_plus_plus": "Grad-CAM with weights for several objects of a class",
    "layer_cam": "feature maps weighted place by place; also for early layers",
    "hires_cam": "Grad-CAM without averaging gradients over places",
    "xgrad_cam": "Grad-CAM whose map adds up to the score of networks without biases",
    "guided_backprop": "only positive gradients pass ReLUs: sharp, says little about the class",
    "deconvnet": "the backward pass of Zeiler and Fergus 2014",
    "guided_grad_cam": "guided backpropagation where Grad-CAM is",
    "attention_rollout": "attention of a transformer, followed through all layers; the same for all classes",
    "attention_relevance": "attention of a transformer, weighted by its gradient",
    "occlusion": "what the score loses where a window hides the photo; needs no gradients",
    "rise": "the mean of random masks weighted by their scores; needs no gradients",
}


def method_help(names: str | None) -> str | None:
    """Print the methods and end, where ``--method`` asks for them: a callback of the option.

    Raises:
        click.exceptions.Exit: they were printed.
    """
    if names is not None and names.strip() in _HELP:
        say(*methods_table())
        raise click.exceptions.Exit
    return names


def methods_table() -> list[str]:
    """Return a line for every method, and below it one for its options with what they are unless they are set."""
    from ..methods import METHODS

    width = max(map(len, METHODS))
    lines = []
    for name, method in METHODS.items():
        text = SUMMARIES.get(name) or inspect.cleandoc(method.__doc__ or "").partition("\n")[0]
        options = [f"{one.name}={_shown_default(one)}" for one in fields(method)]
        lines.append(f"{name:<{width}}  {text}")
        if options:
            lines.append(f"{'':<{width}}  --set {', '.join(options)}")
    return lines


def _shown_default(option: Field[Any]) -> str:
    if option.default is MISSING:
        return "..."
    return option.default if isinstance(option.default, str) else json.dumps(option.default, default=str)


def chosen_methods(names: str, settings: Sequence[str]) -> list[Method]:
    """Return the methods of ``--method``, with the options of ``--set``: of several, each option names its method.

    Raises:
        InputError: no such method, or it has no such option.
    """
    from ..methods import find_method

    listed = list(dict.fromkeys(name.strip() for name in names.split(",")))
    options: dict[str, dict[str, Any]] = {name: {} for name in listed}
    for name, value in _options(settings).items():
        method, separator, option = name.rpartition(".")
        if not separator and len(listed) == 1:
            method = listed[0]
        if method not in options:
            raise click.BadParameter(
                f"--set {name}: with several methods say METHOD.NAME=VALUE, of {', '.join(listed)}."
            )
        options[method][option] = value
    return [find_method(name, chosen) for name, chosen in options.items()]


def _options(settings: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs, each value as JSON where it is some, else as text."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"--set takes NAME=VALUE, found {setting!r}.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
        except RecursionError:
            raise click.BadParameter(f"--set {name}: the value is nested too deeply.") from None
    return found
