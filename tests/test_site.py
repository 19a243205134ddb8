"""The site builds without a warning, has no dead link, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from support import REPOSITORY
from support.environments import environment

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")

#: What a browser fetches by itself, as opposed to what a reader may click.
_FETCHED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src", "object": "data"}
#: Links that say where something is, and are not fetched.
_STATED = {"canonical", "index", "search", "next", "prev", "author"}


class Page(HTMLParser):
    """The anchors of a page, the links that can be clicked, and what a browser fetches."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in _FETCHED and _FETCHED[tag] in found and found.get("rel") not in _STATED:
            self.fetched.append(found[_FETCHED[tag]])


def foreign(address: str) -> bool:
    """Return whether an address is one of another host."""
    return urlsplit(address).scheme in ("http", "https") or address.startswith("//")


def dead(site: Path) -> list[str]:
    """Return the links inside the site that lead nowhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for address in (*page.links, *page.fetched):
            parts = urlsplit(address)
            if parts.scheme or foreign(address):
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not to.exists() or (parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors):
                found.append(f"{path.relative_to(site)}: {address}")
    return found


def asked_of_others(site: Path) -> list[str]:
    """Return what pages and style sheets fetch from other hosts."""
    found = []
    for path in site.rglob("*.html"):
        fetched = Page(path.read_text(encoding="utf-8")).fetched
        found += [f"{path.relative_to(site)}: {address}" for address in fetched if foreign(address)]
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"(?:@import\s+|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", text)
        found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = environment("docs", project["optional-dependencies"]["docs"])
    folder = tmp_path_factory.mktemp("site")
    command = [str(python), str(REPOSITORY / "docs" / "build.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_has_no_dead_link(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 30
    assert dead(site) == []


@pytest.mark.slow
def test_the_site_asks_no_other_host(site: Path) -> None:
    assert asked_of_others(site) == []


@pytest.mark.slow
def test_the_site_has_search_and_a_dark_mode(site: Path) -> None:
    home = (site / "docs" / "index.html").read_text(encoding="utf-8")
    assert 'class="theme-toggle' in home
    assert "search.html" in home
    assert "saliency" in (site / "searchindex.js").read_text(encoding="utf-8")


def test_a_dead_link_and_a_request_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="b.html">b</a><a href="#here">.</a><a href="#gone">.</a></p>'
    )
    (tmp_path / "c.html").write_text('<script src="https://example.org/x.js"></script><a href="a.html#here">a</a>')
    (tmp_path / "d.css").write_text("@import url('//fonts.example.org/f.css'); p { background: url(data:image/png,0) }")
    assert dead(tmp_path) == ["a.html: b.html", "a.html: #gone"]
    assert sorted(asked_of_others(tmp_path)) == [
        "c.html: https://example.org/x.js",
        "d.css: //fonts.example.org/f.css",
    ]
