"""Prepared models that others may have written are not used, and a warning says so once."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxplain import CacheWarning, Explainer
from onnxplain.runtime import ModelCache, cache, open_cache, trust

from support import small_models as small

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")

X = small.inputs(3)
TARGET = np.array([0, 3, 1])
RIGHT = small.quadratic_gradient(X, TARGET)
STRANGER = 4242


@pytest.fixture(autouse=True)
def unwarned() -> Iterator[None]:
    cache._WARNED.clear()
    yield
    cache._WARNED.clear()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A cache with an entry whose model gives wrong gradients: it shows where it is used."""
    folder = tmp_path / "above" / "models"
    Explainer(small.quadratic(), cache=folder)
    (entry,) = folder.iterdir()
    _plant(entry, wrong(entry))
    return folder


def wrong(entry: Path) -> bytes:
    """The model of the entry, with gradients of zeros."""
    model = onnx.load(entry / "model.onnx")
    outputs = {v.name for v in model.graph.output if v.name.startswith("grad")}
    for node in list(model.graph.node):
        for index, name in enumerate(node.output):
            if name in outputs:
                node.output[index] = f"{name}_before"
                model.graph.node.append(onnx.helper.make_node("Sub", [node.output[index]] * 2, [name]))
    return model.SerializeToString()


def _plant(entry: Path, model: bytes) -> None:
    (entry / "model.onnx").write_bytes(model)
    names = [path for path in entry.iterdir() if path.name != "checksums.json"]
    (entry / "checksums.json").write_text(json.dumps({path.name: zlib.crc32(path.read_bytes()) for path in names}))


def gradient(folder: Path) -> np.ndarray:
    found: np.ndarray = Explainer(small.quadratic(), cache=folder).attribute(X, TARGET)
    return found


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``path`` another user's, who is not root."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(trust.os, "geteuid", lambda: STRANGER)


def test_the_planted_model_shows_where_it_is_used(place: Path) -> None:
    assert not gradient(place).any()


