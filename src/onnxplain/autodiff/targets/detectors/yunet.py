"""YuNet, the face detector of OpenCV: of every stride cls, obj, bbox and kps.

Source: ``postProcess`` in modules/objdetect/src/face_detect.cpp of OpenCV. The score is obj * cls; its square root,
which OpenCV calls the score, is how sure the detector is.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ..score import Scores
from .boxes import cells, column, cut, from_cells
from .reader import Reader, described, last, rank
from .scoring import Classes, scores

USUAL: dict[str, Any] = {"strides": [8, 16, 32]}
EXPECTS = "for every stride the outputs cls [N,A,1], obj [N,A,1], bbox [N,A,4] and kps [N,A,10], all cls first"
_PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
#: The five points of a face in the order of OpenCV; right and left are the person's own.
POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")


def yunet(reader: Reader) -> Scores:
    """The faces of all strides.

    Raises:
        InputError: the outputs are not such, or a field makes no sense.
    """
    emit, fields = reader.emit, reader.fields
    strides = fields.strides()
    outputs = _outputs(reader, strides)
    cls, obj, bbox, kps = (reader.joined([reader.floats(v) for v in outputs[part]]) for part in _PARTS)
    product = emit.Mul(cls, obj)
    grid = cells(reader, outputs["bbox"][0], bbox, strides)
    points: dict[str, ir.Value] = {}
    for index, name in enumerate(POINTS):
        place = emit.Mul(emit.Add(cut(emit, kps, [2 * index, 2 * index + 1]), grid.places), grid.steps)
        points |= {f"{name}.x": column(emit, place, 0), f"{name}.y": column(emit, place, 1)}
    classes = Classes(product, emit.Sqrt(product), "identity")
    boxes = from_cells(emit, bbox, grid, "yolox", None)
    return scores(reader, [*outputs["cls"], *outputs["obj"]], classes, boxes, points=points)


def _outputs(reader: Reader, strides: list[int]) -> dict[str, list[ir.Value]]:
    """The outputs of every part, in the order of the strides."""
    scales = len(strides)
    named = reader.named(4 * scales)
    if named is None:
        known = {v.name: v for v in reader.graph.outputs}
        wanted = [f"{part}_{stride}" for part in _PARTS for stride in strides]
        missing = [name for name in wanted if name not in known]
        if missing:
            raise reader.refuse(f"there is no output {missing[0]!r}")
        named = [known[name] for name in wanted]
    found = {part: named[k * scales : (k + 1) * scales] for k, part in enumerate(_PARTS)}
    for part, width in _PARTS.items():
        for value in found[part]:
            if rank(value) != 3 or last(value) not in (None, width):
                raise reader.refuse(f"{described(value)} is not {part} [N,A,{width}]")
    return found
