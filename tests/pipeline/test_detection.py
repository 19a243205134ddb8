"""Non-maximum suppression against a naive one, and boxes brought back to the photo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.photos import Geometry
from onnxplain.pipeline.detection import box_in_photo, suppressed
from onnxplain.target import Box

CORNERS = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)
ROWS = st.lists(st.tuples(CORNERS, st.integers(0, 5), st.integers(0, 2)), max_size=20)


def naive(boxes: list[Box], scores: list[float], classes: list[int], overlap: float) -> list[int]:
    """Row by row, from the highest score down."""
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: (-scores[row], row)):
        if not any(classes[row] == classes[one] and boxes[row].iou(boxes[one]) > overlap for one in kept):
            kept.append(row)
    return kept


@given(rows=ROWS, overlap=st.sampled_from([0.0, 0.2, 0.45, 0.5, 1.0]), limit=st.one_of(st.none(), st.integers(1, 8)))
def test_suppression_is_that_of_a_naive_loop(
    rows: list[tuple[tuple[int, int, int, int], int, int]], overlap: float, limit: int | None
) -> None:
    boxes = [Box(x, y, x + width, y + height) for (x, y, width, height), _, _ in rows]
    scores, classes = [score / 5 for _, score, _ in rows], [index for _, _, index in rows]
    corners = np.array([[b.x0, b.y0, b.x1, b.y1] for b in boxes]).reshape(-1, 4)
    found = suppressed(corners, np.array(scores), np.array(classes), overlap, limit)
    assert found.tolist() == naive(boxes, scores, classes, overlap)[:limit]


def test_empty_boxes_overlap_nothing() -> None:
    boxes = np.array([[1.0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2]])
    assert suppressed(boxes, np.ones(3), np.zeros(3, int), 0.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        (Geometry((100, 200), (50, 100), (0, 0), (50, 100)), (20, 40, 60, 80)),
        (Geometry((100, 200), (50, 100), (-25, 0), (100, 100)), (20, 0, 60, 30)),
        (Geometry((100, 200), (100, 200), (30, 100), (40, 60)), (110, 50, 130, 70)),
        (Geometry((60, 25), (60, 25), (0, 0), (60, 25)), (10, 20, 25, 40)),
    ],
    ids=["resized", "letterboxed, above the photo", "cropped", "right of the photo"],
)
def test_boxes_in_the_photos_pixels(geometry: Geometry, expected: tuple[float, ...]) -> None:
    assert box_in_photo(np.array([10, 20, 30, 40]), geometry) == Box(*expected)


def test_a_box_in_the_padding_is_nowhere() -> None:
    geometry = Geometry((50, 100), (50, 100), (-25, 0), (100, 100))
    assert box_in_photo(np.array([10, 0, 30, 20]), geometry) is None
