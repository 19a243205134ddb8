"""Boxes and outlines on pictures: where the lines are, and that they stand out."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import InputError
from onnxplain.pictures import boxes_image, outlined
from onnxplain.target import Box

DARK, BRIGHT = (np.full((120, 160, 3), value, np.uint8) for value in (0, 255))


@pytest.mark.parametrize("ground", [DARK, BRIGHT], ids=["dark", "bright"])
def test_a_line_is_white_with_a_dark_rim(ground: np.ndarray) -> None:
    picture = boxes_image(ground, [Box(40, 30, 100, 90)])
    for row, column in ((30, 60), (89, 60), (60, 40), (60, 99)):
        assert (picture[row, column] == 255).all()
    for row, column in ((29, 60), (31, 60), (60, 39), (60, 41), (90, 60), (88, 60)):
        assert (picture[row, column] == 0).all()
    inside, outside = picture[34:86, 44:96], np.delete(picture, np.s_[28:92], axis=0)
    assert (inside == ground[0, 0]).all() and (outside == ground[0, 0]).all()
    assert picture.dtype == np.uint8 and (ground == ground[0, 0]).all()


@pytest.mark.parametrize(
    "box", [Box(-50, -50, 500, 500), Box(158, 100, 300, 300), Box(10.2, 10.3, 10.6, 10.8)], ids=str
)
def test_a_box_beyond_the_picture_is_seen_at_its_edge(box: Box) -> None:
    white = (boxes_image(DARK, [box]) == 255).all(axis=2)
    assert white.any() and white.sum() <= 2 * (120 + 160)


def test_captions_lie_above_the_box_or_inside_it() -> None:
    box, tall = Box(40, 40, 100, 90), Box(40, 0, 100, 90)
    plain, named = boxes_image(BRIGHT, [box]), boxes_image(BRIGHT, [box], ["dog 87.0%"])
    changed = np.argwhere((plain != named).any(axis=2))
    assert len(changed) and changed[:, 0].max() < 42 and changed[:, 0].min() > 10
    inside = np.argwhere((boxes_image(BRIGHT, [tall]) != boxes_image(BRIGHT, [tall], ["dog"])).any(axis=2))
    assert len(inside) and inside[:, 0].max() < 30


def test_the_first_box_lies_on_top() -> None:
    one, other = Box(20, 20, 80, 80), Box(50, 20, 110, 80)
    both = boxes_image(DARK, [one, other])
    assert (both[25:75, 79] == 255).all() and not (both[21, 78:81] == 255).all()


def test_the_outline_of_a_region() -> None:
    region = np.zeros((120, 160), np.float32)
    region[40:80, 0:60] = 3
    picture = outlined(DARK, None, region)
    bright = picture.astype(int).sum(axis=2) > 200
    assert bright[38:42, 30].any() and bright[78:82, 30].any() and bright[60, 58:62].any()
    assert bright[60, 0] and not bright[60, 5:55].any() and not bright[:, 65:].any()
    np.testing.assert_array_equal(outlined(DARK), DARK)
    with pytest.raises(InputError, match=r"region is \[3, 4\], the picture \[120, 160\]"):
        outlined(DARK, None, np.ones((3, 4), np.float32))
