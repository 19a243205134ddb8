"""One protocol for passes, before and after the walk: what a pass is, what it did to each node, and who broke a graph.

A pass is a generator: it rewrites what it is given in place, and yields :func:`fired` for every node that it rewrote
and :func:`left` for every node that has what it rewrites, but not in a form that it can. Its docstring, or that of its
module, states the algebra: why the rewritten graph computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import onnx_ir as ir

from .checks import find_flaw
from .emitter import Emitter

S = TypeVar("S")
Phase = Literal["before", "after"]
#: A node and why it was left alone; None: it was rewritten.
Step = tuple[str, str | None]


def fired(node: ir.Node | str) -> Step:
    """``node`` was rewritten."""
    return _name(node), None


def left(node: ir.Node | str, reason: str) -> Step:
    """``node`` has what the pass rewrites, but not in a form that it can."""
    return _name(node), reason


def _name(node: ir.Node | str) -> str:
    return node if isinstance(node, str) else node.name or node.op_type


@dataclass(frozen=True)
class Work:
    """What passes work on: a model, the emitter of its main graph, and the model's own nodes once there are others."""

    model: ir.Model
    emit: Emitter
    forward: Sequence[ir.Node] = ()


@dataclass(frozen=True)
class Pass(Generic[S]):
    """A rewrite of a graph: what it ``needs``, and what it ``ensures``, but for nodes that it left alone."""

    name: str
    needs: str
    ensures: str
    rewrite: Callable[[S], Iterator[Step]]

    def run(self, subject: S) -> list[Outcome]:
        """Rewrite ``subject`` in place; return what was done to each node, in order."""
        return [Outcome(self.name, node, reason) for node, reason in self.rewrite(subject)]

    def __call__(self, subject: S) -> bool:
        """Rewrite ``subject`` in place; return whether anything changed."""
        return any(outcome.reason is None for outcome in self.run(subject))


def graph_pass(*, needs: str, ensures: str) -> Callable[[Callable[[S], Iterator[Step]]], Pass[S]]:
    """Make a :class:`Pass`, of the same name, of the decorated generator."""

    def make(rewrite: Callable[[S], Iterator[Step]]) -> Pass[S]:
        return Pass(rewrite.__name__, needs, ensures, rewrite)

    return make


@dataclass(frozen=True)
class Outcome:
    """One node that a pass looked at; ``reason`` says why it was left alone, None that it was rewritten."""

    rewrite: str
    node: str
    reason: str | None

    def __str__(self) -> str:
        done = "rewritten" if self.reason is None else f"left alone: {self.reason}"
        return f"{self.rewrite}: {self.node}: {done}"


@dataclass(frozen=True)
class Record:
    """A pass that ran before or after the walk, and its outcomes in the order in which it met the nodes."""

    phase: Phase
    name: str
    needs: str
    ensures: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def fired(self) -> int:
        """How many nodes it rewrote."""
        return sum(outcome.reason is None for outcome in self.outcomes)

    @property
    def left(self) -> dict[str, int]:
        """How many nodes it left alone, by reason."""
        reasons = [outcome.reason for outcome in self.outcomes if outcome.reason is not None]
        return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


@dataclass
class Report:
    """What the passes did, in the order in which they first ran."""

    records: list[Record] = field(default_factory=list)

    def of_pass(self, phase: Phase, one: Pass[S]) -> Record:
        """Return the record of a pass, a new one where there is none."""
        found = next((r for r in self.records if (r.phase, r.name) == (phase, one.name)), None)
        if found is None:
            found = Record(phase, one.name, one.needs, one.ensures)
            self.records.append(found)
        return found

    @property
    def outcomes(self) -> list[Outcome]:
        """Those of all passes."""
        return [outcome for record in self.records for outcome in record.outcomes]

    def of(self, name: str) -> list[Outcome]:
        """Return the outcomes of the pass of this name."""
        return [outcome for outcome in self.outcomes if outcome.rewrite == name]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many nodes each pass rewrote, and how many it left alone, of the passes that met any."""
        found: dict[str, tuple[int, int]] = {}
        for outcome in self.outcomes:
            done, alone = found.get(outcome.rewrite, (0, 0))
            found[outcome.rewrite] = (done + (outcome.reason is None), alone + (outcome.reason is not None))
        return found


class BrokenGraphError(RuntimeError):
    """A pass left a graph that is no graph any more: a mistake in the pass, which the message names."""


#: Says what is wrong with a model, if anything; ``ordered``: nodes have to come behind what they read.
Check = Callable[[ir.Model, bool], "str | None"]
_check: Check | None = None


@contextmanager
def checking(check: Check = find_flaw) -> Iterator[None]:
    """Check the graph after every pass that runs inside, in all threads, and name the pass that broke it.

    ``check``: :func:`~.checks.find_flaw`, or :func:`~.checks.find_any_flaw`, which also asks ONNX's full checker.
    """
    global _check
    outside, _check = _check, check
    try:
        yield
    finally:
        _check = outside


class Runner:
    """Runs passes on one model, in one phase, and notes in ``report`` what they did."""

    def __init__(self, model: ir.Model, phase: Phase, report: Report | None = None, *, ordered: bool = True) -> None:
        """``ordered``: nodes come behind what they read after every pass, and not only in the end."""
        self._model, self._phase, self._ordered = model, phase, ordered
        self._report = Report() if report is None else report
        self._alone: dict[str, set[int]] = {}
        self._sound = self._flaw() is None

    def run(self, one: Pass[S], subject: S) -> bool:
        """Run a pass; return whether it changed anything.

        What it left alone when it ran before is forgotten, since it has looked again.

        Raises:
            BrokenGraphError: inside of :func:`checking`, where the graph was sound before this pass and is not after.
        """
        outcomes = one.run(subject)
        record, before = self._report.of_pass(self._phase, one), self._alone.get(one.name, set())
        record.outcomes[:] = [*(o for o in record.outcomes if id(o) not in before), *outcomes]
        self._alone[one.name] = {id(outcome) for outcome in outcomes if outcome.reason is not None}
        flaw = self._flaw()
        if flaw is not None and self._sound:
            raise BrokenGraphError(f"the pass {one.name!r} broke the graph: {flaw}; it should ensure: {one.ensures}.")
        self._sound = flaw is None
        return any(outcome.reason is None for outcome in outcomes)

    def _flaw(self) -> str | None:
        return None if _check is None else _check(self._model, self._ordered)
