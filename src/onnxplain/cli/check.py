"""``onnxplain check``: what a model is, and whether it can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..errors import OnnxplainError
from .bench import print_bench, shape_text
from .cache import describe_cache, in_words
from .common import (
    FAILED,
    ClassAxis,
    Json,
    LabelsFile,
    PreprocessingName,
    Quiet,
    Score,
    Tensor,
    guarded,
    print_json,
    report,
    say,
)
from .signatures import Argument, Option
from .tables import table

if TYPE_CHECKING:
    from ..autodiff.summary import ModelSummary
    from ..explainer import Explainer
    from .timing import Bench


@guarded
def check(
    model: Annotated[Path, Argument(help="An ONNX model.")],
    tensor: Tensor = None,
    score: Score = "logit",
    class_axis: ClassAxis = None,
    preprocessing: PreprocessingName = None,
    labels: LabelsFile = None,
    bench: Annotated[
        bool, Option("--bench", help="Also time the model on this machine, in every runtime that is installed.")
    ] = False,
    runtime: Annotated[
        str | None, Option("--runtime", help="Time it in this one alone: onnxruntime, openvino.", metavar="NAME")
    ] = None,
    engine: Annotated[
        str | None,
        Option(help="Also tell what is known to go wrong in an engine: openvino, opencv, tract, ..."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell whether MODEL can be explained, and list everything that stands in the way.

    Exit code 1 if an operator on the path from the input to the score has no rule, or if there is no path, or if the
    engine is known to run the differentiated model wrongly, or not at all.
    """
    from ..autodiff.summary import summarize

    summary = summarize(model, tensor=tensor, score=score, class_axis=class_axis)
    facts = _facts(summary, model, preprocessing, labels)
    if bench and not facts["problems"]:
        from ..model.runtimes import RUNTIMES

        names = RUNTIMES if runtime is None else (runtime,)
        facts["bench"] = _bench(model, names, tensor=tensor, score=score, class_axis=class_axis)
    if engine is not None:
        facts["engine"] = _engine(engine, model, facts, tensor)
        facts["problems"] = [*facts["problems"], *(issue["text"] for issue in facts["engine"]["issues"])]
    if as_json:
        print_json(facts)
    elif not quiet:
        _print(facts)
    if not as_json:
        for reason in facts["problems"]:
            report(reason)
    if facts["problems"]:
        raise click.exceptions.Exit(FAILED)


def _facts(summary: ModelSummary, model: Path, preprocessing: str | None, labels: Path | None) -> dict[str, Any]:
    problems = [summary.problem] if summary.problem else summary.refusals
    return {
        "model": str(model),
        "producer": summary.producer,
        "opsets": {domain or "ai.onnx": version for domain, version in summary.opsets.items()},
        "inputs": [
            {"name": i.name, "type": i.dtype, "shape": list(i.shape), "layout": _layout(i.shape, i.channel_axis)}
            for i in summary.inputs
        ],
        "outputs": [{"name": name, "type": kind, "shape": shape} for name, kind, shape in summary.outputs],
        "batch": summary.batch,
        "score_tensor": summary.score_tensor,
        "class_axis": summary.class_axis,
        "classes": summary.classes,
        "layer": summary.layer,
        "labels": _labels(summary, model, labels),
        "preprocessing": _preprocessing(summary, model, preprocessing),
        "operators": [
            {
                "operator": f"{operator.domain or 'ai.onnx'}::{operator.op_type}",
                "version": operator.version,
                "nodes": operator.count,
                "rule": not operator.refusals,
            }
            for operator in summary.operators
        ],
        "nodes_before": summary.nodes_before,
        "nodes_after": summary.nodes_after,
        "differentiable": summary.differentiable,
        "problems": problems,
        "cache": describe_cache(),
    }


def _engine(engine: str, model: Path, facts: dict[str, Any], tensor: str | None) -> dict[str, Any]:
    """What is known to go wrong with the portable form of a model, whatever is asked of it."""
    from ..autodiff import differentiate
    from ..autodiff.engines import issues

    found = issues(model if facts["problems"] else differentiate(model, "cotangent", tensor=tensor), engine)
    return {
        "name": engine,
        "issues": [{"wrong": i.fact.wrong, "nodes": list(i.nodes), "text": str(i)} for i in found],
    }


def _bench(model: Path, names: Sequence[str], **options: Any) -> dict[str, Any]:
    """Times in the runtimes ``names``, the first that loads the model in full; and which one to take."""
    from ..explainer import Explainer
    from .timing import compare, fastest

    explainers: dict[str, Explainer] = {}
    problems: dict[str, str] = {}
    for name in names:
        try:
            explainers[name] = Explainer(model, runtime=name, **options)
        except OnnxplainError as error:
            if name == names[-1] and not explainers:
                raise
            problems[name] = str(error)
    found = compare(explainers)
    usual, best = next(iter(explainers)), fastest(found)
    return {
        "runtime": usual,
        **_timed(explainers[usual], found[usual]),
        "others": {name: _timed(explainers[name], found[name]) for name in found if name != usual},
        "problems": problems,
        "take": best,
    }