FOREIGN: dict[str, Callable[[Path, Path], object]] = {
    "the folder": lambda folder, entry: folder.chmod(0o777),
    "a folder above": lambda folder, entry: folder.parent.chmod(0o777),
    "the entry": lambda folder, entry: entry.chmod(0o777),
    "its model": lambda folder, entry: (entry / "model.onnx").chmod(0o666),
    "its facts": lambda folder, entry: (entry / "facts.json").chmod(0o606),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_others_may_write_is_not_used(place: Path, what: str) -> None:
    (entry,) = place.iterdir()
    FOREIGN[what](place, entry)
    with pytest.warns(CacheWarning, match="every user may write to") as caught:
        np.testing.assert_allclose(gradient(place), RIGHT, rtol=1e-5)
    assert len(caught) == 1 and "not used" in str(caught[0].message)
    with warnings.catch_warnings():  # said once, and what was only an entry is sound by now
        warnings.simplefilter("error")
        np.testing.assert_allclose(gradient(place), RIGHT, rtol=1e-5)


@pytest.mark.parametrize("what", ["the folder", "a folder above", "the entry", "its model"])
def test_what_belongs_to_another_is_not_used(place: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = place.iterdir()
    paths = {"the folder": place, "a folder above": place.parent, "the entry": entry, "its model": entry / "model.onnx"}
    give_away(paths[what], monkeypatch)
    with pytest.warns(CacheWarning, match=r"belongs to another user \(id \d+\)"):
        np.testing.assert_allclose(gradient(place), RIGHT, rtol=1e-5)


@pytest.mark.parametrize("what", ["entry", "model.onnx", "facts.json"])
def test_links_in_it_are_not_followed(place: Path, what: str, tmp_path: Path) -> None:
    (entry,) = place.iterdir()
    linked = entry if what == "entry" else entry / what
    target = tmp_path / "elsewhere"
    linked.rename(target)
    linked.symlink_to(target)
    with pytest.warns(CacheWarning, match="is a symbolic link"):
        np.testing.assert_allclose(gradient(place), RIGHT, rtol=1e-5)
    assert target.exists(), "what a link leads to is not removed"
    assert not linked.is_symlink()


def test_a_link_of_ones_own_to_the_cache_is_followed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gradient(tmp_path / "link").any()
    place.parent.chmod(0o777)  # on the way that the link leads
    with pytest.warns(CacheWarning, match="every user may write to"):
        np.testing.assert_allclose(gradient(tmp_path / "link"), RIGHT, rtol=1e-5)
    place.parent.chmod(0o755)
    cache._WARNED.clear()
    give_away(tmp_path / "link", monkeypatch)
    with pytest.warns(CacheWarning, match="belongs to another user"):
        np.testing.assert_allclose(gradient(tmp_path / "link"), RIGHT, rtol=1e-5)


def test_nothing_is_written_to_or_removed_from_a_folder_that_is_not_used(place: Path) -> None:
    place.chmod(0o777)
    before = sorted(path.name for path in place.rglob("*"))
    with pytest.warns(CacheWarning):
        Explainer(small.quadratic(), cache=place)
    store = ModelCache(place)
    assert (store.count(), store.size(), store.clear()) == (0, 0, 0)
    assert sorted(path.name for path in place.rglob("*")) == before


def test_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of this user alone is this user; others are others."""
    tmp_path.chmod(0o770)
    for private, expected in ((True, None), (False, "the users of group")):
        monkeypatch.setattr(trust, "_is_private", lambda group, found=private: found)
        reason = trust.foreign_folder(tmp_path)
        assert reason is expected or (expected is not None and reason is not None and reason.startswith(expected))
    monkeypatch.undo()
    trust._is_private.cache_clear()
    assert trust._is_private(0), "root's"
    assert not trust._is_private(54321), "a group without a name"


def test_sticky_folders_on_the_way_are_as_good_as_others(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True, mode=0o700)
    shared.chmod(0o1777)
    assert trust.foreign_folder(shared / "mine") is None
    shared.chmod(0o777)
    assert trust.foreign_folder(shared / "mine") is not None


def test_everything_that_is_written_is_this_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "new" / "models"
        Explainer(small.quadratic(), cache=folder)
        written = [tmp_path / "new", folder, *folder.rglob("*")]
        assert len(written) == 7 and all(path.stat().st_mode & 0o077 == 0 for path in written)
    finally:
        os.umask(before)


def test_facts_are_data(place: Path, tmp_path: Path) -> None:
    """A planted ``save_to`` made ONNX Runtime write its model over a file of the user's."""
    (entry,) = place.iterdir()
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    facts = json.loads((entry / "facts.json").read_text())
    for planted in ({"session": {"save_to": str(precious)}}, {"save_to": str(precious)}, {"folder": str(tmp_path)}):
        (entry / "facts.json").write_text(json.dumps({**facts, **planted}))
        _plant(entry, (entry / "model.onnx").read_bytes())
        gradient(place)
        assert precious.read_text() == "mine"


def test_a_file_that_is_replaced_while_it_is_read_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxplain.model.loading import ModelLoader

    path = tmp_path / "model.onnx"
    onnx.save(small.quadratic(), path)
    real = ModelLoader.differentiate

    def slow(self: ModelLoader, **changes: object) -> object:
        found = real(self, **changes)
        path.write_bytes(path.read_bytes() + b"\x12\x00")
        return found

    monkeypatch.setattr(ModelLoader, "differentiate", slow)
    Explainer(path, cache=tmp_path / "models")
    assert not any((tmp_path / "models").iterdir())


def test_a_user_without_home_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs with any number for a user."""
    import pwd

    def nobody(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("HOME", "ONNXPLAIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def found() -> Path:
        store = open_cache()
        assert store is not None
        return store.folder

    assert found() == tmp_path / f"onnxplain-{os.getuid()}"
    np.testing.assert_allclose(Explainer(small.quadratic()).attribute(X, TARGET), RIGHT, rtol=1e-5)
    assert len(list(found().iterdir())) == 1 and found().stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert found() == Path("/somewhere/onnxplain")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/me")
    assert found() == Path("/home/me/.cache/onnxplain")
