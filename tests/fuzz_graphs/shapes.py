"""Whether the shapes that a model states of its values are those of a run."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from .reference import Feeds, session, with_outputs


def wrong_shape(model: onnx.ModelProto, runs: Sequence[Feeds]) -> str | None:
    """The first value whose stated shape differs from that of a run: a number, or a name of two extents at once."""
    graph = model.graph
    stated = {
        v.name: v.type.tensor_type
        for v in [*graph.output, *graph.value_info]
        if v.type.HasField("tensor_type") and v.type.tensor_type.HasField("shape")
    }
    made = {name for node in graph.node for name in node.output}
    names = [n for n in stated if n in made]
    runner = session(with_outputs(model, *names), optimise=False)
    wanted = {i.name for i in runner.get_inputs()}
    for feeds in runs:
        extents: dict[str, tuple[int, str]] = {}
        for value in graph.input:
            if value.name in feeds:
                for dim, extent in zip(value.type.tensor_type.shape.dim, feeds[value.name].shape):
                    if dim.dim_param:
                        extents.setdefault(dim.dim_param, (extent, value.name))
        results = runner.run(names, {k: v for k, v in feeds.items() if k in wanted})
        for name, result in zip(names, results):
            dims = stated[name].shape.dim
            said = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]
            if len(said) != result.ndim:
                return f"{name!r} is stated as {said}, a run gives {list(result.shape)}"
            for dim, extent in zip(said, result.shape):
                if isinstance(dim, int) and dim != extent:
                    return f"{name!r} is stated as {said}, a run gives {list(result.shape)}"
                if isinstance(dim, str) and dim != "?":
                    before, where = extents.setdefault(dim, (extent, name))
                    if before != extent:
                        return f"{dim!r} is {before} in {where!r} and {extent} in {name!r}, a run says"
    return None
