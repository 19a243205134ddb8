"""Grids of many explanations, the HTML report, and what the command line writes of both."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnxplain
from onnxplain import Explainer, Explanation, InputError, OutputError
from onnxplain.results.grid import photo_key

from support import small_models as small

HOSTILE = "<script>alert('x')</script> & \"cat\""


class Page(HTMLParser):
    """Every tag with its attributes, and the text of each kind of tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag: str, kind: str | None = None) -> list[dict[str, str]]:
        return [found for name, found in self.tags if name == tag and (kind is None or kind in found.get("class", ""))]


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(ending="Softmax", metadata=small.image_metadata()))


@pytest.fixture(scope="module")
def explanations(explainer: Explainer) -> list[Explanation]:
    photos = [small.picture(seed=seed) for seed in range(3)]
    found = [replace(one, source=f"photo_{n}.png") for n, one in enumerate(explainer.explain(photos))]
    signed = [
        replace(one, source=f"photo_{n}.png")
        for n, one in enumerate(explainer.explain(photos[:2], method="gradient_x_input"))
    ]
    return [*found, *signed]


def written(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


# The report


def test_a_report_has_a_card_for_each_photo(explanations: list[Explanation], tmp_path: Path) -> None:
    assert onnxplain.report(explanations, tmp_path / "new" / "report.html") == tmp_path / "new" / "report.html"
    page = written(tmp_path / "new" / "report.html")
    cards = page.all("li", "card")
    assert [card["data-name"] for card in cards] == ["photo_0.png", "photo_1.png", "photo_2.png"]
    assert [card["data-methods"].split("\n") for card in cards][1:] == [["saliency", "gradient_x_input"], ["saliency"]]
    assert [float(card["data-score"]) for card in cards] == pytest.approx([one.score for one in explanations[:3]])
    assert len(page.all("section", "explanation")) == 5
    assert len(page.all("button", "zoom")) == 3 + 2 * 5  # the photo once, the map and the overlay of each explanation


def test_a_report_needs_nothing_from_elsewhere(explanations: list[Explanation], tmp_path: Path) -> None:
    path = onnxplain.report(explanations, tmp_path / "a.html")
    page, text = written(path), path.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert not page.all("link") and not any("src" in script for script in page.all("script"))
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; img-src data:")
    pictures = page.all("img")
    assert all(picture["src"].startswith("data:") for picture in pictures)
    for picture in pictures[:-1]:  # the last is the empty one of the viewer
        kind, encoded = picture["src"].split(",")
        assert kind == "data:image/jpeg;base64" and picture["alt"]
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            assert image.size == (int(picture["width"]), int(picture["height"])) == (16, 12)


def test_all_text_is_escaped(explanations: list[Explanation], tmp_path: Path) -> None:
    one = replace(explanations[0], label=HOSTILE, source=f"{HOSTILE.replace('/', '-')}.png")
    path = onnxplain.report([one], tmp_path / "a.html", title=f"{HOSTILE} {{{{script}}}} {{{{cards}}}}")
    page = written(path)
    assert len(page.all("script")) == 1 and "alert" not in page.text["script"]
    assert page.text["h1"] == f"{HOSTILE} {{{{script}}}} {{{{cards}}}}" and page.text["h3"].startswith(HOSTILE)
    (card,) = page.all("li", "card")
    assert card["data-labels"] == HOSTILE and card["data-name"] == one.source
    assert HOSTILE in page.all("button", "zoom")[1]["aria-label"]


def test_labels_of_several_lines_stay_one_label(explanations: list[Explanation], tmp_path: Path) -> None:
    path = onnxplain.report([replace(explanations[0], label="two\nlines")], tmp_path / "a.html")
    assert written(path).all("li", "card")[0]["data-labels"] == "two lines"


def test_a_report_can_be_worked_without_a_mouse(explanations: list[Explanation], tmp_path: Path) -> None:
    page = written(onnxplain.report(explanations, tmp_path / "a.html"))
    assert {found["lang"] for found in page.all("html")} == {"en"}
    assert all(button["type"] in ("button", "submit") for button in page.all("button"))
    assert all(picture["alt"] for picture in page.all("img")[:-1])
    assert len(page.all("label")) == len(page.all("input")) + len(page.all("select")) == 3
    assert page.all("output")[0]["aria-live"] == "polite"


def test_pictures_of_a_report_are_small_and_of_the_kinds_asked_for(explainer: Explainer, tmp_path: Path) -> None:
    large = np.kron(small.picture(), np.ones((50, 50, 1), np.uint8))  # 600 x 800
    one = explainer.explain(large)
    page = written(onnxplain.report([one], tmp_path / "a.html", kinds=["contour"], pixels=200, levels=[0.5]))
    assert page.text["figcaption"] == "photocontour"
    assert [picture["width"] for picture in page.all("img")[:-1]] == ["200", "200"]


def test_a_report_is_made_from_a_stream(explainer: Explainer, tmp_path: Path) -> None:
    photos = (small.picture(seed=seed) for seed in range(20))
    page = written(onnxplain.report(explainer.stream(photos, target="top2"), tmp_path / "a.html"))
    cards = page.all("li", "card")
    assert len(cards) == 20 and all(len(card["data-labels"].split("\n")) == 2 for card in cards)


def test_a_report_holds_no_photo_while_it_grows(explanations: list[Explanation], tmp_path: Path) -> None:
    import gc
    import weakref

    alive: list[weakref.ref[Any]] = []

    def stream() -> Iterator[Explanation]:
        for number in range(5):
            gc.collect()
            assert sum(one() is not None for one in alive) <= 1
            image = explanations[0].image.copy()
            alive.append(weakref.ref(image))
            yield replace(explanations[0], image=image, source=f"{number}.png")

    onnxplain.report(stream(), tmp_path / "a.html")
    assert len(alive) == 5


def test_a_report_appears_whole_or_not_at_all(explanations: list[Explanation], tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("old")

    def broken() -> Iterator[Explanation]:
        yield explanations[0]
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        onnxplain.report(broken(), path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="folder"):
        onnxplain.report(explanations, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_refusals(explanations: list[Explanation], tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    calls: list[tuple[Any, str]] = [
        (lambda: onnxplain.report([], path), "at least one explanation"),
        (lambda: onnxplain.report(explanations, path, kinds=["panel"]), "not 'panel'"),
        (lambda: onnxplain.report(explanations, path, kinds=[]), "overlay, heatmap or contour"),
        (lambda: onnxplain.report(explanations, path, kinds=["poster"]), "'poster' is unknown"),
        (lambda: onnxplain.report(explanations, path, pixels=0), "0 pixels"),
        (lambda: onnxplain.report(explanations, path, levels=[0.5]), "no option 'levels'"),
        (lambda: onnxplain.report(explanations, path, signed=True), "'saliency' maps says nothing"),
        (lambda: onnxplain.grid([]), "at least one picture"),
        (lambda: onnxplain.grid(explanations, "panel"), "overlay, heatmap or contour"),
        (lambda: onnxplain.grid(explanations, "poster"), "'poster' is unknown"),
    ]
    for call, message in calls:
        with pytest.raises(InputError, match=message):
            call()
    assert not list(tmp_path.iterdir())


# Grids


def test_a_grid_has_a_row_for_each_photo_and_a_column_for_each_method(explanations: list[Explanation]) -> None:
    one = onnxplain.grid(explanations[:1], cell=64)
    both = onnxplain.grid([explanations[0], explanations[3]], cell=64)
    rows = onnxplain.grid(explanations, cell=64)
    assert one.shape[0] == both.shape[0] < rows.shape[0] and rows.shape[1] == both.shape[1]
    shuffled = onnxplain.grid([explanations[n] for n in (0, 3, 4, 1, 2)], cell=64)
    np.testing.assert_array_equal(shuffled, rows)


def test_a_grid_takes_lists_of_targets(explainer: Explainer) -> None:
    photo = small.picture()
    two = onnxplain.grid([explainer.explain(photo, "top2")], "heatmap", cell=128, title="two classes")
    three = onnxplain.grid(explainer.explain([photo, small.picture(seed=1)], "top3"), "heatmap", cell=128)
    assert three.shape[1] > two.shape[1] and three.shape[0] > two.shape[0]


def test_photos_are_told_apart_by_path_or_by_pixels(explanations: list[Explanation]) -> None:
    named, other = explanations[0], explanations[1]
    assert photo_key(named) == photo_key(explanations[3]) != photo_key(other)
    nameless = replace(named, source=None)
    assert photo_key(nameless) == photo_key(replace(nameless, image=named.image.copy()))
    assert photo_key(nameless) != photo_key(replace(other, source=None))


# The command line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.onnx").write_bytes(
        small.quadratic(ending="Softmax", metadata=small.image_metadata()).SerializeToString()
    )
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        Image.fromarray(small.picture(seed=seed)).save(tmp_path / "photos" / f"{seed}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of ``onnxplain explain`` and the files that it made."""
    from click.testing import CliRunner

    from onnxplain.cli import app

    before = set(Path().rglob("*"))
    result = CliRunner().invoke(app, ["explain", "model.onnx", *arguments])
    return result.exit_code, {path.as_posix() for path in set(Path().rglob("*")) - before if path.is_file()}


def test_cli_writes_a_report_and_nothing_else(folder: Path) -> None:
    code, made = run("photos", "--report", "out/report.html", "--method", "saliency,gradient_x_input")
    assert (code, made) == (0, {"out/report.html"})
    page = written(folder / "out" / "report.html")
    assert len(page.all("li", "card")) == 3 and len(page.all("section", "explanation")) == 6


def test_cli_writes_a_report_besides_pictures(folder: Path) -> None:
    code, made = run("photos/0.png", "photos/1.png", "--report", "r.html", "-o", "out", "--picture", "contour")
    assert (code, made) == (0, {"r.html", "out/0_saliency.png", "out/1_saliency.png"})
    assert written(folder / "r.html").text["figcaption"] == "photocontour" * 2


def test_cli_puts_photos_that_fail_for_every_method_aside(folder: Path) -> None:
    (folder / "photos" / "1.png").write_text("no picture")
    code, made = run("photos", "--report", "r.html", "-m", "saliency,gradient_x_input", "--json")
    assert (code, made) == (1, {"r.html"})
    assert [card["data-name"] for card in written(folder / "r.html").all("li", "card")] == ["0.png", "2.png"]


@pytest.mark.parametrize("kind", ["overlay", "heatmap", "contour", "panel"])
def test_cli_draws_every_kind(folder: Path, kind: str) -> None:
    code, made = run("photos/0.png", "--picture", kind, "--colormap", "viridis", "--percentiles", "0,99", "-o", "a.jpg")
    assert (code, made) == (0, {"a.jpg"})


def test_cli_draws_a_grid_of_all_photos(folder: Path) -> None:
    assert run("photos", "--picture", "grid", "-o", "out", "-t", "top2") == (0, {"out/grid.png"})
    code, made = run(
        "photos", "--picture", "grid", "-o", "grid.jpg", "-m", "saliency,gradient_x_input", "--alpha", "0.5"
    )
    assert (code, made) == (0, {"grid.jpg"})
    with Image.open("grid.jpg") as grid:
        assert grid.width > 3 * 240


def test_cli_names_files_by_method_and_rank(folder: Path) -> None:
    code, made = run("photos/0.png", "-m", "saliency,gradient_x_input", "-t", "top2", "-o", "a.png")
    assert code == 0
    assert made == {f"a_{method}_{rank}.png" for method in ("saliency", "gradient_x_input") for rank in (1, 2)}


def test_cli_signed_pictures(folder: Path) -> None:
    assert run("photos/0.png", "-m", "gradient_x_input", "--signed", "-o", "a.png") == (0, {"a.png"})
    assert run("photos/0.png", "-m", "saliency", "--signed", "-o", "b.png") == (1, set())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--picture", "poster"), 1),
        (("--picture", "heatmap", "--alpha", "0.5"), 1),
        (("--colormap", "jet"), 1),
        (("--percentiles", "50"), 2),
        (("--picture", "grid", "--format", "npy"), 2),
        (("--picture", "grid", "-o", "grid.svg"), 1),
        (("--report", "photos/0.png"), 1),
        (("--method", "saliency,nonsense"), 1),
        (("--method", "saliency,gradient_x_input", "--set", "samples=3"), 2),
    ],
)
def test_cli_refuses_before_it_writes(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run("photos/0.png", *arguments) == (code, set())


def test_cli_lists_what_is_one_file_for_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from onnxplain.cli import app

    result = CliRunner().invoke(app, ["explain", "model.onnx", "photos", "--report", "r.html", "--json"])
    assert json.loads(result.stdout)["files"] == ["r.html"]
    result = CliRunner().invoke(app, ["explain", "model.onnx", "photos", "--report", "r.html"])
    assert result.stdout.splitlines()[-1] == "r.html" and not re.search("->", result.stdout)
