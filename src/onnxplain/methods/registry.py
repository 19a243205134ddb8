"""The table of methods by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import fields
from importlib import import_module
from typing import Any, TypeVar

from ..checks import check_count, check_number, shown
from ..errors import InputError
from .base import Method

M = TypeVar("M", bound=type[Method])

#: Types that an option may be declared with, as text, and be checked before the method sees it.
_PLAIN: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "None": type(None)}
_WORDS = {"bool": "true or false", "str": "a word"}
_FARTHEST = 2**31
#: Name -> module and class of those that come along, in the order in which they are listed.
_BUILT_IN = {
    "saliency": "gradients.Saliency",
    "gradient_x_input": "gradients.GradientXInput",
    "smoothgrad": "smoothgrad.SmoothGrad",
    "smoothgrad_squared": "smoothgrad.SmoothGradSquared",
    "vargrad": "smoothgrad.VarGrad",
    "integrated_gradients": "integrated_gradients.IntegratedGradients",
    "blur_integrated_gradients": "blur_integrated_gradients.BlurIntegratedGradients",
    "guided_integrated_gradients": "guided_integrated_gradients.GuidedIntegratedGradients",
    "expected_gradients": "integrated_gradients.ExpectedGradients",
    "grad_cam": "class_activation.GradCam",
    "grad_cam_plus_plus": "class_activation.GradCamPlusPlus",
    "layer_cam": "class_activation.LayerCam",
    "hires_cam": "class_activation.HiResCam",
    "xgrad_cam": "class_activation.XGradCam",
    "guided_backprop": "guided.GuidedBackprop",
    "deconvnet": "guided.Deconvnet",
    "guided_grad_cam": "guided_grad_cam.GuidedGradCam",
    "attention_rollout": "attention.AttentionRollout",
    "attention_relevance": "attention.AttentionRelevance",
    "occlusion": "occlusion.Occlusion",
    "rise": "rise.Rise",
}


class _Methods(MutableMapping[str, type[Method]]):
    """A table that loads the module of a method when it is first asked for: a map needs one method, not all."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._found: dict[str, str | type[Method]] = dict(places)

    def __getitem__(self, name: str) -> type[Method]:
        found = self._found[name]
        if isinstance(found, str):
            module, _, kind = found.partition(".")
            self._found[name] = found = getattr(import_module(f".{module}", __package__), kind)
        return found

    def __setitem__(self, name: str, method: type[Method]) -> None:
        self._found[name] = method

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


#: Name -> method, in the order in which they are listed; :func:`register_method` adds to it.
METHODS = _Methods(_BUILT_IN)


def register_method(method: M) -> M:
    """Add a method to those that are called by their names, as a decorator of its class.

    From then on :meth:`Explainer.explain` and all that takes methods know it, in this process; so does the command line
    where the module with the method is imported before ``onnxplain.cli.main()`` runs. A class in ``__main__`` takes
    the place of the one with its name, for the cells of a notebook run again.

    Raises:
        InputError: it is not a class of methods that can be made, or its name is missing, not a word, or taken.
    """
    if not (isinstance(method, type) and issubclass(method, Method)) or inspect.isabstract(method):
        raise InputError(f"a method is a subclass of onnxplain.extend.Method with attribute(); found {method!r}.")
    name = getattr(method, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"{method.__name__}.name is the name of the method, a word as 'my_method'; found {name!r}.")
    taken = METHODS.get(name)
    if taken not in (None, method) and (taken.__module__, taken.__qualname__) != ("__main__", method.__qualname__):
        raise InputError(f"the name {name!r} is that of {taken.__module__}.{taken.__qualname__}; choose another.")
    METHODS[name] = method
    return method


def find_method(method: str | Method, options: Mapping[str, Any]) -> Method:
    """Return the method of a name with ``options``, or ``method`` itself if it is one.

    Raises:
        InputError: no such method, or it has no such option; the message lists those that exist.
    """
    if isinstance(method, Method):
        if options:
            raise InputError(f"options ({', '.join(options)}) belong to a method's name, or into the method itself.")
        return method
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; there are {', '.join(METHODS)}.")
    kind = METHODS[method]
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            there = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"method {method!r} has no option {name!r}; {there}.")
        _check_plain(name, kind.__dataclass_fields__[name].type, options[name])
    try:
        return kind(**options)
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
        raise InputError(f"method {method!r} cannot take {shown(dict(options))}: {error}.") from error


def _check_plain(name: str, declared: object, value: object) -> None:
    """Refuse a value of an option that is declared as a number, a word or a truth value, and is none."""
    parts = str(declared).split(" | ")
    if not set(parts) <= set(_PLAIN) or (value is None and "None" in parts):
        return
    if "float" in parts:
        check_number(name, value)
    elif "int" in parts:
        check_count(name, value, -_FARTHEST)
    elif not isinstance(value, _PLAIN[parts[0]]):
        raise InputError(f"{name} is {_WORDS[parts[0]]}; found {shown(value)}.")
