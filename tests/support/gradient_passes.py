"""What the tests of gradient-graph passes share: the model with and without them must return the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case

#: Of the largest element: a sum in another order.
ROUNDING = 2e-6
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
BATCHES = (1, 3)
_FORMS = {one.name for passes in PASSES.values() for one in passes}


def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], level: str) -> dict[str, np.ndarray]:
    """Every output, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [v.name for v in session.get_outputs()]
    return dict(zip(names, session.run(names, {v.name: feeds[v.name] for v in session.get_inputs()})))


def same_outputs(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], levels: tuple[str, ...] = LEVELS, **options: object
) -> tuple[onnx.ModelProto, Report]:
    """Differentiate ``model`` with and without the passes, and compare every output of the two.

    Returns the rewritten model and what the passes report.
    """
    report = Report()
    before = differentiate(model, form="cuda", **options)  # type: ignore[arg-type]  # as the rules write it
    after = differentiate(model, form="cpu", report=report, **options)  # type: ignore[arg-type]
    onnx.checker.check_model(after, full_check=True)
    assert [v.SerializeToString() for v in after.graph.output] == [v.SerializeToString() for v in before.graph.output]
    assert [v.SerializeToString() for v in after.graph.input] == [v.SerializeToString() for v in before.graph.input]
    for level in levels:
        expected, found = run(before, feeds, level), run(after, feeds, level)
        for name, array in expected.items():
            scale = float(np.max(np.abs(array), initial=0.0)) or 1.0
            assert found[name].shape == array.shape
            assert float(np.max(np.abs(found[name] - array), initial=0.0)) <= ROUNDING * scale, (name, level)
    return after, report


def same_gradients(case: Case, levels: tuple[str, ...] = ("ORT_ENABLE_ALL",)) -> tuple[onnx.ModelProto, Report]:
    """:func:`same_outputs` of a single operator, with batch 1, 3 and symbolic, for a random cotangent."""
    wrt = case.wrt()
    found = None
    for fixed in (None, *BATCHES):
        model = case.model(np.dtype(np.float32), fixed)
        for batch in BATCHES if fixed is None else (fixed,):
            feeds = {
                name: v.astype(np.float32) if v.dtype == np.float64 else v for name, v in case.feeds(1, batch).items()
            }
            (y,) = run(model, feeds, "ORT_ENABLE_ALL").values()
            feeds["cotangent"] = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
            result = same_outputs(model, feeds, levels, target="cotangent", wrt=wrt)
            found = found or result
    assert found is not None
    return found


def form_counts(report: Report) -> dict[str, tuple[int, int]]:
    """How many nodes each pass for a provider rewrote and left alone, of those that met any."""
    return {name: found for name, found in report.counts().items() if name in _FORMS}


def gradient_operators(model: onnx.ModelProto) -> list[str]:
    """The operators of the nodes that were added, in order."""
    return [node.op_type for node in model.graph.node if node.name.startswith("grad/")]
