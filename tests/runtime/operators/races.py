"""The operators under a sanitizer, without ONNX Runtime and without Python, so that it sees all that runs.

    cd tests && python -m runtime.operators.races               # ThreadSanitizer
    cd tests && python -m runtime.operators.races address,undefined

builds ``races.cpp`` with the operators' sources, by GCC or Clang (``CXX``, by default c++), and runs it with every
instruction set that this processor has. It ends with 1 where the sanitizer, or a comparison, finds something.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "cpp" / "operators"
#: What CMakeLists.txt compiles these with.
SETS: Mapping[str, list[str]] = {
    "kernels_avx2": ["-mavx2", "-mf16c", "-mfma"],
    "kernels_avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"],
}
FLAGS = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-fno-math-errno"]


def x86() -> bool:
    """Whether there are sets beside the portable one."""
    return platform.machine().lower() in ("x86_64", "amd64")


def build(kind: str, folder: Path) -> Path:
    """Return the program, built into ``folder`` with a sanitizer.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    compiler, flags = os.environ.get("CXX", "c++"), [*FLAGS, f"-fsanitize={kind}"]
    flags += ["-DONNXPLAIN_X86"] if x86() else []
    sources = [path for path in sorted(SOURCES.glob("*.cpp")) if x86() or path.stem not in SETS]
    objects = []
    for source in [*sources, ROOT / "cpp" / "cpu.cpp", Path(__file__).with_name("races.cpp")]:
        objects.append(folder / f"{source.stem}.o")
        command = [compiler, *flags, *SETS.get(source.stem, []), "-c", str(source), "-o", str(objects[-1])]
        subprocess.run(command, check=True)
    program = folder / "races"
    subprocess.run([compiler, *flags, *map(str, objects), "-o", str(program), "-lpthread"], check=True)
    return program


def run(program: Path, instruction_set: str) -> subprocess.CompletedProcess[str]:
    """Run the program; a sanitizer's report ends it with another status than 0."""
    environment = {**os.environ, "ONNXPLAIN_ISA": instruction_set, "UBSAN_OPTIONS": "halt_on_error=1"}
    environment["ASAN_OPTIONS"] = "detect_leaks=0"  # the operators' domain lives as long as the process
    return subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=300)


def main() -> int:
    """Run what the command line asks for."""
    from onnxplain.native import available_instruction_sets

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizer", nargs="?", default="thread", help="as the compiler's option -fsanitize takes it")
    kind, found = parser.parse_args().sanitizer, 0
    with tempfile.TemporaryDirectory() as folder:
        program = build(kind, Path(folder))
        for name in available_instruction_sets():
            result = run(program, name)
            print(f"{kind}, {name}: {result.stdout.strip() or 'it did not end'}\n{result.stderr}", flush=True)
            found |= result.returncode != 0
    return found


if __name__ == "__main__":
    sys.exit(main())
