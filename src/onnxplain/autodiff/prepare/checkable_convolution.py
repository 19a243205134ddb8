"""Transposed convolutions whose extents ONNX's shape inference gets wrong, with the pads that they have stated.

With ``auto_pad`` SAME an extent becomes extent * stride, whatever ``output_padding`` says; ONNX's inference adds it
once more. The pads are what the natural extent, (in - 1) stride + reach + output_padding, has too much, and do not
depend on the extent, so that they can be stated:

    total = reach + output_padding - stride
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.passes import Step, fired, graph_pass
from ..graph.schemas import is_standard


@graph_pass(needs="opset 18 or newer", ensures="transposed convolutions have the extents that ONNX infers")
def state_pads_of_transposed_convolutions(model: ir.Model) -> Iterator[Step]:
    """Replace ``auto_pad`` by ``pads`` in place where ``output_padding`` is stated, subgraphs included."""
    for node in model.graph.all_nodes():
        if node.op_type == "ConvTranspose" and is_standard(node.domain) and _state_pads(node):
            yield fired(node)


def _state_pads(node: ir.Node) -> bool:
    """Return whether the pads were to be stated."""
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    extra, kernel = list(node.attributes.get_ints("output_padding", ())), _kernel(node)
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER") or not any(extra) or kernel is None:
        return False
    if "output_shape" in node.attributes:
        return False
    strides = list(node.attributes.get_ints("strides", ())) or [1] * len(kernel)
    dilations = list(node.attributes.get_ints("dilations", ())) or [1] * len(kernel)
    totals = [(k - 1) * d + 1 + e - s for k, d, e, s in zip(kernel, dilations, extra, strides)]
    if min(totals) < 0:
        return False
    heads = [(total + (auto_pad == "SAME_LOWER")) // 2 for total in totals]
    tails = [total - head for total, head in zip(totals, heads)]
    del node.attributes["auto_pad"]
    node.attributes.add(ir.AttrInt64s("pads", heads + tails))
    return True


def _kernel(node: ir.Node) -> list[int] | None:
    """Return the taps per axis, if they are known."""
    stated, weight = node.attributes.get_ints("kernel_shape", ()), node.inputs[1]
    if stated:
        return list(stated)
    shape = None if weight is None else weight.shape
    taps = [] if shape is None else [extent for extent in shape[2:] if isinstance(extent, int)]
    return taps if shape is not None and len(taps) == len(shape) - 2 else None
