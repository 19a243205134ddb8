"""Run the benchmarks and write what they print into ``RESULTS.md``: ``python benchmarks/results.py [NAME...]``.

A name is that of a script in this folder; without any all are run, one after the other. Sections of scripts that are
not run stay as they were, so every section says itself when, where and with which versions it was measured. Nothing
else should run on the machine meanwhile. What the scripts on the quality of maps and of class visualisation find is in
``RESULTS_*.md``, which they write themselves.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
#: Script, with its arguments -> the title of its section, in the order of the file.
SECTIONS = {
    "saliency": "Saliency end to end",
    "kernels": "C++ kernels",
    "throughput": "Throughput over photos",
    "startup": "From process start to the first map",
    "memory": "Memory",
    "differentiate": "Differentiating",
    "smoothgrad": "SmoothGrad",
}
ARGUMENTS = {"kernels": ["--markdown"], "smoothgrad": ["--only", "time"]}
INTRODUCTION = """# Results

Written by `python benchmarks/results.py`; every section says when, where and with which versions it was measured.
Timings are ratios of medians within one interleaved run, on a machine that others use too: read differences below a
tenth as none. What CUDA gives is not measured yet (`python benchmarks/gpu.py`).
"""


def sections(text: str) -> dict[str, str]:
    """Title -> content of the sections in a results file."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {title: content.strip() for title, content in zip(parts[::2], parts[1::2])}


def measured(name: str) -> str:
    """What a script prints: Markdown with tables as it is, anything else as it stands on a terminal."""
    command = [sys.executable, str(HERE / f"{name}.py"), *ARGUMENTS.get(name, [])]
    print(f"running {name}", file=sys.stderr, flush=True)
    output = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return output if re.search(r"^\|.*\|$", output, flags=re.MULTILINE) else f"```\n{output}\n```"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *SECTIONS], metavar="NAME", default=[])
    names = parser.parse_args().names or list(SECTIONS)
    found = sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names:
        found[SECTIONS[name]] = measured(name)
        written = [f"## {title}\n\n{found[title]}\n" for title in SECTIONS.values() if title in found]
        RESULTS.write_text("\n".join([INTRODUCTION, *written]), encoding="utf-8")


if __name__ == "__main__":
    main()
