"""docs/operators.md, written from the registry of rules and the verdicts of a conformance run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import onnx
import onnxruntime

from onnxplain.autodiff import rules
from onnxplain.autodiff.reverse import registry

from support import REPOSITORY
from support.conformance.runner import Verdict

PAGE = REPOSITORY / "docs" / "operators.md"
NAMES = {"": "ai.onnx", "ai.onnx.ml": "ai.onnx.ml", "com.microsoft": "com.microsoft"}
assert rules

HEAD = """# Operators

Every operator that has a rule, and how the gradients fare on the test cases of the ONNX standard
(`onnx.backend.test.case.node`). `cd tests && python -m support.conformance` writes this page, and a test
compares it with a run.

A case counts when ONNX Runtime runs it and agrees with ONNX's reference evaluator, at its inputs and around them,
and when the central finite difference (float64, reference evaluator, random cotangent on the first float output,
random direction) is stable over step sizes, equal from both sides, and not zero. A gradient is right when its
product with the direction equals that difference; refused when onnxplain says that it cannot; wrong otherwise.
"""


def versions() -> str:
    """The line that says what the counts were made with."""
    return f"Counted with onnx {onnx.__version__} and onnxruntime {onnxruntime.__version__}."


def summary(title: str, verdicts: Sequence[Verdict]) -> str:
    counts = {outcome: sum(v.outcome == outcome for v in verdicts) for outcome in ("right", "refused", "wrong")}
    return f"| {title} | {len(verdicts)} | {counts['right']} | {counts['refused']} | {counts['wrong']} |"


def render(first: Sequence[Verdict], every: Sequence[Verdict]) -> str:
    """The page for the verdicts with respect to the first float input, and to all of them."""
    lines = [HEAD, versions(), "", "| with respect to | cases | right | refused | wrong |", "|---|---|---|---|---|"]
    lines += [summary("the first float input", first), summary("all float inputs", every), ""]
    lines += ["## Operators of the standard and of ONNX Runtime", ""]
    lines += ["| operator | since version | gradient | right | refused |", "|---|---|---|---|---|"]
    by_operator: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for verdict in first:
        by_operator[verdict.case.operator].append(verdict)
    since: dict[tuple[str, str], list[int]] = defaultdict(list)
    kinds: dict[tuple[str, str], str] = {}
    for r in registry.registrations():
        since[r.domain, r.op_type].append(r.since_version)
        kinds[r.domain, r.op_type] = "zero" if r.rule.__module__ == registry.__name__ else "rule"
    for key in sorted({*since, *by_operator}):
        verdicts = by_operator.get(key, [])
        right, refused = (sum(v.outcome == outcome for v in verdicts) for outcome in ("right", "refused"))
        kind = kinds.get(key, "its definition" if right else "none")
        stated = ", ".join(str(v) for v in since.get(key, [])) or "any"
        counts = f"{right} | {refused or ''}" if verdicts else " | "
        lines.append(f"| {NAMES.get(key[0], key[0])}::{key[1]} | {stated} | {kind} | {counts} |")
    lines += [
        "",
        "*rule*: a vector-Jacobian product of its own. *its definition*: the standard defines the operator by",
    ]
    lines += ["others, and those have rules. *zero*: the derivative is zero almost everywhere.", ""]
    refusals = [v for v in first if v.outcome == "refused"]
    if refusals:
        lines += ["## What is refused", "", "| case | what onnxplain says |", "|---|---|"]
        lines += [f"| {v.case.name} | {' '.join(v.reason.split())} |" for v in refusals]
        lines.append("")
    return "\n".join(lines)
