"""Where the channel axis of an image input is: NCHW and NHWC models are treated alike."""

from __future__ import annotations

import onnx_ir as ir

_CHANNELS = (1, 2, 3, 4)
_CHANNELS_FIRST = {"Conv", "BatchNormalization", "InstanceNormalization", "MaxPool", "AveragePool"}
#: They change extents, and leave axes where they are.
_KEEPS_AXES = {"Resize", "Upsample", "Pad", "Slice", "Split", "CenterCropPad"}
#: How many tensors are looked at behind an input.
_FARTHEST = 64
#: For each axis of a tensor the one of the input that it is; None for one that was folded or split.
Axes = tuple[int | None, ...]


def channel_axis(value: ir.Value) -> int | None:
    """The channel axis of an image-like tensor, or None for one without a channel axis.

    Rank 2 and below have none. For higher ranks the graph is asked first: an input that is transposed to
    channels first before its first convolution is channels last, one that a convolution reads directly is
    channels first. Where the graph does not tell, rank 3 ([N,H,W] or [N,T,features]) has channels only on
    an axis of extent 1; for ranks above, an extent of 1 to 4 tells, and channels first is the last resort,
    as everywhere in ONNX.
    """
    if value.shape is None or len(value.shape) < 3:
        return None
    rank = len(value.shape)
    evidence = _evidence(value, rank)
    if evidence is not None:
        return evidence
    first, last = value.shape[1], value.shape[-1]
    if rank == 3:
        return 2 if last == 1 else 1 if first == 1 else None
    if last in _CHANNELS and first not in _CHANNELS:
        return rank - 1
    return 1


def _evidence(value: ir.Value, rank: int) -> int | None:
    """The axis of ``value`` that the first operator with channels in axis 1 reads as channels."""
    pending: list[tuple[ir.Value, Axes]] = [(value, tuple(range(rank)))]
    seen = {value}
    for _ in range(_FARTHEST):
        if not pending:
            break
        current, axes = pending.pop(0)
        for node, index in current.uses():
            if index != 0:
                continue
            if node.op_type in _CHANNELS_FIRST:
                return axes[1]
            if node.op_type == "Transpose" and rank > 3 and _to_front(node, len(axes)):
                return axes[-1]
            for output in node.outputs[: None if node.op_type == "Split" else 1]:
                moved = None if output in seen else _moved(node, current, output, axes)
                if moved is not None:
                    seen.add(output)
                    pending.append((output, moved))
    return None


def _to_front(node: ir.Node, rank: int) -> bool:
    """Whether a transposition moves the last axis behind the batch and keeps the order of the others."""
    return list(node.attributes.get_ints("perm", ())) == [0, rank - 1, *range(1, rank - 1)]


def _moved(node: ir.Node, x: ir.Value, y: ir.Value, axes: Axes) -> Axes | None:
    """Which axes the output of an operator has, given those of its input; None if that is not known."""
    if node.op_type == "Transpose":
        permutation = list(node.attributes.get_ints("perm", ()))
        return tuple(axes[axis] for axis in permutation) if len(permutation) == len(axes) else None
    if x.shape is None or y.shape is None:
        return None
    if node.op_type in _KEEPS_AXES:
        return axes if len(y.shape) == len(axes) else None
    if y.shape == x.shape:
        return axes
    return _folded(x.shape, y.shape, axes) if node.op_type == "Reshape" else None


def _folded(before: ir.Shape, after: ir.Shape, axes: Axes) -> Axes | None:
    """The axes after a reshape: those behind the ones that were folded or split keep their extents."""
    kept = 0
    while kept < min(len(before), len(after)) - 1 and before[-1 - kept] == after[-1 - kept]:
        kept += 1
    return (*[None] * (len(after) - kept), *axes[len(axes) - kept :]) if kept > 1 else None
