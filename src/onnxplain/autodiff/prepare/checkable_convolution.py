"""Transposed convolutions whose extents ONNX's shape inference gets wrong, with the pads that they have stated.

With ``auto_pad`` SAME an extent becomes extent * stride, whatever ``output_padding`` says; ONNX's inference adds it
once more. The pads are what the natural extent, (in - 1) stride + reach + output_padding, has too much, and do not
depend on the extent, so that they can be stated:

    total = reach + output_padding - stride
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.schemas import is_standard


def state_pads_of_transposed_convolutions(model: ir.Model) -> None:
    """Replace ``auto_pad`` by ``pads`` in place where ``output_padding`` is stated, subgraphs included."""
    for node in model.graph.all_nodes():
        if node.op_type == "ConvTranspose" and is_standard(node.domain):
            _state_pads(node)


def _state_pads(node: ir.Node) -> None:
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    extra, kernel = list(node.attributes.get_ints("output_padding", ())), _kernel(node)
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER") or not any(extra) or kernel is None:
        return
    if "output_shape" in node.attributes:
        return
    strides = list(node.attributes.get_ints("strides", ())) or [1] * len(kernel)
    dilations = list(node.attributes.get_ints("dilations", ())) or [1] * len(kernel)
    totals = [(k - 1) * d + 1 + e - s for k, d, e, s in zip(kernel, dilations, extra, strides)]
    if min(totals) < 0:
        return
    heads = [(total + (auto_pad == "SAME_LOWER")) // 2 for total in totals]
    tails = [total - head for total, head in zip(totals, heads)]
    del node.attributes["auto_pad"]
    node.attributes.add(ir.AttrInt64s("pads", heads + tails))


def _kernel(node: ir.Node) -> list[int] | None:
    """Return the taps per axis, if they are known."""
    stated, weight = node.attributes.get_ints("kernel_shape", ()), node.inputs[1]
    if stated:
        return list(stated)
    shape = None if weight is None else weight.shape
    taps = [] if shape is None else [extent for extent in shape[2:] if isinstance(extent, int)]
    return taps if shape is not None and len(taps) == len(shape) - 2 else None
