"""Write docs/engines.md: every engine that has an environment, on every model.

    cd tests && python -m engines.report            # differences
    cd tests && python -m engines.report --times    # and times, on a quiet machine

A time is the shortest of three runs, by as many threads as the engine takes by itself, as a multiple of the same
engine's plain forward pass of the same model.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import utils

from engines.comparison import Outcome, outcome
from engines.environments import ENGINES, Engine
from engines.models import MODELS, Sample, sample
from onnxplain.autodiff.engines import FACTS

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
_ROUNDS = 3

_HEAD = """# Engines

A differentiated model in the default form, `portable`, is one file for every engine. This page compares engines with
ONNX Runtime's CPU provider: the largest difference of `grad_*` and `saliency_*`, relative to the largest element; with
`--times` also the time of a run as a multiple of the same engine's own forward pass. `python -m engines.report` in
`tests/` writes it, `python -m engines.environments --all` makes the environments; models are in
`tests/engines/models.py`, inputs lie on no kink.

What the form does for them, one rewrite a file under `src/onnxplain/autodiff/forms/`: max pooling without indices,
layer normalisations in plain operators, square and integer weights read a second time through a Concat of two Slices
(OpenVINO returns wrong numbers else), pads as numbers, Scans that capture nothing and go forwards. Files do not grow:
what is computed from weights is folded when an engine loads the model. The engine then holds it a second time.

"""


def main() -> None:
    """Compare, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", action="store_true", help="also time every model")
    times = parser.parse_args().times
    engines = [engine for engine in ENGINES.values() if engine.ready]
    lines, versions = [], dict[str, str]()
    for name, example in MODELS.items():
        drawn = sample(example)
        cells = [_cell(engine, drawn, versions, times) for engine in engines]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    write(engines, versions, lines)


def write(engines: Sequence[Engine], versions: Mapping[str, str], lines: Sequence[str]) -> None:
    """Write the page, with one line for each model."""
    titles = [f"{engine.title} {versions.get(engine.name, '')}".strip() for engine in engines]
    table = ["| model | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles), *lines]
    PAGE.write_text(_HEAD + "\n".join(table) + "\n\n" + _known(), encoding="utf-8")


def _cell(engine: Engine, drawn: Sample, versions: dict[str, str], times: bool) -> str:
    found = outcome(engine, drawn, _ROUNDS if times else 1)
    if found.refusal:
        return "refuses"
    versions[engine.name] = found.version
    if not times:
        return f"{found.difference:.0e}"
    plain = outcome(engine, _forward(drawn), _ROUNDS)
    return f"{found.difference:.0e}, {_multiple(found, plain)}"


def _multiple(found: Outcome, plain: Outcome) -> str:
    return "forward refused" if plain.refusal else f"{found.seconds / plain.seconds:.1f} x"


def _forward(drawn: Sample) -> Sample:
    """The model's own part of a differentiated model."""
    inputs = [v.name for v in drawn.model.graph.input][:1]
    outputs = [n for n in drawn.expected if not n.startswith(("grad_", "saliency_", "score", "at"))]
    plain = utils.Extractor(drawn.model).extract_model(inputs, outputs)
    feeds = {name: drawn.feeds[name] for name in inputs}
    return Sample(plain, feeds, {name: drawn.expected[name] for name in outputs}, compared=outputs)


def _known() -> str:
    """What the table of the package says."""
    lines = [
        "## What no form helps",
        "",
        "`onnxplain check MODEL --engine NAME` looks for these in a model, and ends with 1 if it finds one.",
        "",
        "| engine | what | effect | what to do |",
        "|---|---|---|---|",
    ]
    for fact in FACTS:
        effect = "wrong numbers, no error" if fact.wrong else "refused"
        lines.append(f"| {fact.engine} | {fact.what} | {effect} | {fact.advice} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
