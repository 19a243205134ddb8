"""Every input that a user can get wrong: a clear error, one line on the command line, nothing half-written."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxplain import (
    Explainer,
    ImageError,
    InputError,
    ModelError,
    OnnxplainError,
    OutputError,
    TargetError,
    UnsupportedOperatorError,
    cli,
    differentiate,
)
from onnxplain.autodiff.summary import summarize

from support import small_models as small

GOOD = small.quadratic(metadata=small.image_metadata())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model and a photo that are fine."""
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(GOOD.SerializeToString())
    Image.fromarray(small.picture()).save("photo.png")
    return tmp_path


def command_line(*arguments: object) -> str:
    """Run the command line in this process; it must fail with one line and write nothing. Returns the line."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["onnxplain", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as caught,
    ):
        cli.main()
    assert caught.value.code == 1
    assert out.getvalue() == ""
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    return one_line(err.getvalue())


def one_line(stderr: str) -> str:
    lines = stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("onnxplain: error: ")
    return lines[0]


# Models


def external(name: str, location: str) -> None:
    """Write GOOD with its weights in a file beside it, then say that the file is at ``location``."""
    model = onnx.ModelProto()
    model.CopyFrom(GOOD)
    onnx.save(model, name, save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(name, load_external_data=False)
    for tensor in stored.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    Path(name).write_bytes(stored.SerializeToString())


def text_file() -> Path:
    return _write("text.onnx", b"this is no model\n")


def empty_file() -> Path:
    return _write("empty.onnx", b"")


def truncated_file() -> Path:
    return _write("truncated.onnx", GOOD.SerializeToString()[:-200])


def missing_file() -> Path:
    return Path("missing.onnx")


def weights_missing() -> Path:
    external("external.onnx", "gone.bin")
    return Path("external.onnx")


def weights_truncated() -> Path:
    external("external.onnx", "weights.bin")
    Path("weights.bin").write_bytes(Path("weights.bin").read_bytes()[:-8])
    return Path("external.onnx")


def weights_outside() -> Path:
    external("external.onnx", "../secret.bin")
    return Path("external.onnx")


def operator_without_rule() -> Path:
    return _write("magic.onnx", small.unsupported().SerializeToString())


def no_float_path() -> Path:
    return _write("labels.onnx", small.no_path().SerializeToString())


def _write(name: str, content: bytes) -> Path:
    path = Path(name)
    path.write_bytes(content)
    return path


BAD_MODELS = [
    (text_file, ModelError, "not an ONNX model"),
    (empty_file, ModelError, "is empty"),
    (truncated_file, ModelError, "truncated"),
    (missing_file, ModelError, "cannot read the model missing.onnx"),
    (weights_missing, ModelError, "no file 'gone.bin' beside the model"),
    (weights_truncated, ModelError, "'weights.bin' is truncated"),
    (weights_outside, ModelError, "outside the model's folder"),
    (operator_without_rule, UnsupportedOperatorError, "Sorcery"),
    (no_float_path, ModelError, "no float path"),
]


@pytest.mark.parametrize(("make", "error", "words"), BAD_MODELS, ids=[make.__name__ for make, _, _ in BAD_MODELS])
def test_bad_models(folder: Path, make: Any, error: type[OnnxplainError], words: str) -> None:
    path = make()
    for call in (Explainer, differentiate):
        with pytest.raises(error) as caught:
            call(path)
        assert words in str(caught.value)
    assert words in command_line("explain", path, "photo.png")
    assert words in command_line("differentiate", path, "-o", "out.onnx")


@pytest.mark.parametrize(
    ("make", "error", "words"), BAD_MODELS[:7], ids=[make.__name__ for make, _, _ in BAD_MODELS[:7]]
)
def test_check_of_files_that_cannot_be_read(folder: Path, make: Any, error: type[OnnxplainError], words: str) -> None:
    path = make()
    with pytest.raises(error) as caught:
        summarize(path)
    assert words in str(caught.value)
    assert words in command_line("check", path, "-q")


def test_good_external_weights_are_read(folder: Path) -> None:
    external("external.onnx", "weights.bin")
    x = small.inputs(2)
    os.chdir(folder.parent)
    found = Explainer(folder / "external.onnx").attribute(x, 1)
    np.testing.assert_allclose(found, small.quadratic_gradient(x, [1, 1]), rtol=1e-6)


@pytest.mark.parametrize("model", [b"", b"no model", 3, ["model.onnx"], object()])
def test_things_that_are_no_model(model: Any) -> None:
    with pytest.raises(ModelError):
        Explainer(model)


def test_a_photo_in_the_place_of_the_model(folder: Path) -> None:
    assert "not an ONNX model" in command_line("check", "photo.png")
    assert "not an ONNX model" in command_line("differentiate", "photo.png", "-o", "out.onnx")


# Arrays


X = small.inputs(2)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"y": X}, r"no input 'y'; its inputs are 'x'"),
        ({"x": X, "y": X}, r"no input 'y'"),
        ({}, r"no array for input 'x'"),
        (X[0], r"takes rank 4 \[N, 3, 4, 4\], found rank 3 \[3, 4, 4\]; add the batch axis"),
        (X[None], r"takes rank 4.*found rank 5"),
        (X[:, :2], r"2 instead of 3 channels"),
        (X[..., :3], r"3 instead of 4 on axis 3"),
        (X[:0], r"empty: its shape is \[0, 3, 4, 4\]"),
        (X.astype(np.float64), r"takes float32, found float64; convert it with x\.astype\(np\.float32\)"),
        ((X * 10).astype(np.uint8), r"takes float32, found uint8"),
        (X.astype(object), r"found object"),
        (X.tolist(), r"found list"),
        ("photo.png", r"found str.*explain\(\)"),
        (None, r"found NoneType"),
        (np.where(X[1, 2, 3, 0] == X, np.nan, X), r"holds nan at index \[1, 2, 3, 0\]"),
        (np.where(X[0, 1, 2, 3] == X, np.inf, X), r"holds inf at index \[0, 1, 2, 3\]"),
    ],
)
def test_wrong_arrays(x: Any, message: str) -> None:
    explainer = Explainer(GOOD)
    for call in (explainer.attribute, explainer.saliency, explainer.scores):
        with pytest.raises(InputError, match=message):
            call(x)


def test_wrong_arrays_for_several_inputs() -> None:
    explainer, a = Explainer(small.product()), np.ones((2, 4), np.float32)
    with pytest.raises(InputError, match=r"2 inputs; pass a dict with arrays for 'a', 'b'"):
        explainer.attribute(a)
    with pytest.raises(InputError, match=r"no array for input 'b'"):
        explainer.attribute({"a": a})
    with pytest.raises(InputError, match=r"different numbers of samples: \{'a': 2, 'b': 1\}"):
        explainer.attribute({"a": a, "b": a[:1]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tensor": "nope"}, "'nope'"),
        ({"wrt": "nope"}, "'nope'"),
        ({"score": "nope"}, "'nope'"),
        ({"class_axis": 7}, "class_axis=7"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Explainer(GOOD, **options)


@pytest.mark.parametrize("target", [5, -1, "unicorn", "top6"])
def test_wrong_targets(folder: Path, target: int | str) -> None:
    explainer = Explainer("model.onnx")
    with pytest.raises(TargetError):
        explainer.attribute(X, target)
    with pytest.raises(TargetError):
        explainer.explain("photo.png", target)
    assert str(target).removeprefix("top") in command_line("explain", "model.onnx", "photo.png", "--target", target)


def test_targets_of_the_wrong_length() -> None:
    with pytest.raises(TargetError, match=r"shape \[3\].*2 samples"):
        Explainer(GOOD).attribute(X, [0, 1, 2])


# Photos


def _photo(content: bytes) -> Path:
    return _write("bad.png", content)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: _photo(b""), "empty"),
        (lambda: _photo(b"GIF89a not a picture"), "bad.png"),
        (lambda: _photo(Path("photo.png").read_bytes()[:100]), "truncated"),
        (lambda: Path("missing.png"), "no such file"),
    ],
    ids=["empty", "unreadable", "truncated", "missing"],
)
def test_bad_photos(folder: Path, make: Any, words: str) -> None:
    path = make()
    with pytest.raises(ImageError) as caught:
        Explainer("model.onnx").explain(path)
    assert words in str(caught.value) and path.name in str(caught.value)
    line = command_line("explain", "model.onnx", path)
    assert words in line and path.name in line


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.full((4, 4, 3), np.nan),
        np.full((4, 4, 3), 7.0),
        b"",
        b"nothing",
    ],
)
def test_bad_pictures_in_memory(image: Any) -> None:
    with pytest.raises(ImageError, match="image 0: "):
        Explainer(GOOD).explain(image)


def test_a_folder_without_photos(folder: Path) -> None:
    Path("none").mkdir()
    with pytest.raises(ImageError, match="holds no image"):
        Explainer("model.onnx").explain("none")
    assert "holds no image" in command_line("explain", "model.onnx", "none")


def test_a_model_that_does_not_say_how_photos_become_tensors(folder: Path) -> None:
    Path("bare.onnx").write_bytes(small.quadratic().SerializeToString())
    assert "imagenet" in command_line("explain", "bare.onnx", "photo.png")
    assert "neither a preset" in command_line("explain", "bare.onnx", "photo.png", "--preprocessing", "nonsense")


# Outputs


def test_unwritable_outputs(folder: Path) -> None:
    Path("file").write_text("in the way")
    explanation = Explainer("model.onnx").explain("photo.png")
    for path in ("file/a.png", "file/folder", "a.gif"):
        with pytest.raises(OutputError):
            explanation.save(path)
        line = command_line("explain", "model.onnx", "photo.png", "-o", path)
        assert path.split("/")[0] in line
    for path in ("file/a.onnx", "missing/a.onnx", "."):
        assert path in command_line("differentiate", "model.onnx", "-o", path)
    assert "'gif'" in command_line("explain", "model.onnx", "photo.png", "--format", "gif")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "onnxplain", "explain", "model.onnx", "photo.png", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 1
    assert "No space left" in one_line(done.stderr)


@pytest.mark.skipif(os.name == "nt", reason="limits of a process are POSIX")
def test_a_disk_that_fills_up_leaves_no_part_behind(folder: Path) -> None:
    """The process may write files of at most 100 bytes."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "sys.argv = ['onnxplain', 'explain', 'model.onnx', 'photo.png']; "
        "from onnxplain.cli import main; main()"
    )
    before = sorted(path.name for path in folder.iterdir())
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1
    assert "photo_saliency.png cannot be written" in one_line(done.stderr)
    assert sorted(path.name for path in folder.iterdir()) == before