def _timed(explainer: Explainer, found: Bench) -> dict[str, Any]:
    return {
        "provider": explainer.provider,
        "inputs": found.shapes,
        "timings": [
            {
                "batch": timing.batch,
                "forward_ms": timing.forward * 1e3,
                "saliency_ms": timing.saliency * 1e3,
                "ratio": timing.ratio,
                "images_per_second": timing.rate,
            }
            for timing in found.timings
        ],
        "runs_at_once": found.plan.runs,
        "samples_of_a_run": found.plan.samples,
        "threads_of_a_run": found.plan.threads,
        "bytes_per_sample": found.plan.bytes_per_sample,
        "operators": explainer.operators.to_dict(),
    }


def _layout(shape: tuple[int | str, ...], channel_axis: int | None) -> str | None:
    """NCHW, NHWC, NCL and so on; None where there are no channels."""
    names = {3: "L", 4: "HW", 5: "DHW"}.get(len(shape))
    if names is None or channel_axis is None:
        return None
    return f"NC{names}" if channel_axis == 1 else f"N{names}C"


def _labels(summary: ModelSummary, model: Path, labels: Path | None) -> dict[str, Any]:
    from ..photos import resolve_labels

    try:
        found = resolve_labels(labels, metadata=summary.metadata, model_path=model, classes=summary.classes)
    except OnnxplainError as error:
        return {"found": False, "problem": str(error)}
    return {"found": found is not None, "count": None if found is None else len(found)}


def _preprocessing(summary: ModelSummary, model: Path, preprocessing: str | None) -> dict[str, Any]:
    from ..photos import resolve_preprocessing

    if len(summary.inputs) != 1:
        return {"found": False, "problem": f"the model has {len(summary.inputs)} inputs, photos fill one"}
    tensor = summary.inputs[0]
    try:
        found = resolve_preprocessing(
            preprocessing,
            metadata=summary.metadata,
            model_path=model,
            input_shape=tensor.shape,
            input_dtype=tensor.dtype,
            layout="NHWC" if tensor.channel_axis == 3 else "NCHW",
        )
    except OnnxplainError as error:
        return {"found": False, "problem": str(error)}
    return {"found": True, "source": found.source, **found.preprocessing.to_dict()}


def _print(facts: dict[str, Any]) -> None:
    rows: list[tuple[str, str]] = [
        ("producer", facts["producer"]),
        ("opset", ", ".join(f"{domain} {version}" for domain, version in facts["opsets"].items())),
    ]
    rows += [
        ("input", f"{i['name']}: {i['type']} {shape_text(i['shape'])} {i['layout'] or ''}") for i in facts["inputs"]
    ]
    rows += [("output", f"{o['name']}: {o['type']} {o['shape']}") for o in facts["outputs"]]
    batch = facts["batch"]
    rows.append(("batch", f"fixed at {batch}" if isinstance(batch, int) else f"open ({batch})"))
    classes = "an open number of" if facts["classes"] is None else facts["classes"]
    if facts["score_tensor"] is None:
        rows.append(("score", "none"))
    elif facts["class_axis"] is None:
        rows.append(("score", f"{facts['score_tensor']}, one for each sample"))
    else:
        rows.append(("score", f"{facts['score_tensor']}, {classes} classes on axis {facts['class_axis']}"))
    if facts["layer"] is not None:
        rows.append(("last feature map", facts["layer"]))
    labels, preprocessing = facts["labels"], facts["preprocessing"]
    rows.append(("labels", f"{labels['count']} found" if labels["found"] else labels.get("problem", "none found")))
    rows.append(
        ("preprocessing", f"from {preprocessing['source']}" if preprocessing["found"] else preprocessing["problem"])
    )
    after = "cannot be differentiated" if facts["nodes_after"] is None else f"{facts['nodes_after']} differentiated"
    rows.append(("nodes", f"{facts['nodes_before']}, {after}"))
    if "engine" in facts:
        known = len(facts["engine"]["issues"])
        rows.append((facts["engine"]["name"], f"{known} known problem(s)" if known else "no known problem"))
    rows.append(("cache", in_words(facts["cache"])))
    say(*table((), rows, left=2))
    if facts["operators"]:
        operators = []
        for row in facts["operators"]:
            rule = "yes" if row["rule"] else "MISSING"
            operators.append((rule, row["operator"], str(row["version"] or "?"), str(row["nodes"])))
        say("", *table(("rule", "operator on the path", "version", "nodes"), operators, left=2))
    if "bench" in facts:
        print_bench(facts["bench"])
