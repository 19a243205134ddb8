"""What a layout reads: the outputs that it names or that fit, and the image whose pixels boxes are given in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ....errors import InputError
from ....layout import Layout
from ...graph.channels import channel_axis
from ...graph.emitter import Emitter
from ..axes import batches, find_axes
from ..head import Head
from ..output import find_output
from .fields import Fields

_NARROW = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_FLOATS = (*_NARROW, ir.DataType.FLOAT, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class Image:
    """The input whose pixels boxes are given in, and which of its axes count rows and columns of pixels."""

    value: ir.Value
    rows: int
    columns: int


@dataclass(frozen=True)
class Reader:
    """The outputs of a detector, read as ``fields`` say; ``expects`` says in words what the family has."""

    emit: Emitter
    graph: ir.Graph
    fields: Fields
    score: str
    expects: str

    def named(self, count: int | None) -> list[ir.Value] | None:
        """The tensors that the layout names, ``count`` of them; None if it names none.

        Raises:
            InputError: there is no such tensor, or not ``count`` names.
        """
        names = self.fields.names("outputs")
        if names is None:
            return None
        if count not in (None, len(names)):
            raise self.fields.wrong("outputs", f"{count} names; the layout expects {self.expects}")
        values = {v.name: v for v in [*self.graph.outputs, *(v for node in self.graph for v in node.outputs)]}
        for name in names:
            if name not in values:
                raise self.refuse(f"the graph computes no tensor {name!r}")
        return [values[name] for name in names]

    def fitting(self, fits: Callable[[ir.Value], bool]) -> list[ir.Value]:
        """The float outputs of a known rank that fit."""
        return [v for v in self.graph.outputs if v.shape is not None and v.dtype in _FLOATS and fits(v)]

    def only(self, found: Sequence[ir.Value], what: str) -> ir.Value:
        """The one that was found.

        Raises:
            InputError: there is none, or more than one.
        """
        if len(found) == 1:
            return found[0]
        if not found:
            raise self.refuse(f"there is no {what}")
        raise self.refuse(f"several could be {what}: {', '.join(repr(v.name) for v in found)}")

    def refuse(self, reason: str) -> InputError:
        """The error about outputs that are not what the layout expects."""
        outputs = ", ".join(described(v) for v in self.graph.outputs)
        return InputError(
            f"layout {self.fields.layout!r} expects {self.expects}; {reason}. The outputs are {outputs}. Name the "
            f"right ones, layout={{'name': {self.fields.layout!r}, 'outputs': [...]}}, or state another layout."
        )

    def floats(self, value: ir.Value) -> ir.Value:
        """The numbers of a tensor, dequantised if need be, in at least 32 bits."""
        found = find_output(self.graph, value.name).in_floats(self.emit)
        return self.wide(found)

    def wide(self, value: ir.Value) -> ir.Value:
        """``value``, in float32 if it has 16 bits."""
        return self.emit.Cast(value, to=ir.DataType.FLOAT) if value.dtype in _NARROW else value

    def joined(self, values: Sequence[ir.Value]) -> ir.Value:
        """The detections of all scales, one after the other."""
        return values[0] if len(values) == 1 else self.emit.Concat(*values, axis=1)

    def samples(self, output: ir.Value) -> int | ir.SymbolicDim:
        """The extent of the batch of an output, whose first axis counts samples unless it is of one image."""
        assert output.shape is not None
        batch = -1 if self.fields.layout == "torchvision" else 0
        stated = Layout(batch_axis=batch, class_axis=len(output.shape) - 1)
        return find_axes(self.graph, output, Head(output), stated, None).samples

    def image(self, output: ir.Value) -> Image:
        """The image that ``output`` is computed from.

        Raises:
            InputError: it is none of the inputs, or there are several.
        """
        names = self.fields.names("image")
        inputs = batches(self.graph, output) if names is None else list(self.graph.inputs)
        found = [v for v in inputs if v.shape is not None and len(v.shape) == 4 and names in (None, (v.name,))]
        if len(found) != 1:
            known = ", ".join(described(v) for v in self.graph.inputs)
            raise InputError(
                f"layout {self.fields.layout!r} needs the image whose pixels its boxes are given in, one input of rank "
                f"4; the inputs are {known}. Name it with the field 'image'."
            )
        channels = channel_axis(found[0])
        rows, columns = (1, 2) if channels == 3 else (2, 3)
        return Image(found[0], rows, columns)


def described(value: ir.Value) -> str:
    """Name and shape, for messages."""
    shape = "?" if value.shape is None else f"[{', '.join(map(str, value.shape))}]"
    return f"{value.name!r} {shape}"


def rank(value: ir.Value) -> int | None:
    """The rank, None if it is unknown."""
    return None if value.shape is None else len(value.shape)


def last(value: ir.Value) -> int | None:
    """The extent of the last axis, None if it is not fixed."""
    extent = None if not value.shape else value.shape[-1]
    return extent if isinstance(extent, int) else None
