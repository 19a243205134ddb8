"""Says whether an installed onnxplain is whole: ``python smoke.py PICTURE``, with a picture that ``explain`` wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

import onnxplain
from onnxplain import Explainer, native
from onnxplain.bundled import bundled_photo


def main(picture: str) -> None:
    """Print what was found; a failed assertion is a wheel that is not whole."""
    package = Path(onnxplain.__file__).parent
    assert "site-packages" in package.parts, package
    libraries = sorted(path.name for path in package.iterdir() if path.suffix in (".so", ".pyd", ".dll", ".dylib"))
    assert any(name.startswith("_native") for name in libraries), libraries
    assert any("onnxplain_operators" in name for name in libraries), libraries
    explainer = Explainer(cache=False)
    made = explainer.explain(bundled_photo())
    assert made.label is not None and "cat" in made.label, made.label
    assert sum(explainer.operators.fused.values()) > 0, explainer.operators
    with Image.open(picture) as image:
        record = json.loads(image.info["onnxplain"])
        assert image.size == (451, 300), image.size
    assert record["map"] == made.to_dict()["map"], "the command and the library made different maps"
    assert "torch" not in sys.modules
    sets = ", ".join(native.available_instruction_sets())
    print(f"onnxplain {onnxplain.__version__}, Python {sys.version.split()[0]}: {', '.join(libraries)}; {sets}; "
          f"{sum(explainer.operators.fused.values())} operators of its own")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
