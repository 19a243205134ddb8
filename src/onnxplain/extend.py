"""For writers of rules and methods: what onnxplain is extended with.

- a rule, the vector-Jacobian product of an operator: :func:`vjp` registers it; it gets an :class:`Emitter` and the
  forward node as an :class:`Operator`, and returns :data:`Gradients`;
- a method of attribution: a :class:`Method` that :func:`register_method` adds to those with a name; it runs the model
  by an :class:`Attributor` and returns an :class:`Attribution`.

``docs/custom_rules.md`` has an example of each.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

from .autodiff import vjp
from .autodiff.graph.emitter import Emitter
from .autodiff.graph.operator import Operator
from .autodiff.reverse.registry import Gradients
from .errors import InputError
from .methods import METHODS, Method
from .model.attribution import Attribution
from .model.attributor import Attributor

__all__ = ["Attribution", "Attributor", "Emitter", "Gradients", "Method", "Operator", "register_method", "vjp"]

M = TypeVar("M", bound=type[Method])


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
    if taken is not None and (taken.__module__, taken.__qualname__) != ("__main__", method.__qualname__):
        raise InputError(f"the name {name!r} is that of {taken.__module__}.{taken.__qualname__}; choose another.")
    METHODS[name] = method
    return method
