"""Run the benchmarks and write what they print into ``RESULTS.md``: ``python benchmarks/results.py [NAME...]``.

Without any name all sections are measured, one after the other. Sections that are not measured stay as they were, so
every section says itself when, where and with which versions it was. Nothing else should run on the machine meanwhile.
What the scripts on the quality of maps and of class visualisation find is in ``RESULTS_*.md``, which they write
themselves.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
#: Name -> the title of its section, the script that prints it and its arguments, in the order of the file.
SECTIONS: dict[str, tuple[str, list[str]]] = {
    "saliency": ("Saliency end to end", ["saliency"]),
    "operators": ("Operators of our own, on and off", ["operators"]),
    "large": (
        "Saliency end to end, batch 32",
        [
            "saliency",
            "--batches",
            "32",
            "--processes",
            "1",
            "--nets",
            "resnet18",
            "resnet50",
            "mobilenet_v2",
            "bundled efficientnet_lite0",
        ],
    ),
    "runtimes": ("OpenVINO and ONNX Runtime", ["runtimes"]),
    "compiled": (
        "Saliency end to end, with torch.compile",
        ["saliency", "--batches", "8", "--processes", "1", "--compile", "--nets", "resnet18", "resnet50", "vit_s"],
    ),
    "kernels": ("C++ kernels", ["kernels", "--markdown"]),
    "throughput": ("Throughput over photos", ["throughput"]),
    "bulk": ("Bulk", ["bulk"]),
    "serving": ("A service under load", ["serving"]),
    "startup": ("From process start to the first map", ["startup"]),
    "memory": ("Memory", ["memory"]),
    "differentiate": ("Differentiating", ["differentiate"]),
    "smoothgrad": ("SmoothGrad", ["smoothgrad"]),
    "several": ("Several targets of a sample", ["several_targets"]),
    "half": ("Half precision", ["half_precision"]),
}
INTRODUCTION = """# Results

Written by `python benchmarks/results.py`; every section says when, where and with which versions it was measured.
Timings are ratios of medians within one interleaved run, on a machine that others use too: read differences below a
tenth as none. What CUDA gives is not measured yet (`python benchmarks/gpu.py`).
"""


def sections(text: str) -> dict[str, str]:
    """Title -> content of the sections in a results file."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {title: content.strip() for title, content in zip(parts[::2], parts[1::2])}


def measured(script: str, *arguments: str) -> str:
    """What a script prints: Markdown with tables as it is, anything else as it stands on a terminal."""
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments]
    print(f"running {script} {' '.join(arguments)}", file=sys.stderr, flush=True)
    output = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return output if re.search(r"^\|.*\|$", output, flags=re.MULTILINE) else f"```\n{output}\n```"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *SECTIONS], metavar="NAME", default=[])
    names = parser.parse_args().names or list(SECTIONS)
    found = sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names:
        title, command = SECTIONS[name]
        found[title] = measured(*command)
        written = [f"## {title}\n\n{found[title]}\n" for title, _ in SECTIONS.values() if title in found]
        RESULTS.write_text("\n".join([INTRODUCTION, *written]), encoding="utf-8")


if __name__ == "__main__":
    main()
