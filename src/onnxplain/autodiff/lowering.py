"""Write the standard's operator Gradient out in standard operators, which every runtime has."""

from __future__ import annotations

import onnx

from .forms.prune import prune
from .graph.io import ModelSource, read_model, write_model
from .prepare.order import check, prepare


def lower_gradients(model: ModelSource) -> onnx.ModelProto:
    """Return the model with every ``ai.onnx.preview.training::Gradient`` written out in standard operators.

    :func:`~.differentiate.differentiate` does the same on its way, so that such a model can be differentiated once
    more; this function adds nothing to the model's inputs and outputs.

    Args:
        model: path, bytes, ``onnx.ModelProto`` or ``onnx_ir.Model``. Never modified.

    Returns:
        The model at opset 18 or newer, all inputs and outputs unchanged in name, order and value.

    Raises:
        ModelError: the model cannot be read, or a Gradient names what there is not, or stands in the body of a node.
        UnsupportedOperatorError: an operator between the tensors that a Gradient names has no rule.
    """
    graph_model = read_model(model)
    prepare(graph_model)
    prune(graph_model)
    check(graph_model, "the model without Gradient")
    return write_model(graph_model)
