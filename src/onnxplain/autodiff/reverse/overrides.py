"""The registered rules with some of them replaced for one call of :func:`~..differentiate.differentiate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import onnx_ir as ir
from onnx import defs

from ...errors import InputError
from . import registry
from .registry import Registration, Rule

#: Operator (or domain and operator) -> the rule that takes its place.
Overrides = Mapping[str | tuple[str, str], Rule]


class Rules:
    """What the walk asks for a rule. It belongs to one call: nothing here outlives it.

    ``applied`` counts how often a rule took the place of the usual one.
    """

    def __init__(self, overrides: Overrides | None = None) -> None:
        """Take ``overrides`` over; see :func:`~..differentiate.differentiate`.

        Raises:
            InputError: a key is no operator, or a rule cannot be called.
        """
        self._overrides: dict[tuple[str, str], Rule] = {}
        self.applied = 0
        for key, rule in (overrides or {}).items():
            pair = ("", key) if isinstance(key, str) else key
            if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise InputError(f"rules: the key {key!r} is no operator; use 'Relu' or ('my.domain', 'MyOperator').")
            if not callable(rule):
                raise InputError(f"rules: {key!r} has {rule!r}, which is no rule; pass a function (emit, node, dy).")
            self._overrides["" if pair[0] == "ai.onnx" else pair[0], pair[1]] = rule

    def lookup(self, domain: str, op_type: str, opset: int) -> Registration | None:
        """Return the registration for an operator at an opset, or None.

        A rule that replaces another one returns gradients of the broadcast shape where the other one does.
        """
        found = registry.lookup(domain, op_type, opset)
        rule = self._overrides.get((domain, op_type))
        if rule is None:
            return found
        if found is None:
            return Registration(rule, domain, op_type, 1, replaces=True)
        return replace(found, rule=rule, every_output=False, expands=False, replaces=True)

    def check(self, nodes: Iterable[ir.Node]) -> None:
        """Refuse an operator that neither ONNX nor the registry nor the model knows: a slip of the pen.

        Raises:
            InputError: with the operator's name.
        """
        in_model = {("" if n.domain == "ai.onnx" else n.domain, n.op_type) for n in nodes}
        for domain, op_type in self._overrides:
            known = defs.has(op_type, domain) or registry.newest(domain, op_type) is not None
            if not known and (domain, op_type) not in in_model:
                name = f"{domain}::{op_type}" if domain else op_type
                raise InputError(f"rules names the operator {name!r}, which is neither in the model nor known.")
