"""Names that nothing in a graph has yet, handed out from one table per graph."""

from __future__ import annotations

import onnx_ir as ir

_TABLE = "onnxplain.names"


class Names:
    """Every name in a graph and its subgraphs, of nodes and values alike, and new ones.

    A name costs the same however many there are. What is removed from the graph keeps its name.
    """

    def __init__(self, graph: ir.Graph) -> None:
        #: How often a name served as the stem of a new one.
        self._counts = dict.fromkeys(_names(graph), 0)

    @classmethod
    def of(cls, graph: ir.Graph) -> Names:
        """Return the table of a model's main graph, which is made when it is first asked for."""
        if _TABLE not in graph.meta:
            graph.meta[_TABLE] = cls(graph)
        table: Names = graph.meta[_TABLE]
        return table

    @classmethod
    def renewed(cls, graph: ir.Graph) -> Names:
        """Return a new table, for a graph that other tools have added names to."""
        graph.meta.pop(_TABLE, None)
        return cls.of(graph)

    def fresh(self, stem: str) -> str:
        """Return ``stem``, or ``stem_1``, ``stem_2`` ... where it is taken; from then on the name is taken."""
        name = stem
        while name in self._counts:
            self._counts[stem] += 1
            name = f"{stem}_{self._counts[stem]}"
        self._counts[name] = 0
        return name


def _names(graph: ir.Graph) -> list[str]:
    nodes, graphs = list(graph.all_nodes()), [graph, *graph.subgraphs()]
    found = [node.name for node in nodes] + [value.name for node in nodes for value in node.outputs]
    found += [value.name for g in graphs for value in [*g.inputs, *g.initializers.values()]]
    return [name for name in found if name]
