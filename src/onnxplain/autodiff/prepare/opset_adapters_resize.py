"""Upsample 7 and 9 and Resize 10 to 13, in the meaning that ONNX Runtime gives them.

Up to version 10 coordinates are asymmetric (x_in = x_out / scale). Nearest then takes the pixel below
for an axis that grows and the one above for an axis that shrinks: two modes in one node.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..graph.editing import become, set_input, take
from ..graph.emitter import Emitter
from .opset_adapters import adapter, refuse, source


@adapter(9, "Upsample")
def upsample_scales(emit: Emitter, node: ir.Node) -> None:
    """The attribute ``scales`` became an input."""
    set_input(node, 1, emit.constant(np.array(take(node, "scales"), dtype=np.float32)))


@adapter(10, "Upsample")
def upsample_is_resize(emit: Emitter, node: ir.Node) -> None:
    """Upsample was renamed, and may shrink now; that it does not is kept as an attribute of version 11."""
    node.op_type = "Resize"
    node.attributes.add(ir.AttrString("nearest_mode", "floor"))


@adapter(11, "Resize")
def resize_asymmetric(emit: Emitter, node: ir.Node) -> None:
    """State the old coordinates and rounding; nearest grows and shrinks in separate nodes.

    Resizing is separable: first every axis by max(scale, 1), then by min(scale, 1).
    """
    x, scales = source(node), node.inputs[1]
    assert scales is not None
    mode, grows = take(node, "mode") or "nearest", take(node, "nearest_mode") is not None
    same: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    known = ir.convenience.get_const_tensor(scales)
    if mode != "nearest":
        become(node, "Resize", x, None, scales, **same)
    elif grows or (known is not None and np.all(known.numpy() >= 1)):
        become(node, "Resize", x, None, scales, nearest_mode="floor", **same)
    elif known is not None and np.all(known.numpy() <= 1):
        become(node, "Resize", x, None, scales, nearest_mode="ceil", **same)
    else:
        one = emit.constant(np.ones((), dtype=np.float32))
        grown = emit.Resize(x, None, emit.Max(scales, one), nearest_mode="floor", **same)
        become(node, "Resize", grown, None, emit.Min(scales, one), nearest_mode="ceil", **same)


@adapter(13, "Resize")
def resize_one_of_scales_and_sizes(emit: Emitter, node: ir.Node) -> None:
    """``sizes`` no longer comes with empty ``scales``; the coordinates ``tf_half_pixel_for_nn`` are gone.

    Those were half_pixel + 1/2, so that rounding down is rounding half_pixel to nearest, halves up.
    """
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        set_input(node, 2, None)
    coordinates = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_half_pixel_for_nn":
        mode = node.attributes.get_string("mode", "nearest")
        rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
        if (mode, rounding) != ("nearest", "floor"):
            raise refuse(node, "tf_half_pixel_for_nn", f"{mode}, {rounding}", "export it with half_pixel coordinates")
        node.attributes.add(ir.AttrString("coordinate_transformation_mode", "half_pixel"))
        node.attributes.add(ir.AttrString("nearest_mode", "round_prefer_ceil"))
