"""How a build gets ONNX Runtime's files for browsers, with programs that stand for npm."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support import REPOSITORY

CMAKE = shutil.which("cmake")
SCRIPT = REPOSITORY / "cmake" / "fetch_page_runtime.cmake"
NAMES = ["a.mjs", "b.wasm"]

pytestmark = [
    pytest.mark.skipif(CMAKE is None, reason="needs CMake"),
    pytest.mark.skipif(sys.platform == "win32", reason="npm is stood for by a program with a first line"),
]


class Build:
    """A folder in which the script runs, an archive as npm makes it, and a PATH that holds nothing but its npm."""

    def __init__(self, place: Path) -> None:
        self.place, self.folder, self.path = place, place / "build" / "runtime", place / "path"
        self.path.mkdir()
        self.archive = self._archive("published.tgz", NAMES)
        digest = hashlib.sha512(self.archive.read_bytes()).hexdigest()
        self.release = place / "release.json"
        self.release.write_text(json.dumps({"version": "1.2.3", "sha512": digest, "files": NAMES}))

    def _archive(self, name: str, names: list[str]) -> Path:
        contents = self.place / "package"
        (contents / "dist").mkdir(parents=True)
        for path in ("dist/other.js", "README.md", *(f"dist/{one}" for one in names)):
            (contents / path).write_text(path)
        with tarfile.open(self.place / name, "w:gz") as tar:
            tar.add(contents, "package")
        shutil.rmtree(contents)
        return self.place / name

    def npm(self, program: str) -> None:
        """Let this Python program stand for npm."""
        file = self.path / "npm"
        file.write_text(f"#!{sys.executable}\nimport shutil, sys, time\n{program}\n")
        file.chmod(0o755)

    def npm_gives(self, archive: Path) -> None:
        self.npm(
            "assert sys.argv[1:3] == ['pack', 'onnxruntime-web@1.2.3'] and '--fetch-retries=0' in sys.argv, sys.argv\n"
            f"shutil.copy({str(archive)!r}, 'onnxruntime-web-1.2.3.tgz')"
        )

    def run(self, **variables: object) -> tuple[int, str]:
        """Exit code of the script and all that it wrote."""
        given = {"RELEASE": self.release, "FOLDER": self.folder, **variables}
        command = [str(CMAKE), *(f"-D{name}={value}" for name, value in given.items()), "-P", str(SCRIPT)]
        done = subprocess.run(command, env={"PATH": str(self.path)}, capture_output=True, text=True, timeout=60)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def left(self) -> list[str]:
        """What is in the folder of the build."""
        top = self.folder.parent
        return sorted(path.relative_to(top).as_posix() for path in top.rglob("*")) if top.exists() else []


WHOLE = ["runtime", *(f"runtime/{name}" for name in NAMES)]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


@pytest.mark.parametrize("needed", ["ON", "OFF"])
def test_npm_fetches_once(build: Build, needed: str) -> None:
    build.npm_gives(build.archive)
    assert build.run(NEEDED=needed)[0] == 0
    assert build.left() == WHOLE
    assert (build.folder / "b.wasm").read_text() == "dist/b.wasm"
    build.npm("sys.exit('asked again')")
    assert build.run(NEEDED=needed) == (0, "")


def test_what_an_interrupted_build_left_is_removed(build: Build) -> None:
    build.npm_gives(build.archive)
    (build.folder.parent / "runtime.part").mkdir(parents=True)
    (build.folder.parent / "runtime.part" / "a.mjs").write_text("half")
    assert build.run()[0] == 0
    assert build.left() == WHOLE


@pytest.mark.parametrize(
    ("program", "seconds", "reason"),
    [
        (None, 60, "there is no npm on the PATH"),
        ("sys.exit('npm error code ECONNREFUSED')", 60, "npm error code ECONNREFUSED"),
        ("time.sleep(50)", 1, "timeout"),
        ("", 60, "npm wrote no onnxruntime-web-1.2.3.tgz"),
    ],
    ids=["no npm", "no network", "too slow", "nothing"],
)
def test_without_an_archive(build: Build, program: str | None, seconds: int, reason: str) -> None:
    if program is not None:
        build.npm(program)
    code, said = build.run(SECONDS=seconds)
    assert code == 0 and reason in said and "ONNX Runtime's files for browsers are left out" in said
    code, said = build.run(NEEDED="ON", SECONDS=seconds)
    assert code != 0 and reason in said and "-DONNXPLAIN_PAGE_RUNTIME_ARCHIVE=FILE" in said
    assert build.left() == []


@pytest.mark.parametrize("needed", ["ON", "OFF"])
def test_another_archive_is_refused(build: Build, needed: str) -> None:
    expected = hashlib.sha512(build.archive.read_bytes()).hexdigest()
    build.archive.write_bytes(build.archive.read_bytes() + b"\0")
    build.npm_gives(build.archive)
    code, said = build.run(NEEDED=needed)
    assert code != 0 and build.left() == []
    found = hashlib.sha512(build.archive.read_bytes()).hexdigest()
    assert f"found {found}" in said and f"expected {expected}" in said


def test_an_archive_that_is_here(build: Build) -> None:
    code, said = build.run(ARCHIVE=build.place / "nowhere.tgz")
    assert code != 0 and "nowhere.tgz is not there; ONNXPLAIN_PAGE_RUNTIME_ARCHIVE names" in said
    assert build.run(ARCHIVE=build.archive)[0] == 0
    assert build.left() == WHOLE and build.archive.exists()


def test_an_archive_without_a_file(build: Build) -> None:
    release = json.loads(build.release.read_text())
    build.release.write_text(json.dumps(release | {"files": [*NAMES, "c.mjs"]}))
    code, said = build.run(ARCHIVE=build.archive)
    assert code != 0 and "package/dist/c.mjs" in said and str(build.archive) in said
    assert not build.folder.exists()


@pytest.mark.parametrize(("choice", "code"), [("OFF", 0), ("maybe", 1)])
def test_the_choice(tmp_path: Path, choice: str, code: int) -> None:
    """OFF asks for nothing and installs nothing; what is no choice is refused."""
    included = REPOSITORY / "cmake" / "page_runtime.cmake"
    lines = ["cmake_minimum_required(VERSION 3.20)", "project(page NONE)", f'include("{included}")']
    (tmp_path / "CMakeLists.txt").write_text("\n".join(lines))
    configure = [str(CMAKE), "-S", str(tmp_path), "-B", str(tmp_path / "build"), f"-DONNXPLAIN_PAGE_RUNTIME={choice}"]
    done = subprocess.run(configure, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    if code:
        assert "ONNXPLAIN_PAGE_RUNTIME is maybe" in done.stderr
    else:
        assert "runtime" not in (tmp_path / "build" / "cmake_install.cmake").read_text()
