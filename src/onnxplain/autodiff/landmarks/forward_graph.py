"""A model before gradients are added to it: what its inner tensors are, under the names that differentiation keeps."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.guard import guarded
from ..graph.io import ModelSource, read_model
from ..prepare.expand_attention import write_out_attention
from ..prepare.order import prepare
from ..request import Request
from ..targets.explained import explained
from .attention_maps import AttentionMaps, find_attention
from .feature_maps import FeatureMap, find_feature_map


@dataclass(frozen=True)
class ForwardGraph:
    """The prepared ``graph`` of a model, and the tensor ``score`` that is explained."""

    graph: ir.Graph
    score: ir.Value

    @classmethod
    @guarded()
    def read(cls, model: ModelSource, request: Request) -> ForwardGraph:
        """Prepare ``model`` and find what is explained of it.

        Raises:
            ModelError, InputError: as for :func:`~onnxplain.autodiff.differentiate`.
        """
        graph_model = read_model(model)
        emit = Emitter(graph_model.graph, prepare(graph_model))
        if request.written_out:
            write_out_attention(emit)
        found = explained(
            emit,
            graph_model,
            tensor=request.tensor,
            layout=request.layout_of(graph_model.metadata_props),
            score=request.score,
            class_axis=request.class_axis,
        )
        return cls(graph_model.graph, found.value)

    @guarded()
    def feature_map(self, wrt: str, layer: str | None = None) -> FeatureMap:
        """Return the tensor ``layer``, or the last feature map between the tensor ``wrt`` and the score.

        Raises:
            InputError: see :func:`~.feature_maps.find_feature_map`.
        """
        return find_feature_map(self.graph, self._tensor(wrt), self.score, layer)

    @guarded()
    def attention(self, wrt: str) -> AttentionMaps:
        """Return the attention between the tensor ``wrt`` and the score.

        Raises:
            InputError: see :func:`~.attention_maps.find_attention`.
        """
        return find_attention(self.graph, self._tensor(wrt), self.score)

    def _tensor(self, name: str) -> ir.Value:
        values = [*self.graph.inputs, *(value for node in self.graph for value in node.outputs)]
        return next(value for value in values if value.name == name)
