"""The HTML report in a real browser: filters, sorting, the viewer, light and dark, narrow windows.

Needs Chromium; a script at the end of the page works the controls and leaves what it saw in the document.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import onnxplain
from onnxplain import Explainer

from support import small_models as small

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=3000",
    "--dump-dom",
]
HOSTILE = "<img src=x onerror=document.title='hacked'>"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

WATCH = """<script>
window.seen = {errors: []};
addEventListener("error", (event) => seen.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => seen.errors.push(event.violatedDirective));
</script>"""

WORK = """<script>
const byId = (id) => document.getElementById(id);
const names = () => [...document.querySelectorAll(".card")].filter((card) => card.checkVisibility())
  .map((card) => card.dataset.name);
const set = (id, value) => {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event(id === "search" ? "input" : "change"));
};
seen.start = names();
seen.labels = [...byId("label").options].map((option) => option.textContent);
set("search", "GREEN photo"); seen.searched = names(); seen.count = byId("count").value;
set("search", "nothing like this"); seen.none = !byId("nothing").hidden && names().length;
set("search", "");
set("label", "cat"); seen.filtered = names();
set("label", "");
for (const order of ["score-down", "score-up", "name", "order"]) { set("sort", order); seen[order] = names(); }
const zooms = [...document.querySelectorAll(".zoom")];
const press = (key) => byId("viewer").dispatchEvent(new KeyboardEvent("keydown", {key}));
const shown = () => zooms.findIndex((zoom) => zoom.querySelector("img").alt === byId("description").textContent
  && zoom.querySelector("img").src === byId("enlarged").src);
zooms[1].focus(); zooms[1].click();
seen.opened = byId("viewer").open && shown();
press("ArrowRight"); seen.right = shown();
press("ArrowLeft"); press("ArrowLeft"); press("ArrowLeft"); seen.around = shown() - zooms.length;
seen.fits = byId("enlarged").getBoundingClientRect().bottom <= innerHeight;
byId("close").click();
seen.closed = !byId("viewer").open;
seen.ground = getComputedStyle(document.body).backgroundColor;
seen.ink = getComputedStyle(document.body).color;
seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
seen.broken = [...document.querySelectorAll("#cards img")].filter((image) => !image.naturalWidth).length;
setTimeout(() => {
  seen.focus = zooms.indexOf(document.activeElement) - zooms.length;
  document.body.dataset.seen = JSON.stringify(seen);
}, 300);
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three photos with the labels cat, green and a hostile one, and scores 1, 3 and 2."""
    explainer = Explainer(small.quadratic(ending="Softmax", metadata=small.image_metadata()))
    found = explainer.explain([small.picture(seed=seed) for seed in range(3)])
    facts = (("photo 10.png", "cat", 1.0), ("photo 9.png", "green", 3.0), ("last.png", HOSTILE, 2.0))
    told = [replace(one, source=name, label=label, score=score) for one, (name, label, score) in zip(found, facts)]
    path = onnxplain.report(told, tmp_path_factory.mktemp("report") / "report.html")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<body>", f"<body>{WATCH}").replace("</body>", f"{WORK}</body>"), encoding="utf-8")
    return path


def look(page: Path, folder: Path, *, dark: bool, width: int) -> dict[str, Any]:
    """What the script saw in a window of ``width`` pixels."""
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    window = [f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}", scheme]
    command = [str(BROWSER), *OPTIONS, *window, page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found is not None, dom[-2000:]
    assert "<title>What the model looked at</title>" in dom
    return dict(json.loads(html.unescape(found[1])))


def brightness(colour: str) -> int:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3])


def test_the_page_works_in_a_wide_light_window(page: Path, tmp_path: Path) -> None:
    seen = look(page, tmp_path, dark=False, width=1300)
    assert seen["errors"] == [] and seen["broken"] == 0
    ten, nine, last = "photo 10.png", "photo 9.png", "last.png"
    assert seen["start"] == seen["order"] == [ten, nine, last]
    assert seen["labels"] == ["all", f"{HOSTILE} (1)", "cat (1)", "green (1)"]
    assert seen["searched"] == [nine] and seen["count"] == "1 of 3 photos" and seen["none"] == 0
    assert seen["filtered"] == [ten]
    assert seen["score-down"] == [nine, last, ten] and seen["score-up"] == [ten, last, nine]
    assert seen["name"] == [last, nine, ten]  # numbers by value
    assert (seen["opened"], seen["right"], seen["around"]) == (1, 2, -1) and seen["closed"] and seen["fits"]
    assert seen["focus"] == -1  # back on the picture that was shown last
    assert brightness(seen["ground"]) > 600 > 200 > brightness(seen["ink"])


def test_the_page_fits_a_narrow_dark_window(page: Path, tmp_path: Path) -> None:
    seen = look(page, tmp_path, dark=True, width=500)
    assert seen["errors"] == [] and seen["overflow"] == 0 and seen["fits"]
    assert brightness(seen["ground"]) < 200 < 600 < brightness(seen["ink"])
