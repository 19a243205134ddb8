"""What an Explanation of the bundled photo holds, shows and writes."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from onnxplain import Explainer, Explanation, InputError, OutputError, RuntimeMissingError
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.pictures import colormap
from onnxplain.results.explanation import PICTURES


@pytest.fixture(scope="module")
def cat() -> Explanation:
    found = Explainer().explain(bundled_photo())
    assert isinstance(found, Explanation)
    return found


def test_the_bundled_model_calls_the_bundled_photo_a_cat(cat: Explanation) -> None:
    assert cat.label is not None and "cat" in cat.label
    assert cat.image.shape == (300, 451, 3) and cat.image.dtype == np.uint8
    assert cat.attribution.shape == (3, 224, 224)
    assert cat.saliency_input.shape == (224, 224) and cat.saliency_input.max() == 1
    assert cat.saliency.shape == (300, 451) and cat.saliency.dtype == np.float32
    assert cat.top[0].index == cat.target and cat.top[0].label == cat.label
    assert [one.score for one in cat.top] == sorted((one.score for one in cat.top), reverse=True)
    assert cat.probability is not None and 0 < cat.probability < 1
    assert cat.source == str(bundled_photo())
    assert cat.provider.endswith("ExecutionProvider")
    assert "cat" in repr(cat) and len(repr(cat)) < 300


def test_the_map_is_zero_where_the_model_did_not_look(cat: Explanation) -> None:
    top, left, bottom, right = (round(edge) for edge in cat.geometry.crop_box)
    assert left > 0 and right < 451
    assert not cat.saliency[:, : left - 2].any() and not cat.saliency[:, right + 2 :].any()
    assert cat.saliency[top:bottom, left:right].any()


def test_overlay_is_a_picture_of_the_photos_size(cat: Explanation) -> None:
    overlay = cat.overlay()
    assert overlay.shape == cat.image.shape and overlay.dtype == np.uint8
    assert (overlay != cat.overlay(colormap="viridis")).any()


def test_saving_a_file_of_each_kind(cat: Explanation, tmp_path: Path) -> None:
    assert cat.save(tmp_path / "a.png") == [tmp_path / "a.png"]
    with Image.open(tmp_path / "a.png") as overlay:
        np.testing.assert_array_equal(np.asarray(overlay), cat.overlay())
    assert cat.save(tmp_path / "a.jpg") == [tmp_path / "a.jpg"]
    cat.save(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), cat.saliency)
    cat.save(tmp_path / "a.json")
    facts = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert facts["label"] == cat.label and facts["target"] == cat.target and facts["size"] == [300, 451]
    assert len(facts["top"]) == 5 and facts["provider"] == cat.provider


def test_saving_several_formats_and_into_folders(cat: Explanation, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    names = ["chelsea_saliency.png", "chelsea_saliency.npy", "chelsea_saliency.json"]
    assert cat.save(folder, "png,npy,json") == [folder / name for name in names]
    assert cat.save(folder) == [folder / names[0]]
    assert cat.save(tmp_path / "b.jpg", ["json", "png"]) == [tmp_path / "b.json", tmp_path / "b.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_saving_where_it_is_impossible_leaves_nothing_behind(cat: Explanation, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(OutputError, match="cannot be made"):
        cat.save(file / "below" / "a.png")
    with pytest.raises(OutputError, match=r"out\.gif"):
        cat.save(tmp_path / "out.gif")
    with pytest.raises(InputError, match=r"'gif'.*png, svg, pdf, npy, json"):
        cat.save(tmp_path, "gif")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_notebooks_show_the_overlay(cat: Explanation) -> None:
    assert cat._repr_png_().startswith(b"\x89PNG")


def test_notebooks_show_the_class_and_its_rivals(cat: Explanation) -> None:
    html = replace(cat, label="<script>alert(1)</script>")._repr_html_()
    assert "&lt;script&gt;" in html and "<script" not in html
    assert "http" not in html and html.count('src="data:image/jpeg;base64,') == 1 and 'alt="' in html
    assert html.count("<tr>") == len(cat.top) and all(str(one.label) in html for one in cat.top[1:])


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture(cat: Explanation, kind: str, tmp_path: Path) -> None:
    picture = cat.picture(kind, colormap="viridis", percentiles=(10, 99))
    assert picture.dtype == np.uint8 and (picture != cat.picture(kind)).any()
    if kind != "panel":
        assert picture.shape == cat.image.shape
    cat.save(tmp_path / "a.png", kind=kind, smooth=0.01)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), cat.picture(kind, smooth=0.01))


def test_a_panel_holds_the_photo_the_map_and_the_overlay(cat: Explanation) -> None:
    sheet = cat.picture("panel", alpha=0.5)
    height, width = cat.image.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], (height, width))[:, :, 150:152, :]
    lefts = []
    for part in (cat.image, cat.picture("heatmap"), cat.overlay(alpha=0.5)):
        (top,), (left,) = np.nonzero((windows == part[150:152, :, 0]).all(axis=(2, 3)))
        np.testing.assert_array_equal(sheet[top : top + height, left : left + width], part)
        lefts.append(left)
    assert lefts == sorted(lefts)


def test_signed_pictures(cat: Explanation) -> None:
    with pytest.raises(InputError, match="'saliency' maps says nothing"):
        cat.picture("heatmap", signed=True)
    signed = replace(cat, signed_input=cat.attribution.sum(axis=0))
    heat = signed.picture("heatmap", signed=True)
    assert (heat[0, 0] == colormap("diverging")[128]).all()  # nothing outside the crop
    for kind in PICTURES:
        assert (signed.picture(kind, signed=True) != cat.picture(kind)).any()


def test_pictures_refuse_what_they_do_not_have(cat: Explanation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="picture 'poster' is unknown; there are overlay, heatmap"):
        cat.picture("poster")
    with pytest.raises(InputError, match="a panel is a sheet"):
        cat.pictures(["heatmap", "panel"])
    with pytest.raises(InputError, match="kind heatmap has no option 'alpha'; it has colormap, percentiles, smooth"):
        cat.picture("heatmap", alpha=0.5)
    with pytest.raises(InputError, match="kind heatmap, overlay has no option 'levels'"):
        cat.save(tmp_path / "a.png", kind="panel", levels=[0.5])
    assert not list(tmp_path.iterdir())


def test_plot_needs_matplotlib(cat: Explanation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "onnxplain\[plot\]"'):
        cat.plot()


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_plot_shows_photo_and_overlay(cat: Explanation, tmp_path: Path) -> None:
    figure = cat.plot()
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert len(cat.plot("panel").axes) == 3


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_figures_as_svg_and_pdf(cat: Explanation, tmp_path: Path) -> None:
    assert cat.save(tmp_path / "a.svg", kind="contour") == [tmp_path / "a.svg"]
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert cat.save(tmp_path, "pdf", kind="panel") == [tmp_path / "chelsea_saliency.pdf"]
    assert (tmp_path / "chelsea_saliency.pdf").read_bytes().startswith(b"%PDF")


def test_the_bundled_files_are_found() -> None:
    assert bundled_model().is_file() and bundled_photo().is_file()


def test_pictures_fade_out_where_the_crop_ends(cat: Explanation) -> None:
    flat = replace(cat, saliency_input=np.ones((224, 224), np.float32))
    heat = flat.picture("heatmap", percentiles=(0, 100))
    row = heat[150].astype(int).sum(axis=1)
    _, left, _, right = cat.geometry.crop_box
    inside = row[round(left) : round(right)]
    width = round(451 / 48)
    assert inside[0] < inside[width // 2] < inside[width + 1] == inside.max()
    assert inside[-1] < inside[-width // 2] < inside[-width - 2] == inside.max()
    assert row[: round(left) - 1].max() == 4 and flat.saliency[150, round(left) + 2] == 1  # the map is not changed
    whole = replace(cat.geometry, offset=(0, 0), canvas=cat.geometry.resized)
    assert (whole.fading() == 1).all()
