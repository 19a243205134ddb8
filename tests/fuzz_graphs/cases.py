"""Models kept as text: failures found once, replayed for ever."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf import text_format

from .check import facts

FOLDER = Path(__file__).parent / "cases"


def save(model: onnx.ModelProto, name: str, folder: Path = FOLDER) -> Path:
    """Write a model as ONNX text, or, where that cannot hold it, as the text of its proto."""
    folder.mkdir(parents=True, exist_ok=True)
    text = onnx.printer.to_text(model)
    path = folder / f"{name}_{facts(model)['seed']}.onnxtxt"
    try:
        whole = _without_names(onnx.parser.parse_model(text)) == _without_names(model)
    except onnx.parser.ParseError:
        whole = False
    if not whole:
        path = path.with_suffix(".textproto")
        text = text_format.MessageToString(model)
    path.write_text(text, encoding="utf-8")
    return path


def load(path: Path) -> onnx.ModelProto:
    """A model that :func:`save` wrote."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".textproto":
        return text_format.Parse(text, onnx.ModelProto())
    return onnx.parser.parse_model(text)


def kept() -> list[Path]:
    return sorted(p for p in FOLDER.glob("*") if p.suffix in (".onnxtxt", ".textproto"))


def _without_names(model: onnx.ModelProto) -> str:
    """What has to survive: the text again, which both forms of numbers and defaults lead to."""
    return onnx.printer.to_text(model)
