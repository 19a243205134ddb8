"""Time and memory to differentiate chains of thousands of nodes: ``python benchmarks/deep_graphs.py``.

Each size runs in a process of its own, round by round, with the source trees in turn: this one, and those that
``--against`` names (the folder ``src`` of another checkout, with its extension built). Times are of the processor, the
least of the rounds. The memory is what the process takes at most, beyond what it took with the model as a message.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from common import environment, table

HERE = Path(__file__).resolve().parents[1] / "src"
PROGRAM = """
import gc, resource, sys, time
from pathlib import Path
import numpy as np
from onnx import TensorProto, helper
from onnxplain import differentiate

def chain(depth):
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4, dtype=np.float32).ravel()),
        helper.make_tensor("b", TensorProto.FLOAT, [4], [0.01] * 4),
    ]
    nodes, last = [], "x"
    for number in range(depth):
        kind = ("Relu", "Add", "Sigmoid", "MatMul")[number % 4]
        more = {"Add": ["b"], "MatMul": ["w"]}.get(kind, [])
        nodes.append(helper.make_node(kind, [last, *more], [f"v{number}"]))
        last = f"v{number}"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", last))
    graph = helper.make_graph(nodes, "deep", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

def now():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

form, depth = sys.argv[1], int(sys.argv[2])
differentiate(chain(20), form=form)
model = chain(depth)
message = now()
begun = time.process_time()
differentiate(model, form=form)
seconds = time.process_time() - begun
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - message)
"""


def once(source: Path, form: str, depth: int) -> tuple[float, float]:
    """Seconds, and MB at most."""
    command = [sys.executable, "-c", PROGRAM, form, str(depth)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(source)}, check=True, capture_output=True, text=True
    )
    seconds, most = map(float, done.stdout.split())
    return seconds, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="*", default=[4_000, 16_000, 50_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--form", default="portable")
    parser.add_argument("--against", type=Path, action="append", default=[], help="the folder src of another checkout")
    asked = parser.parse_args()
    rows: list[list[object]] = []
    first: dict[Path, float] = {}
    for depth in asked.depths:
        sources = [HERE, *asked.against]
        found = {source: [once(source, asked.form, depth) for _ in range(asked.rounds)] for source in sources}
        least = {source: min(seconds for seconds, _ in runs) for source, runs in found.items()}
        for source, runs in found.items():
            each = least[source] / depth
            first.setdefault(source, each)
            ratios = [f"{each / first[source]:.2f}", f"{least[HERE] / least[source]:.3f}", f"{runs[0][1]:.0f}"]
            label = "this" if source == HERE else source.parent.name
            rows.append([label, depth, f"{least[source]:.2f}", *ratios])
    print(environment("onnx-ir"), end="\n\n")
    columns = ["source", "nodes", "seconds", "a node, to the first size", "this to it", "MB"]
    print(table(columns, rows))


if __name__ == "__main__":
    main()
