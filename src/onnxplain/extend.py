"""For writers of rules and methods: what onnxplain is extended with.

- a rule, the vector-Jacobian product of an operator: :func:`vjp` registers it; it gets an :class:`Emitter` and the
  forward node as an :class:`Operator`, and returns :data:`Gradients`;
- a method of attribution: a :class:`Method` that :func:`register_method` adds to those with a name; it runs the model
  by an :class:`Attributor` and returns an :class:`Attribution`.

``docs/custom_rules.md`` has an example of each.
"""

from __future__ import annotations

from .autodiff import vjp
from .autodiff.graph.emitter import Emitter
from .autodiff.graph.operator import Operator
from .autodiff.reverse.registry import Gradients
from .methods import Method, register_method
from .model.attribution import Attribution
from .model.attributor import Attributor

__all__ = ["Attribution", "Attributor", "Emitter", "Gradients", "Method", "Operator", "register_method", "vjp"]
