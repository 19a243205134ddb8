"""Build the site into build/site, or another folder: ``python docs/build.py [FOLDER]``; every warning is an error.

Needs the extra ``docs``; onnxplain itself need not be installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.cmd.build import build_main

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent


def main(folder: Path) -> int:
    options = ["--builder", "html", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
    return build_main([*options, "--conf-dir", str(DOCS), str(REPOSITORY), str(folder)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "build" / "site"))
