"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import onnxplain
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.cli.common import warnings_as_lines

from support import small_models as small
from support.command_line import Runner


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    model = small.quadratic(ending="Softmax", metadata=small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(small.picture()).save(tmp_path / "photo.png")
    return Runner(tmp_path, monkeypatch, capsys)


# explain


def test_explain_without_arguments_explains_the_bundled_photo(run: Runner) -> None:
    before = run.files()
    code, out, err = run("explain")
    assert (code, err) == (0, "")
    assert "cat" in out and "score" in out and "chelsea_saliency.png" in out
    assert run.files() - before == {"chelsea_saliency.png"}
    with Image.open("chelsea_saliency.png") as overlay, Image.open(bundled_photo()) as photo:
        assert overlay.size == photo.size


def test_debug_shows_the_calls_before_an_error_and_its_cause(run: Runner) -> None:
    Path("odd\x1b[2J.onnx").write_bytes(b"\xff\xff")
    plain = run("check", "odd\x1b[2J.onnx")
    assert plain.code == 1 and len(plain.err.splitlines()) == 1
    shown = run("--debug", "check", "odd\x1b[2J.onnx")
    assert shown.code == 1 and shown.err.endswith(plain.err)
    assert "Traceback" in shown.err and "direct cause of the following exception" in shown.err
    assert "\x1b" not in shown.err
    assert run("check", "odd\x1b[2J.onnx") == plain


def test_explain_one_photo_with_the_bundled_model(run: Runner) -> None:
    code, out, _ = run("explain", bundled_photo(), "-o", "cat.jpg")
    assert code == 0 and "cat" in out
    with Image.open("cat.jpg") as overlay:
        assert overlay.format == "JPEG"


def test_explain_a_photo_with_a_model(run: Runner) -> None:
    code, out, err = run("explain", "model.onnx", "photo.png", "-o", "out", "--format", "png,npy,json", "-t", "cat")
    assert (code, err) == (0, "")
    assert out.startswith("photo.png: cat (")
    assert {"out/photo_saliency.png", "out/photo_saliency.npy", "out/photo_saliency.json"} <= run.files()
    assert np.load("out/photo_saliency.npy").shape == (12, 16)
    assert json.loads(Path("out/photo_saliency.json").read_text(encoding="utf-8"))["target"] == 3


def test_explain_a_folder_and_photos_of_one_name(run: Runner) -> None:
    Path("more").mkdir()
    Image.fromarray(small.picture(seed=1)).save("more/photo.png")
    Image.fromarray(small.picture(seed=2)).save("more/second.jpg")
    code, out, _ = run("explain", "model.onnx", "photo.png", "more", "-o", "out")
    assert code == 0 and len(out.splitlines()) == 3
    made = {name for name in run.files() if name.startswith("out")}
    assert made == {"out/photo_saliency.png", "out/photo_2_saliency.png", "out/second_saliency.png"}


def test_explain_the_top_classes(run: Runner) -> None:
    code, out, _ = run("explain", "model.onnx", "photo.png", "-t", "top2", "-o", "a.png")
    assert code == 0 and len(out.splitlines()) == 2
    assert {"a_1.png", "a_2.png"} <= run.files()


def test_explain_several_targets(run: Runner) -> None:
    """Each has pictures of its own, whatever the number of methods."""
    code, out, err = run("explain", "model.onnx", "photo.png", "-t", "dog", "-t", "1", "-t", "dog", "-o", "out")
    assert (code, err) == (0, "")
    assert [line.split(" ")[1] for line in out.splitlines()] == ["dog", "green"]
    assert run.files() >= {"out/photo_saliency_1.png", "out/photo_saliency_2.png"}
    methods = ("-m", "saliency,occlusion", "-t", "cat", "-t", "top2", "--set", "occlusion.window=2")
    code, out, _ = run("explain", "model.onnx", "photo.png", *methods, "--json", "-o", "more")
    found = json.loads(out)["results"]
    assert code == 0 and [one["method"] for one in found] == ["saliency"] * 3 + ["occlusion"] * 3
    assert [one["label"] for one in found[::3]] == ["cat", "cat"]
    assert {f"more/photo_occlusion_{rank}.png" for rank in (1, 2, 3)} <= run.files()


@pytest.mark.parametrize("command", ["explain", "evaluate"])
@pytest.mark.parametrize("folder", ["photos", "photos/", "photos.2024", "photos/summer"])
def test_a_folder_that_does_not_exist_is_no_model(run: Runner, command: str, folder: str) -> None:
    code, out, err = run(command, folder)
    assert (code, out) == (1, "")
    name = folder.rstrip("/")
    assert err == f"onnxplain: error: {name} does not exist; name an ONNX model, a photo, or a folder of photos.\n"


def test_a_preset_that_contradicts_the_model_is_a_warning(run: Runner) -> None:
    warning = (
        'onnxplain: warning: the preset "tf" replaces what the model\'s metadata onnxplain.preprocessing states, '
        "and the two differ; leave the preset out to take the model's own.\n"
    )
    for command in (("explain", "model.onnx", "photo.png"), ("check", "model.onnx")):
        code, _, err = run(*command, "--preprocessing", "tf")
        assert (code, err) == (0, warning)
        assert run(*command, "--preprocessing", "tf", "--quiet") == (0, "", "")


def test_explain_prints_json(run: Runner) -> None:
    code, out, err = run("explain", "model.onnx", "photo.png", "--json", "-t", "1", "--provider", "cpu")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["provider"] == "CPUExecutionProvider" and found["errors"] == []
    assert found["preprocessing"]["size"] == 6 and "metadata" in found["preprocessing"]["source"]
    assert found["results"][0]["label"] == "green" and found["results"][0]["files"] == ["photo_saliency.png"]


def test_explain_quietly(run: Runner) -> None:
    assert run("explain", "model.onnx", "photo.png", "--quiet") == (0, "", "")
    assert "photo_saliency.png" in run.files()


def test_explain_goes_on_after_a_bad_photo_and_says_so(run: Runner) -> None:
    Path("bad.jpg").write_bytes(b"no picture")
    code, out, err = run("explain", "model.onnx", "bad.jpg", "photo.png", "-o", "out")
    assert code == 1
    assert "photo.png: " in out
    assert err.startswith("onnxplain: error: bad.jpg") and len(err.splitlines()) == 1
    assert "out/photo_saliency.png" in run.files()
    code, out, _ = run("explain", "model.onnx", "bad.jpg", "photo.png", "-o", "out", "--json")
    found = json.loads(out)
    assert code == 1 and len(found["results"]) == 1 and found["errors"][0]["image"] == "bad.jpg"


def test_explain_warns_of_a_provider_that_was_not_given(run: Runner) -> None:
    known = onnxruntime.get_all_providers()
    absent = next(name for name in known if name not in onnxruntime.get_available_providers())
    code, _, err = run("explain", "model.onnx", "photo.png", "--provider", absent)
    assert code == 0
    assert err.startswith(f"onnxplain: warning: {absent} was requested but not given") and len(err.splitlines()) == 1
    assert run("explain", "model.onnx", "photo.png", "--provider", absent, "--quiet") == (0, "", "")


def test_explain_takes_preprocessing_and_labels(run: Runner) -> None:
    Path("bare.onnx").write_bytes(small.quadratic().SerializeToString())
    Path("p.json").write_text(json.dumps({"resize": "exact", "size": 4}))
    Path("l.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    code, out, _ = run(
        "explain", "bare.onnx", "photo.png", "--preprocessing", "p.json", "--labels", "l.txt", "-t", "two"
    )
    assert code == 0 and out.startswith("photo.png: two (")


# differentiate


def test_differentiate_writes_a_model_that_runs(run: Runner) -> None:
    code, out, err = run("differentiate", "model.onnx", "-o", "gradient.onnx", "--saliency")
    assert (code, err) == (0, "")
    assert "target" in out and "grad_x" in out and "saliency_x" in out
    onnx.checker.check_model("gradient.onnx", full_check=True)
    session = onnxruntime.InferenceSession("gradient.onnx", providers=["CPUExecutionProvider"])
    x = small.inputs(2)
    gradient, saliency = session.run(["grad_x", "saliency_x"], {"x": x, "target": np.array([1, 2])})
    np.testing.assert_allclose(gradient, small.quadratic_gradient(x, [1, 2]), rtol=1e-6)
    assert saliency.shape == (2, 4, 4) and saliency.max() == 1


def test_differentiate_passes_its_options_on(run: Runner) -> None:
    code, out, _ = run(
        "differentiate",
        "model.onnx",
        "-o",
        "g.onnx",
        "--target",
        "cotangent",
        "--tensor",
        "flat",
        "--wrt",
        "squares",
        "--json",
    )
    found = json.loads(out)
    assert code == 0
    assert found["inputs"] == ["x", "cotangent"] and found["outputs"] == ["ended", "grad_squares"]
    assert found["bytes"] == Path("g.onnx").stat().st_size
    assert run("differentiate", "model.onnx", "-o", "p.onnx", "--score", "probability", "-q") == (0, "", "")
    probability = {p.key: p.value for p in onnx.load("p.onnx").metadata_props}["onnxplain.score_tensor"]
    assert probability == "ended"


def test_differentiate_explains_its_passes(run: Runner) -> None:
    code, out, err = run("differentiate", "model.onnx", "-o", "g.onnx", "--explain-passes")
    assert (code, err) == (0, "")
    summary, *lines = out.splitlines()
    assert summary.startswith("g.onnx: ") and summary.endswith("target, score, grad_x")
    assert lines[0] == "passes before the walk:" and "  fold_constants: met nothing to rewrite" in lines
    after = lines[lines.index("passes after the walk:") :]
    assert "  keep_integer_kernels: met nothing to rewrite" in after
    assert any(line.startswith("  name_everything: 4 rewritten") for line in lines)
    assert run("differentiate", "model.onnx", "-o", "g.onnx", "--explain-passes", "-q") == (0, "", "")
    assert "passes" not in run("differentiate", "model.onnx", "-o", "g.onnx")[1]


def test_differentiate_says_why_passes_left_nodes_alone(run: Runner) -> None:
    """Half precision: the squares are converted, but not what stands behind them if a weight is too large."""
    model = small.quadratic()
    weight = onnx.numpy_helper.from_array(small.WEIGHT * 1e6, "W")
    model.graph.initializer[0].CopyFrom(weight)
    onnx.save(model, "large.onnx")
    options = ("differentiate", "large.onnx", "-o", "g.onnx", "--precision", "float16", "--explain-passes")
    reason = "a constant is not in the range of float16"
    out = run(*options)[1]
    assert "  to_half_precision: 2 rewritten\n" + f"    1 left alone: {reason}\n" in out
    passes = json.loads(run(*options, "--json")[1])["passes"]
    (half,) = (one for one in passes["before"] if one["name"] == "to_half_precision")
    assert (half["rewritten"], half["left_alone"]) == (2, {reason: 1}) and half["needs"] and half["ensures"]
    portable = {one.name for one in PASSES["portable"]}
    always = {"keep_integer_kernels", "prune", "transpose_in_float32"}
    assert always | portable == {one["name"] for one in passes["after"]}
    assert "passes" not in json.loads(run("differentiate", "large.onnx", "-o", "g.onnx", "--json")[1])


def test_differentiate_fixes_dimensions(run: Runner) -> None:
    assert run("differentiate", "model.onnx", "-o", "g.onnx", "--static", "N=2").code == 0
    shapes = [v.type.tensor_type.shape.dim[0].dim_value for v in onnx.load("g.onnx").graph.output]
    assert shapes == [2, 2, 2]
    code, _, err = run("differentiate", "model.onnx", "-o", "h.onnx", "--static", "batch=1")
    assert code == 1 and "'batch'" in err and "'N'" in err and not Path("h.onnx").exists()
    for text in ("N", "N=", "=1", "N=0", "N=-1", "N=1,", "N=x"):
        code, _, err = run("differentiate", "model.onnx", "-o", "h.onnx", "--static", text)
        assert code == 1 and "static" in err, text


def test_differentiate_never_overwrites_its_input(run: Runner) -> None:
    before = Path("model.onnx").read_bytes()
    os.link("model.onnx", "same.onnx")
    for out in ("model.onnx", "./model.onnx", "same.onnx"):
        code, _, err = run("differentiate", "model.onnx", "-o", out)
        assert code == 1 and "would be overwritten" in err
    assert Path("model.onnx").read_bytes() == before


def test_explain_never_overwrites_a_photo(run: Runner) -> None:
    before = Path("photo.png").read_bytes()
    code, _, err = run("explain", "model.onnx", "photo.png", "-o", "photo.png")
    assert code == 1 and "would be overwritten" in err
    assert Path("photo.png").read_bytes() == before


# check


def test_check_describes_a_model(run: Runner) -> None:
    code, out, err = run("check", "model.onnx")
    assert (code, err) == (0, "")
    for word in ("[N,3,4,4]", "NCHW", "open (N)", "logits, 5 classes on axis 1", "5 found", "metadata", "Gemm", "yes"):
        assert word in out


def test_check_prints_json(run: Runner) -> None:
    found = json.loads(run("check", "model.onnx", "--json").out)
    assert found["differentiable"] and found["problems"] == []
    assert found["inputs"] == [{"name": "x", "type": "float32", "shape": ["N", 3, 4, 4], "layout": "NCHW"}]
    assert found["score_tensor"] == "logits" and found["classes"] == 5 and found["class_axis"] == 1
    assert found["layer"] == "squares"
    assert {o["operator"]: o["nodes"] for o in found["operators"]} == {
        "ai.onnx::Mul": 1,
        "ai.onnx::Flatten": 1,
        "ai.onnx::Gemm": 1,
    }
    assert found["nodes_before"] == 4
    assert found["nodes_after"] == len(onnxplain.differentiate("model.onnx").graph.node)


def test_check_lists_every_operator_without_a_rule(run: Runner) -> None:
    Path("magic.onnx").write_bytes(small.unsupported().SerializeToString())
    code, out, err = run("check", "magic.onnx")
    assert code == 1
    assert out.count("MISSING") == 2 and "ai.onnx::Mul" in out
    assert len(err.splitlines()) == 2 and "Magic" in err and "Sorcery" in err and "first_magic" in err
    code, out, err = run("check", "magic.onnx", "--json")
    found = json.loads(out)
    assert code == 1 and err == "" and not found["differentiable"] and len(found["problems"]) == 2
    assert [o["rule"] for o in found["operators"]] == [False, True, False]


def test_check_tells_why_there_is_no_path(run: Runner) -> None:
    Path("none.onnx").write_bytes(small.no_path().SerializeToString())
    code, out, err = run("check", "none.onnx")
    assert code == 1 and "no float path" in err and "none" in out


def test_check_finds_the_layout_of_channels_last_models(run: Runner) -> None:
    Path("nhwc.onnx").write_bytes(small.quadratic_nhwc().SerializeToString())
    found = json.loads(run("check", "nhwc.onnx", "--json").out)
    assert found["inputs"][0]["layout"] == "NHWC" and not found["preprocessing"]["found"]


def test_check_of_the_bundled_model(run: Runner) -> None:
    found = json.loads(run("check", bundled_model(), "--json").out)
    assert found["differentiable"] and found["labels"]["count"] == 1000 and found["preprocessing"]["crop"] == 224


# the whole


def test_version_and_help(run: Runner) -> None:
    assert run("--version") == (0, f"onnxplain {onnxplain.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0 and all(word in out for word in ("explain", "differentiate", "check", "Exit codes"))
    for command in ("explain", "differentiate", "check"):
        assert run(command, "--help").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["explain", "--nonsense"],
        ["differentiate"],
        ["differentiate", "model.onnx"],
        ["check"],
        ["explain", "--batch-size", "many"],
        ["explain", "model.onnx", "photo.png", "photo.png", "-o", "one.png"],
    ],
)
def test_wrong_command_lines_are_exit_code_2(run: Runner, arguments: list[str]) -> None:
    before = run.files()
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and "Error" in err
    assert run.files() == before


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    program = (
        "import sys, onnxplain.cli; "
        "print([n for n in ('onnx', 'onnx_ir', 'onnxruntime', 'PIL', 'numpy', 'torch') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onnxplain", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"onnxplain {onnxplain.__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interrupt_leaves_whole_files_and_no_traceback(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(400):
        shutil.copy(bundled_photo(), photos / f"{index:03}.jpg")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "onnxplain", "explain", str(photos), "-o", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out.is_dir() and any(out.glob("*.png"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "onnxplain: error: interrupted"
    made = list(out.iterdir())
    assert 0 < len(made) < 400 and all(path.suffix == ".png" for path in made)
    for path in made:
        with Image.open(path) as overlay:
            overlay.load()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interrupt_after_the_command_leaves_no_traceback() -> None:
    """Between the end of a command and the end of the process."""
    program = """
import os, signal, sys
from onnxplain.__main__ import main
leave = sys.exit
def interrupted(code=None):
    if sys._getframe(1).f_globals["__name__"] == "onnxplain.__main__":
        os.kill(os.getpid(), signal.SIGINT)
    leave(code)
sys.exit, sys.argv = interrupted, ["onnxplain", "--version"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stdout.startswith("onnxplain ")
    assert done.stderr.strip() == "onnxplain: error: interrupted"


def test_method_and_its_options(run: Runner, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    onnx.save(small.quadratic(metadata=small.image_metadata()), model)
    photo = tmp_path / "photo.png"
    Image.fromarray(small.picture()).save(photo)
    found = run("explain", model, photo, "-o", tmp_path / "out", "--method", "gradient_x_input", "--json")
    assert found.code == 0, found.err
    assert (tmp_path / "out" / "photo_gradient_x_input.png").is_file()
    wrong = run("explain", model, photo, "--method", "saliency", "--set", "samples=3")
    assert wrong.code == 1 and "no option 'samples'" in wrong.err


def test_check_times_the_model_on_request(run: Runner, tmp_path: Path) -> None:
    onnx.save(small.quadratic(), tmp_path / "model.onnx")
    found = run("check", tmp_path / "model.onnx", "--bench", "--json")
    assert found.code == 0, found.err
    bench = json.loads(found.out)["bench"]
    assert [row["batch"] for row in bench["timings"]] == [1, 8, 32] and bench["provider"] == "CPUExecutionProvider"
    text = run("check", tmp_path / "model.onnx", "--bench")
    assert text.code == 0 and "images/s" in text.out and "at once" in text.out
    assert "bench" not in json.loads(run("check", tmp_path / "model.onnx", "--json").out)


def test_colours_for_colour_blind_people_and_bright_photos(run: Runner) -> None:
    for given in ((), ("--palette", "colour_blind"), ("--colormap", "cividis"), ("--bright",)):
        assert run("explain", "model.onnx", "photo.png", *given, "-o", f"{len(run.files())}.png").code == 0
    usual, palette, cividis, bright = (np.asarray(Image.open(f"{n}.png")).astype(int) for n in (2, 3, 4, 5))
    np.testing.assert_array_equal(palette, cividis)
    assert (usual != palette).any() and bright.mean() > 1.2 * usual.mean()
    code, _, err = run("explain", "model.onnx", "photo.png", "--palette", "nonsense")
    assert code == 1 and "colour_blind" in err


def test_warnings_are_lines_unless_they_are_for_programmers(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings_as_lines(quiet=False):
        warnings.simplefilter("always")  # as some libraries do when they are imported
        warnings.warn("of a\nphoto", UserWarning, stacklevel=1)
        warnings.warn("of a function", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "onnxplain: warning: of a photo\n"
