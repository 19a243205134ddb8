"""What a graph ends in, and the question about it: a head of classes, perhaps with places, and what moves its result.

The tail behind a softmax or sigmoid is written twice, once behind the probabilities and once behind the logits: the
score is a number of the second, which onnxplain has to find by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from .builder import ONE, Builder, Dim, Shape, Value, fixed

#: The same operator behind two tensors of one shape: from the name of one to the name of its result.
Twice = Callable[[str], str]


@dataclass(frozen=True)
class End:
    """A question: ``kind`` is "class", "probability" or "cotangent".

    ``answer`` is the model's output; ``logits`` holds the scores in the same order; ``head`` is what they come from.
    ``classes`` and ``batch`` are axes of the answer, None where there is none; ``stated`` says whether the question
    has to name them. ``place`` is where the score is taken, as :class:`onnxplain.target.Kind` has it, or nothing;
    ``versus`` asks for less the score of another class: a "class", or a "target" of its own, which is summed over all
    places.
    """

    kind: str
    logits: Value
    answer: Value
    head: Value
    classes: int | None = 1
    batch: int | None = 0
    stated: bool = False
    place: str = ""
    versus: str = ""

    @property
    def facts(self) -> dict[str, str]:
        found = {"question": self.kind, "logits": self.logits.name, "output": self.answer.name}
        if self.kind == "cotangent":
            return found
        axes = {"classes": self.classes, "batch": self.batch}
        found |= {name: str(axis) for name, axis in axes.items() if axis is not None}
        said = {"head": self.head.name, "versus": self.versus, "place": self.place}
        said |= {"stated": "yes" if self.stated else ""}
        return found | {name: value for name, value in said.items() if value}


def end(b: Builder, value: Value) -> End:
    """The end of a graph whose last value is ``value``, and a question about it.

    Without a head of classes the question is a cotangent, which fits any tensor.
    """
    batch = b.pool[0].shape[0]
    cotangent = End("cotangent", value, value, value)
    if b.chance(0.3) or value.rank < 2 or value.shape[0].extents != batch.extents:
        return cotangent
    if value.rank in (3, 4) and b.chance(0.5):
        classes = [axis for axis in (1, value.rank - 1) if value.static(axis)]
        return _with_places(b, value, b.random.choice(classes)) if classes else cotangent
    if value.rank > 2:
        flat = all(d.static for d in value.shape[1:]) and b.chance(0.5)
        if flat:
            columns = fixed(int(np.prod([d.number for d in value.shape[1:]])))
            value = b.op("Flatten", [value], (value.shape[0], columns))
        elif value.static(1):
            value = b.reduce("ReduceMean", value, list(range(2, value.rank)), False)
        else:
            return cotangent
    if not value.static(1):
        return cotangent
    k, classes = value.shape[1].number, b.random.choice([1, 2, 3, 5])
    weights, bias = b.weights(k, classes, scale=1 / np.sqrt(k)), b.weights(classes)
    logits = b.op("Gemm", [value, weights, bias], (value.shape[0], fixed(classes)))
    found = _activated(b, logits, 1)
    if b.chance(0.5):
        found = _moved(b, found)
    return _asked(b, found)


def _with_places(b: Builder, logits: Value, axis: int) -> End:
    """A head with a score of every class at every place, such as [N,T,K] and [N,K,H,W]; no softmax by accident."""
    logits = b.op("Mul", [logits, b.number(0.8)], logits.shape)
    found = _activated(b, logits, axis)
    return _asked(b, _moved(b, found) if b.chance(0.7) else found)


def _activated(b: Builder, logits: Value, axis: int) -> End:
    """A softmax over the classes, a sigmoid, neither, or something that is looked at as it is."""
    last = axis == logits.rank - 1
    tails = ["none", "Sigmoid", "written out", "Tanh"]
    if b.opset >= 13 or last:  # else the softmax is over all further axes, too
        tails += ["Softmax", "Softmax", "LogSoftmax"]
    tail, shape = b.random.choice(tails), logits.shape
    plain = logits.rank > 2  # nothing says which axis the classes are on
    if tail == "none":
        return End("class", logits, logits, logits, axis, stated=plain)
    if tail == "Tanh":
        out = b.op("Tanh", [logits], shape)
        return End("class", out, out, out, axis, stated=plain)
    if tail == "Sigmoid":
        out = b.op(tail, [logits], shape)
    elif tail == "written out":
        e = b.op("Exp", [logits], shape)
        out = b.op("Div", [e, b.reduce("ReduceSum", e, [axis], True)], shape)
    else:
        out = b.op(tail, [logits], shape, axis=axis if b.opset < 11 or b.chance(0.5) else axis - logits.rank)
    if b.chance(0.2):
        out = b.op("Identity", [out], shape)
    found = End("class", logits, out, logits, axis, stated=plain and tail == "Sigmoid")
    return replace(found, kind="probability", logits=out) if b.chance(0.15) else found


def _asked(b: Builder, found: End) -> End:
    others = [d for axis, d in enumerate(found.answer.shape) if axis not in (found.batch, found.classes)]
    places = [d for d in others if d.extents != ONE.extents]
    versus = b.random.choice(["", "", "class", "target"])
    if not places:
        return replace(found, place="all" if b.chance(0.1) or versus == "target" else "", versus=versus)
    kinds = ["all", "all", "region"]
    if found.classes is not None and found.answer.shape[found.classes].least > 1:
        kinds.append("own")
    if len(places) == 1:
        kinds += ["position", "best"]
    return replace(found, place=b.random.choice(kinds), versus=versus)


@dataclass
class _Tail:
    """A tensor behind the head, by its shape, and where classes and batch are; ``steps`` made it."""

    shape: Shape
    classes: int
    batch: int | None
    stated: bool
    steps: list[Twice] = field(default_factory=list)


def _moved(b: Builder, found: End) -> End:
    """The head with one to three operators behind it that move its axes or leave some of its numbers out."""
    assert found.classes is not None
    tail = _Tail(found.answer.shape, found.classes, found.batch, found.stated)
    for _ in range(b.random.choice([1, 1, 2, 3])):
        b.random.choice([_squeeze, _unsqueeze, _transpose, _flatten, _merge, _slice, _gather])(b, tail)
    names = {found.answer.name, found.logits.name}
    made = {}
    for name in sorted(names):
        at = name
        for step in tail.steps:
            at = step(at)
        made[name] = Value(at, tail.shape)
    b.used.update(names)
    b.pool.append(made[found.answer.name])
    answer, logits = made[found.answer.name], made[found.logits.name]
    return replace(found, logits=logits, answer=answer, classes=tail.classes, batch=tail.batch, stated=tail.stated)


def _squeeze(b: Builder, tail: _Tail) -> None:
    ones = [a for a, d in enumerate(tail.shape) if d.static and d.number == 1 and a != tail.classes]
    if not ones:
        return
    axis = b.random.choice(ones)
    tail.shape = (*tail.shape[:axis], *tail.shape[axis + 1 :])
    tail.classes -= axis < tail.classes
    if tail.batch is not None:
        tail.batch = None if tail.batch == axis else tail.batch - (axis < tail.batch)
    tail.steps.append(lambda name: b.squeeze(name, axis))


def _unsqueeze(b: Builder, tail: _Tail) -> None:
    if len(tail.shape) > 4:
        return
    axis = b.random.randrange(1, len(tail.shape) + 1)
    tail.shape = (*tail.shape[:axis], ONE, *tail.shape[axis:])
    tail.classes += axis <= tail.classes
    tail.batch = None if tail.batch is None else tail.batch + (axis <= tail.batch)
    tail.steps.append(lambda name: b.unsqueeze(name, axis))


def _transpose(b: Builder, tail: _Tail) -> None:
    perm = list(range(len(tail.shape)))
    b.random.shuffle(perm)
    if b.chance(0.5) and tail.batch is not None:  # the batch stays where it is
        perm.remove(tail.batch)
        perm.insert(tail.batch, tail.batch)
    tail.shape = tuple(tail.shape[p] for p in perm)
    tail.classes = perm.index(tail.classes)
    tail.batch = None if tail.batch is None else perm.index(tail.batch)
    tail.steps.append(lambda name: b.raw("Transpose", [name], perm=perm)[0])


def _flatten(b: Builder, tail: _Tail) -> None:
    """Everything behind the batch on one axis: if there were places, every class of every place is a class."""
    if tail.batch != 0 or len(tail.shape) < 2 or any(not d.static for d in tail.shape[1:]):
        return
    columns = fixed(int(np.prod([d.number for d in tail.shape[1:]])))
    tail.shape, tail.classes = (tail.shape[0], columns), 1
    tail.stated = False
    tail.steps.append(lambda name: b.raw("Flatten", [name], axis=1)[0])


def _merge(b: Builder, tail: _Tail) -> None:
    """Reshape that makes one axis of two neighbours which are neither the batch nor the classes."""
    kept = (tail.classes, tail.batch)
    found = [a for a in range(len(tail.shape) - 1) if a not in kept and a + 1 not in kept]
    if not found or sum(not d.static for a, d in enumerate(tail.shape) if a not in (found[0], found[0] + 1)) > 1:
        return
    at = found[0]
    one, two = tail.shape[at], tail.shape[at + 1]
    both = Dim(tuple(p * q for p, q in zip(one.extents, two.extents)), "?" if one.name or two.name else "")
    before, after = tail.shape[:at], tail.shape[at + 2 :]
    if any(not d.static for d in after):
        return
    tail.stated |= tail.shape[tail.classes].extents == ONE.extents  # an axis of one element is any of those
    tail.shape = (*before, both, *after)
    tail.classes -= at < tail.classes
    tail.batch = None if tail.batch is None else tail.batch - (at < tail.batch)
    dims = [*(0 for _ in before), -1, *(d.number for d in after)]
    target = b.ints(*dims)
    tail.steps.append(lambda name: b.raw("Reshape", [name, target])[0])


def _slice(b: Builder, tail: _Tail) -> None:
    axes = [a for a, d in enumerate(tail.shape) if a != tail.batch and d.least >= 2]
    if not axes:
        return
    axis = b.random.choice(axes)
    d = tail.shape[axis]
    start = b.random.randrange(d.least)
    stop = b.random.choice([2**31 - 1, d.least])
    if start >= stop:
        return
    extents = tuple(len(range(e)[start : None if stop > 2**30 else stop]) for e in d.extents)
    tail.shape = (*tail.shape[:axis], Dim(extents, "?" if d.name else ""), *tail.shape[axis + 1 :])
    tail.steps.append(lambda name: b.slice_name(name, axis, start, stop))


def _gather(b: Builder, tail: _Tail) -> None:
    """Some classes, in any order."""
    d = tail.shape[tail.classes]
    chosen = [b.random.randrange(d.number) for _ in range(b.random.choice([1, 2, 3]))]
    axis = tail.classes
    tail.shape = (*tail.shape[:axis], fixed(len(chosen)), *tail.shape[axis + 1 :])
    indices = b.ints(*chosen)
    tail.steps.append(lambda name: b.raw("Gather", [name, indices], axis=axis)[0])
