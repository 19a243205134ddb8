"""What ``onnxplain check --bench`` prints of the times that it measured."""

from __future__ import annotations

from typing import Any

from ..text import printable


def print_bench(facts: dict[str, Any]) -> None:
    """Print a table for each runtime, and which one to take."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    _print_runtime(facts, facts["runtime"])
    for name, other in facts["others"].items():
        _print_runtime(other, name)
    console.print()
    for name, problem in facts["problems"].items():
        console.print(Text(printable(f"not timed: {name}: {problem}")))
    for name, other in facts["others"].items():
        ratios = ", ".join(
            f"{mine['saliency_ms'] / usual['saliency_ms']:.2f} at batch {mine['batch']}"
            for mine, usual in zip(other["timings"], facts["timings"])
        )
        console.print(f"{name} takes, of the time of {facts['runtime']}: {ratios}")
    if facts["others"]:
        console.print(f"take --runtime {facts['take']}")


def _print_runtime(facts: dict[str, Any], name: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shapes = ", ".join(f"{name} {shape_text(extents)}" for name, extents in facts["inputs"].items())
    times = Table("batch", "forward, ms", "saliency, ms", "ratio", "images/s", box=None, padding=(0, 2, 0, 0))
    for row in facts["timings"]:
        values = (row["forward_ms"], row["saliency_ms"], row["ratio"], row["images_per_second"])
        times.add_row(str(row["batch"]), *(f"{value:.2f}" if value < 100 else f"{value:.0f}" for value in values))
    console = Console(highlight=False)
    console.print()
    console.print(Text(printable(f"timed on {shapes}, {name}, {facts['provider']}")))
    console.print(times)
    console.print(
        f"large batches: {facts['runs_at_once']} run(s) at once, each of {facts['samples_of_a_run']} sample(s) on "
        f"{facts['threads_of_a_run']} thread(s); about {facts['bytes_per_sample'] / 1e6:.1f} MB a sample"
    )
    if name != "onnxruntime":
        return
    fused, left = facts["operators"]["fused"], facts["operators"]["left"]
    console.print(f"operators of our own: {', '.join(f'{count} {name}' for name, count in fused.items()) or 'none'}")
    for note in left:
        console.print(f"  left: {note['operator']} at {note['node']}: {note['reason']}")


def shape_text(extents: list[int | str]) -> str:
    """Return [1,3,224,224]."""
    return f"[{','.join(map(str, extents))}]"
