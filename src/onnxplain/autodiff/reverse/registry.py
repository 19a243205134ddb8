"""The table of rules: one vector-Jacobian product (VJP) per operator.

A rule has the signature ``rule(emit, node, dy)``. ``emit`` is the :class:`~..graph.emitter.Emitter`, ``node``
a :class:`~..graph.operator.Operator` (the forward node, read only) and ``dy`` the gradient of the node's
first output. The rule returns one gradient per input, in input order: a value, or ``None`` for zero.
A rule for an operator with one input may return the bare value. Gradients of inputs for which
``node.wants(i)`` is false are ignored, so a rule that must spend nodes on one asks first.

Un-broadcasting and accumulation live in the walk: a rule registered with ``broadcasts=True`` returns
gradients of the broadcast shape and never sums them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import onnx_ir as ir

from ...errors import InputError
from ..graph.schemas import since_version

if TYPE_CHECKING:
    from ..graph.emitter import Emitter
    from ..graph.operator import Operator

Gradients = ir.Value | None | Sequence[ir.Value | None]
#: ``dy`` is a Value, or a list with one Value or None per output for ``every_output`` rules.
Rule = Callable[["Emitter", "Operator", Any], Gradients]
#: Emits the operator in operators with rules; one value per output (None for one without a derivative).
Expansion = Callable[["Emitter", "Operator"], Sequence[ir.Value | None]]
R = TypeVar("R", bound=Rule)
E = TypeVar("E", bound=Expansion)


@dataclass(frozen=True)
class Registration:
    """A rule (or, if it ``expands``, an expansion that the walk goes through) and how it is to be called.

    One that ``replaces`` the usual rule for a call may return NotImplemented, which leaves the node to the usual one.
    """

    rule: Callable[..., Any]
    domain: str
    op_type: str
    since_version: int
    broadcasts: bool = False
    every_output: bool = False
    expands: bool = False
    quantized: bool = False
    rounds: bool = False
    replaces: bool = False


_REGISTRY: dict[tuple[str, str], dict[int, Registration]] = {}
_REFUSED: dict[tuple[str, str], str] = {}


def vjp(
    *op_types: str,
    domain: str = "",
    since: int = 1,
    broadcasts: bool = False,
    every_output: bool = False,
    quantized: bool = False,
    rounds: bool = False,
) -> Callable[[R], R]:
    """Register the decorated function as the rule of each of ``op_types``.

    ``since`` is the first operator version (ONNX ``since_version``) that the rule is right for; the
    newest one not above a node's version is taken. ``broadcasts`` lets the walk sum each returned
    gradient down to its input's shape. ``every_output`` hands the rule a list of output gradients
    (``None`` where an output does not reach the score) instead of the first output's alone. The rule of an
    operator with subgraphs returns, after its inputs' gradients, those of the values the subgraphs
    capture, in the order of :func:`~.reach.captured`.

    ``quantized`` says that the operator works on quantised numbers: its rule takes and returns gradients of
    integer tensors (see :mod:`~.quantized`). ``rounds`` says that it rounds, so that its derivative is the
    straight-through one.
    """

    def register(rule: R) -> R:
        for op_type in op_types:
            _add(Registration(rule, domain, op_type, since, broadcasts, every_output, False, quantized, rounds))
        return rule

    return register


def expands(
    *op_types: str, domain: str = "", since: int = 1, quantized: bool = False, rounds: bool = False
) -> Callable[[E], E]:
    """Register the decorated function as the expansion of each of ``op_types``.

    An expansion writes the operator out in others, and the walk goes through those; the forward node stays,
    and what the gradient does not need of the expansion is never computed. Where ONNX does not know the
    operator, the expansion is also what says the types and shapes of its outputs.
    """

    def register(expansion: E) -> E:
        for op_type in op_types:
            _add(Registration(expansion, domain, op_type, since, False, True, True, quantized, rounds))
        return expansion

    return register


def _add(registration: Registration) -> None:
    domain, op_type, since = registration.domain, registration.op_type, registration.since_version
    versions = _REGISTRY.setdefault((domain, op_type), {})
    if since in versions and versions[since].rule.__module__ != "__main__":  # a cell of a notebook runs again
        raise InputError(
            f"{domain or 'ai.onnx'}::{op_type} has a rule since version {since} already; "
            "to use another one in a call, pass it to differentiate in rules=."
        )
    versions[since] = registration


def zero(*op_types: str, domain: str = "") -> None:
    """Register operators whose derivative is zero almost everywhere (Round, Sign, ...)."""

    def rule(emit: Emitter, node: Operator, dy: list[ir.Value | None]) -> Gradients:
        return [None] * len(node.inputs)

    vjp(*op_types, domain=domain, every_output=True)(rule)


def refuses(*op_types: str, domain: str = "", advice: str) -> None:
    """Say why operators have no rule and never will, and what to do; read by :func:`advice`."""
    _REFUSED.update({(domain, op_type): advice for op_type in op_types})


_NO_RULE = "register a rule for it with onnxplain.vjp, hand one over in rules=, or name a tensor before it with tensor="


def advice(domain: str, op_type: str) -> str:
    """Return what to do about an operator without a rule."""
    return _REFUSED.get((domain, op_type), _NO_RULE)


def lookup(domain: str, op_type: str, opset: int) -> Registration | None:
    """Return the registration for an operator at an opset, or None."""
    versions = _REGISTRY.get((domain, op_type))
    if versions is None:
        return None
    version = since_version(domain, op_type, opset)
    fitting = [v for v in versions if v <= (opset if version is None else version)]
    return versions[max(fitting)] if fitting else None


def newest(domain: str, op_type: str) -> Registration | None:
    """Return the registration for the newest version of an operator, or None."""
    versions = _REGISTRY.get((domain, op_type))
    return versions[max(versions)] if versions else None


def registrations() -> list[Registration]:
    """Return every registration, sorted by domain, operator and version."""
    found = [r for versions in _REGISTRY.values() for r in versions.values()]
    return sorted(found, key=lambda r: (r.domain, r.op_type, r.since_version))


def foreign() -> bool:
    """Return whether rules were registered from outside of onnxplain, wherever in it this module stands."""
    package = __name__.partition(".")[0]
    return any(one.rule.__module__.partition(".")[0] != package for one in registrations())
