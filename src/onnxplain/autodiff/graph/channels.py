"""Where the channel axis of an image input is: NCHW and NHWC models are treated alike."""

from __future__ import annotations

import onnx_ir as ir

_CHANNELS = (1, 2, 3, 4)
_CHANNELS_FIRST = {"Conv", "BatchNormalization", "InstanceNormalization", "MaxPool", "AveragePool", "Resize"}


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
    pending, seen = [value], 0
    while pending and seen < 64:
        current, seen = pending.pop(0), seen + 1
        for node, index in current.uses():
            if index != 0:
                continue
            if node.op_type in _CHANNELS_FIRST:
                return 1
            if node.op_type == "Transpose":
                permutation = list(node.attributes.get_ints("perm", ()))
                if permutation == [0, rank - 1, *range(1, rank - 1)] and (rank > 3 or _feeds_convolution(node)):
                    return rank - 1
                continue
            output = node.outputs[0]
            if output.shape is not None and value.shape is not None and output.shape == value.shape:
                pending.append(output)
    return None


def _feeds_convolution(node: ir.Node) -> bool:
    return any(use.op_type in _CHANNELS_FIRST and index == 0 for use, index in node.outputs[0].uses())
