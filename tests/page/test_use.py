"""The page in the hands of a person: files, keyboard, screen reader, phone, webcam, links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from page.conftest import DESKTOP, PHONE
from page.use import explained, numbers, refusal, upload

Opened = Callable[..., Any]
SMALL = "model=small&engine=single"
LOOKS = {"desktop": DESKTOP, "phone": PHONE, "dark": {**PHONE, "color_scheme": "dark"}}


@pytest.mark.parametrize("look", LOOKS)
def test_no_serious_fault_for_screen_readers_and_nothing_sticks_out(
    opened: Opened, packages: Path, folder: Path, look: str
) -> None:
    page = opened(SMALL, **LOOKS[look])
    upload(page, folder / "noise.png")
    page.click("#versus-details summary")
    page.evaluate((packages / "axe_playwright_python" / "axe.min.js").read_text(encoding="utf-8"))
    faults = page.evaluate("axe.run().then((found) => found.violations)")
    assert [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in faults] == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == (look == "dark")


def test_by_the_keyboard_alone(opened: Opened, window: dict[str, Any]) -> None:
    page = opened(SMALL, **window)
    focused = "document.activeElement.id || document.activeElement.name"

    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == name:
                return
        raise AssertionError(f"{name} is not reached")

    tab_to("example")
    page.keyboard.press("Enter")
    before = explained(page)
    tab_to("map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert page.inner_text("#value").endswith("at column 235, row 151") and page.is_visible("#cross")
    tab_to("reveal")
    page.keyboard.press("End")
    assert page.evaluate("document.getElementById('map').style.clipPath") == "inset(0px 0px 0px 100%)"
    tab_to("class-search")
    tab_to("class")
    page.keyboard.press("ArrowDown")
    assert explained(page).split(":")[0] != before.split(":")[0]
    assert page.evaluate(focused) == "class"
    tab_to("method")
    page.keyboard.press("ArrowDown")
    assert explained(page) and "method=gradient_x_input" in page.url


def test_the_value_under_the_pointer(opened: Opened, folder: Path) -> None:
    page = opened(SMALL, **PHONE)
    upload(page, folder / "noise.png")
    found = numbers(page)
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + 0.51 * box["width"], box["y"] + 0.26 * box["height"])
    assert page.inner_text("#value") == f"{found[10, 28]:.4f} at column 28, row 10"


def test_your_own_model(opened: Opened, folder: Path, window: dict[str, Any]) -> None:
    page = opened(SMALL, **window)
    upload(page, folder / "noise.png")
    page.set_input_files("#model-file", folder / "own.onnx")
    page.wait_for_selector("body[data-ready='own.onnx']")
    explained(page)
    want = Explainer(folder / "small.onnx").explain(folder / "noise.png")
    assert np.abs(numbers(page) - want.saliency).max() < 1e-5
    assert page.inner_text("#engine") == "own.onnx; WebAssembly, one thread." and "model=" not in page.url


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("broken.png", "broken.png is no photo that this browser can read."),
        ("broken.onnx", "broken.onnx is no ONNX model, or is damaged."),
        ("small.onnx", "small.onnx has no gradient in it: it is not differentiated; "),
        ("inside.onnx", "inside.onnx has its preprocessing inside, which this page does not run; "),
    ],
)
def test_files_that_are_refused(opened: Opened, folder: Path, window: dict[str, Any], file: str, sentence: str) -> None:
    page = opened(SMALL, **window)
    upload(page, folder / "noise.png")
    before = numbers(page)
    page.set_input_files("#model-file" if file.endswith(".onnx") else "#photo-file", folder / file)
    assert refusal(page).startswith(sentence)
    assert np.array_equal(numbers(page), before)


def test_drop_and_paste(opened: Opened, folder: Path) -> None:
    page = opened(SMALL)
    content = list((folder / "noise.png").read_bytes())
    give = """([content, kind]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(content)], "photo.png", {type: "image/png"}));
      const made = kind === "drop" ? new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true})
        : new ClipboardEvent(kind, {clipboardData: data, bubbles: true});
      document.body.dispatchEvent(made);
    }"""
    maps = []
    for kind in ("drop", "paste"):
        page.evaluate(give, [content, kind])
        explained(page)
        maps.append(numbers(page))
        page.reload()
        page.wait_for_selector("body[data-ready]")
    assert maps[0].shape == (40, 56) and np.array_equal(*maps)


def test_a_link_holds_model_class_and_method_and_not_the_photo(opened: Opened, folder: Path) -> None:
    page = opened(SMALL)
    upload(page, folder / "noise.png")
    page.select_option("#method", "gradient_x_input")
    explained(page)
    page.check("#class label:has-text('blue') input")
    explained(page)
    page.click("#link")
    page.wait_for_selector("#status:text-is('The link is copied.')")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.partition("#")[2] == "model=small&class=2&method=gradient_x_input&engine=single"
    other = opened(link.partition("#")[2])
    assert not other.is_visible("#figure")
    assert upload(other, folder / "noise.png").startswith("blue: ")
    assert np.array_equal(numbers(other), numbers(page))


def test_a_link_names_no_method_by_what_every_object_has(opened: Callable[..., Any]) -> None:
    page = opened("model=small&method=constructor&engine=single")
    assert page.input_value("#method") == "saliency"


def test_the_webcam_drops_frames_and_never_queues_them(opened: Opened) -> None:
    page = opened(SMALL)
    page.click("#webcam")
    page.wait_for_selector(r"#status:text-matches('\\d+\\.\\d maps a second; \\d+ frames dropped')")
    assert page.get_attribute("#webcam", "aria-pressed") == "true"
    page.click("#webcam")
    assert page.inner_text("#status") == "The webcam is off."


def test_nothing_can_be_asked_of_other_machines(opened: Opened) -> None:
    page = opened(SMALL, watched=False)
    refused = page.evaluate("""async () => {
      const kinds = [];
      addEventListener("securitypolicyviolation", (event) => kinds.push(event.effectiveDirective));
      await fetch("http://192.0.2.1/").catch(() => 0);
      for (const kind of ["img", "iframe"]) {
        document.body.append(Object.assign(document.createElement(kind), {src: "http://192.0.2.1/"}));
      }
      const script = document.createElement("script");
      script.textContent = "document.title = 'run'";
      document.body.append(script);
      await new Promise((resolve) => setTimeout(resolve, 500));
      return kinds;
    }""")
    assert set(refused) == {"connect-src", "img-src", "frame-src", "script-src-elem"}
    assert page.title() == "What the model looked at"
