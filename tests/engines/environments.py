"""The engines that differentiated models are compared in, each in an environment of its own.

    cd tests && python -m engines.environments            # those that CI uses
    cd tests && python -m engines.environments --all

makes what is missing in the folder ``ONNXPLAIN_ENGINES``, by default ``~/.cache/onnxplain-engines``. Tests use what is
there, and no network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNNERS = Path(__file__).parent / "runners"
FOLDER = Path(os.environ.get("ONNXPLAIN_ENGINES", Path.home() / ".cache" / "onnxplain-engines"))


@dataclass(frozen=True)
class Engine:
    """An engine: what to install, from PyPI or (``node``) from npm, and the runner in ``runners/``."""

    name: str
    title: str
    packages: tuple[str, ...]
    runner: str
    node: str = ""
    #: Whether CI makes it.
    small: bool = True
    #: The form that it gets.
    form: str = "portable"
    #: The engine whose environment it shares; none: it has one of its own.
    shares: str = ""

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return FOLDER / (self.shares or self.name)

    @property
    def ready(self) -> bool:
        """Whether its environment was made, of these packages."""
        made = self._stamp
        return made.is_file() and made.read_text() == "\n".join(self.packages)

    @property
    def _stamp(self) -> Path:
        return self.folder / "made-of.txt"

    def make(self) -> None:
        """Make its environment anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.node:
            (self.folder / "package.json").write_text('{"private": true}')
            command = ["npm", "install", "--silent", "--ignore-scripts", *self.packages]
            subprocess.run(command, cwd=self.folder, check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=True)
            python = str(self.folder / "bin" / "python")
            subprocess.run([python, "-m", "pip", "install", "--quiet", *self.packages], check=True)
        self._stamp.write_text("\n".join(self.packages))

    def command(self, rounds: int, folders: Sequence[Path]) -> list[str]:
        """What runs the models in some folders, and times so many runs of each."""
        runner, rest = str(RUNNERS / self.runner), [str(rounds), *map(str, folders)]
        if self.node:
            return ["node", runner, str(self.folder), self.node, *rest]
        return [str(self.folder / "bin" / "python"), runner, *rest]


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("openvino", "OpenVINO, CPU", ("openvino==2026.4.1", "numpy"), "openvino_runtime.py"),
        Engine(
            "openvino-form",
            "OpenVINO, CPU, form `openvino`",
            ("openvino==2026.4.1", "numpy"),
            "openvino_runtime.py",
            form="openvino",
            shares="openvino",
        ),
        Engine(
            "onnxruntime-web",
            "ONNX Runtime web, WebAssembly in Node",
            ("onnxruntime-web@1.30.0",),
            "onnxruntime_javascript.mjs",
            node="onnxruntime-web",
        ),
        Engine("tract", "tract", ("tract==0.23.9", "numpy"), "tract_runtime.py"),
        Engine("opencv", "OpenCV, new engine", ("opencv-python-headless==5.0.0.93", "numpy"), "opencv_dnn.py"),
        Engine(
            "onnxruntime-node",
            "ONNX Runtime for Node, CPU",
            ("onnxruntime-node@1.30.0",),
            "onnxruntime_javascript.mjs",
            node="onnxruntime-node",
            small=False,
        ),
        Engine(
            "onnxruntime-openvino",
            "ONNX Runtime, provider OpenVINO",
            ("onnxruntime-openvino==1.24.1", "numpy"),
            "openvino_provider.py",
            small=False,
        ),
    )
}


def main() -> None:
    """Make every environment that is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="engines; by default those that CI uses")
    parser.add_argument("--all", action="store_true", help="every engine")
    given = parser.parse_args()
    for engine in ENGINES.values():
        wanted = engine.name in given.names or given.all or (engine.small and not given.names)
        if not wanted or engine.ready:
            continue
        if engine.node and shutil.which("npm") is None:
            print(f"{engine.name} is left out: there is no npm", flush=True)
            continue
        print(f"making {engine.folder}", flush=True)
        engine.make()


if __name__ == "__main__":
    main()
