"""What ``onnxplain check --bench`` prints of the times that it measured."""

from __future__ import annotations

from typing import Any

from .common import say
from .tables import table


def print_bench(facts: dict[str, Any]) -> None:
    """Print a table for each runtime, and which one to take."""
    _print_runtime(facts, facts["runtime"])
    for name, other in facts["others"].items():
        _print_runtime(other, name)
    say("")
    for name, problem in facts["problems"].items():
        say(f"not timed: {name}: {problem}")
    for name, other in facts["others"].items():
        ratios = ", ".join(
            f"{mine['saliency_ms'] / usual['saliency_ms']:.2f} at batch {mine['batch']}"
            for mine, usual in zip(other["timings"], facts["timings"])
        )
        say(f"{name} takes, of the time of {facts['runtime']}: {ratios}")
    if facts["others"]:
        say(f"take --runtime {facts['take']}")


def _print_runtime(facts: dict[str, Any], name: str) -> None:
    shapes = ", ".join(f"{name} {shape_text(extents)}" for name, extents in facts["inputs"].items())
    rows = []
    for row in facts["timings"]:
        values = (row["forward_ms"], row["saliency_ms"], row["ratio"], row["images_per_second"])
        rows.append([str(row["batch"]), *(f"{value:.2f}" if value < 100 else f"{value:.0f}" for value in values)])
    say("", f"timed on {shapes}, {name}, {facts['provider']}")
    say(*table(("batch", "forward, ms", "saliency, ms", "ratio", "images/s"), rows, left=0))
    say(
        f"large batches: {facts['runs_at_once']} run(s) at once, each of {facts['samples_of_a_run']} sample(s) on "
        f"{facts['threads_of_a_run']} thread(s); about {facts['bytes_per_sample'] / 1e6:.1f} MB a sample"
    )
    if name != "onnxruntime":
        return
    fused, left = facts["operators"]["fused"], facts["operators"]["left"]
    say(f"operators of our own: {', '.join(f'{count} {name}' for name, count in fused.items()) or 'none'}")
    for note in left:
        say(f"  left: {note['operator']} at {note['node']}: {note['reason']}")


def shape_text(extents: list[int | str]) -> str:
    """Return [1,3,224,224]."""
    return f"[{','.join(map(str, extents))}]"
