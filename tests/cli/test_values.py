"""Values that nobody means, in every option of every command: one line and exit code 1 or 2, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import colour_detectors as colours
from support import small_models as small
from support.command_line import Runner, every_command

#: What may stand in an option. None of them is a long piece of work: a large count that fits is somebody's wish.
VALUES = {
    "empty": "",
    "blank": " ",
    "two signs": "+-1",
    "thousands of digits": "9" * 5000,
    "400 digits": "9" * 400,
    "beyond 64 bits": str(1 << 64),
    "negative": "-1",
    "beyond floats": "1e999",
    "no number": "nan",
    "infinite": "inf",
    "superscript": "\u00b2",
    "zero": "0",
    "markup": "[/x]",
    "control": "a\x1b[31mb\nonnxplain: forged",
    "surrogate": "\udcff",
    "many lists": "[" * 20_000,
    "many objects": '{"a":' * 20_000,
    "nested": '{"name": {"a": [1]}, "classes": 1e999}',
    "names": "a,,b",
    "formula": "=1+1",
    "folder": ".",
    "long name": "n" * 300,
}
#: Of options that state several things: each of them, stated wrongly.
LAYOUTS = [
    '{"name": ["yolov8"]}', '{"name": "yolov8", "classes": 1e999}', '{"name": "yolov8", "classes": "x"}',
    '{"name": "yolov8", "axis": 1e99}', '{"name": "yolov8", "box": {"a": 1}}', '{"name": "yolov8", "scale": [[1]]}',
    '{"name": "yolov8", "format": ["cxcywh"]}', '{"name": "yolov8", "activation": {}}',
    '{"name": "yolov8", "image": 3}',
    '{"name": "yolov8", "outputs": {"boxes": 1}}', '{"name": "yolov8", "keypoints": "many"}',
    '{"name": "yolov8", "keypoint_names": 5}', '{"name": "yolov8", "strides": [0]}', '{"name": "yolov8", "anchors": 1}',
    '{"name": "yolov8", "classes": ' + "9" * 400 + "}", '{"name": "yolov8", "decode": [1]}', '{"class_axis": 1e999}',
    '{"class_axis": ' + "9" * 400 + "}", '{"name": "ctc", "blank": [0]}', '{"name": "ctc", "blank": ' + "9" * 30 + "}",
    '{"name": "segmentation", "class_axis": 99}', '{"batch_axis": -7}', '{"name": "nanodet", "reg_max": 1e999}',
    '{"name": "yunet", "strides": "8"}', '{"name": "ssd", "background": [1]}',
]  # fmt: skip
SETTINGS = [
    "samples={}", "samples=[1]", "samples=1e999", "samples=NaN", f"samples={'9' * 400}", "samples=-1", "noise=Infinity",
    "noise=[0.1]", "seed=-1", "seed={}", f"seed={1 << 70}", "base=[1]", 'base={"a":1}', "base=nothing", "a.b.c=1",
    "=1", "samples", "smoothgrad.samples=[", "unbiased=3", "base_options=3", 'base_options={"steps":[1]}',
    f"noise={'9' * 400}", "noise=true", "noise=null",
]  # fmt: skip
METHODS = ["integrated_gradients", "rise", "occlusion", "grad_cam", "guided_integrated_gradients"]
METHOD_VALUES = ["{}", "[1]", "[[1],[2]]", "1e999", "NaN", "9" * 400, "-1", '"x"', "true", "null", '{"x":1}', "0"]
COMMANDS = {
    "explain": ["model.onnx", "photo.png", "-o", "out"],
    "detect": ["yolo.onnx", "photo.png", "-o", "out", "--layout", "yolov8"],
    "differentiate": ["model.onnx", "-o", "out.onnx"],
    "check": ["model.onnx"],
    "visualize-class": ["model.onnx", "-t", "0", "-o", "out", "--steps", "1"],
    "evaluate": ["model.onnx", "photo.png", "-o", "out", "--steps", "2", "--metrics", "sparseness"],
    "export-torch": ["nowhere:nothing", "-o", "out.onnx"],
    "cache": [],
    "package": ["model.onnx", "-o", "out"],
    "page": ["model.onnx", "-o", "out"],
    "bulk": ["model.onnx", ".", "-o", "out"],
    "serve": ["model.onnx"],
}


def options() -> list[tuple[str, str]]:
    """Every option that takes a value, of every command of ``COMMANDS``."""
    found: list[tuple[str, str]] = []
    for name in COMMANDS:
        for one in every_command()[name].params:
            if one.param_type_name == "option" and not one.is_flag:
                found.append((name, max(one.opts, key=len)))
    return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    (tmp_path / "model.onnx").write_bytes(small.quadratic(metadata=small.image_metadata()).SerializeToString())
    (tmp_path / "yolo.onnx").write_bytes(colours.yolo("yolov8").SerializeToString())
    Image.fromarray(colours.photo()).save(tmp_path / "photo.png")
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("onnxplain.serve.serve", lambda settings: None)  # whatever starts does not end by itself
    return Runner(tmp_path, monkeypatch, capsys)


def assert_told(run: Runner, *arguments: str) -> None:
    """Any exception but SystemExit, which is a traceback for a user, fails here."""
    code, out, err = run(*arguments)
    shown = [argument[:60] for argument in arguments]
    assert code in (0, 1, 2) or (code == 3 and arguments[0] == "bulk"), shown
    errors = [line for line in err.splitlines() if line.startswith("onnxplain: error: ")]
    assert len(errors) == (code in (1, 3)), (shown, err[-500:])
    assert all(len(line) < 1500 for line in errors), (shown, len(errors[0]))
    assert "Traceback" not in out + err and "forged" not in {line[11:17] for line in err.splitlines()}, shown


def test_there_are_options_to_walk() -> None:
    assert len(options()) > 100
    assert {command for command, _ in options()} >= set(COMMANDS) - {"cache"}
    assert set(COMMANDS) == set(every_command()), "a command is not walked"


@pytest.mark.parametrize(("command", "option"), options())
def test_every_option_of_every_command(run: Runner, command: str, option: str) -> None:
    """Some of the values; which differs from option to option."""
    for value in random.Random(f"{command} {option}").sample(list(VALUES.values()), 4):
        assert_told(run, command, *COMMANDS[command], f"{option}={value}")


@pytest.mark.long
@pytest.mark.parametrize(("command", "option"), options())
def test_every_value_in_every_option(run: Runner, command: str, option: str) -> None:
    for value in VALUES.values():
        assert_told(run, command, *COMMANDS[command], f"{option}={value}")


@pytest.mark.parametrize("command", ["explain", "detect", "differentiate"])
@pytest.mark.parametrize("model", ["model.onnx", "yolo.onnx"])
def test_layouts(run: Runner, command: str, model: str) -> None:
    for layout in LAYOUTS:
        before = {"explain": ["photo.png", "-o", "out"], "detect": ["photo.png"], "differentiate": ["-o", "out.onnx"]}
        assert_told(run, command, model, *before[command], f"--layout={layout}")


def test_settings_of_methods(run: Runner) -> None:
    for setting in SETTINGS:
        assert_told(run, "explain", "model.onnx", "photo.png", "-o", "out", "-m", "smoothgrad", "--set", setting)
    assert_told(run, "explain", "model.onnx", "photo.png", "-m", "rise,smoothgrad", "--set", "samples=1")


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_methods(run: Runner, method: str) -> None:
    from dataclasses import fields

    from onnxplain.methods import METHODS as KINDS

    for one in fields(KINDS[method]):
        for value in METHOD_VALUES:
            setting = f"{one.name}={value}"
            assert_told(run, "explain", "model.onnx", "photo.png", "-o", "out", "-m", method, "--set", setting)


def test_places(run: Runner) -> None:
    for place in (
        "1,2,3",
        "box:1,2,nan,4",
        "box:1,2,3",
        "box:1,2,3,1e999",
        f"box:0,0,{'9' * 400},1",
        "9" * 30,
        "1,+-2",
    ):
        for model in ("model.onnx", "yolo.onnx"):
            assert_told(run, "explain", model, "photo.png", "-o", "out", f"--at={place}")


@pytest.mark.parametrize("value", ["+-1", "9" * 5000, "\u00b2", "9" * 30, "-99", "1e3"])
def test_targets_that_are_no_class(run: Runner, value: str) -> None:
    for command in ("explain", "evaluate"):
        code, _, err = run(command, *COMMANDS[command], f"--target={value}")
        assert code == 1 and len(err.splitlines()) == 1 and len(err) < 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONNXPLAIN_ISA", "none\x1b[31m"),
        ("ONNXPLAIN_CACHE", "/dev/null/cache"),
        ("ONNXPLAIN_CACHE", "x" * 5000),
        ("ONNXPLAIN_CACHE", "\udcff"),
        ("XDG_CACHE_HOME", "x" * 5000),
        ("HOME", ""),
    ],
)
def test_environment(run: Runner, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "ONNXPLAIN_CACHE":
        monkeypatch.delenv("ONNXPLAIN_CACHE")
    monkeypatch.setenv(name, value)
    for arguments in (["explain", *COMMANDS["explain"]], ["cache"], ["check", "model.onnx"]):
        assert_told(run, *arguments)


SIDECARS: dict[str, list[Any]] = {
    "model.preprocessing.json": [
        '\ufeff{"resize": "exact", "size": 4}', "[" * 20_000, '{"scale": ' + "9" * 400 + "}", '{"mean": [1e999]}',
        '{"size": "' + "9" * 400 + '"}', '{"pad_color": 3}', '{"filter": ["bilinear"]}', '{"channels": {"a": 1}}',
        '{"dtype": ["float32"]}', '{"version": [1]}', '{"std": "names"}', '{"invert": "yes"}', '{"layout": []}',
        '{"crop": {"a": 1}, "size": NaN}', '{"size": [[4]]}', b"\xff\xfe\x00",
    ],
    "preprocessor_config.json": [
        '\ufeff{"do_resize": true, "size": 4}', '{"image_processor_type": ["CLIP"], "size": 3}',
        '{"image_processor_type": "CLIPImageProcessor", "size": ' + "9" * 400 + "}",
        '{"image_processor_type": "LevitImageProcessor", "size": ' + "9" * 400 + "}",
        '{"do_resize": true, "resample": ["bilinear"], "size": {"height": 1, "width": "x"}}',
        '{"image_mean": [1e999], "image_std": [1]}', '{"image_mean": {"a": 1}, "image_std": 3}',
        '{"image_mean": [' + "9" * 400 + '], "image_std": [1]}',
        '{"do_center_crop": 1, "crop_size": [[1]], "do_resize": 0}',
        '{"do_resize": true, "size": {"shortest_edge": [4]}}',
        '{"rescale_factor": "x", "image_mean": 0, "image_std": 1}',
    ],
    "config.json": [
        '{"input_size": [3, 4, 4], "label_names": [["a"]], "label_descriptions": {"a": "b"}}',
        '{"input_size": [3, ' + "9" * 400 + ", 4]}", '{"input_size": "344"}', '{"pretrained_cfg": [1]}',
        '{"input_size": [3, 4, 4], "crop_pct": 1e-320}', '{"input_size": [3, 4, 4], "interpolation": ["x"]}',
        '{"input_size": [3, 4, 4], "crop_mode": {"a": 1}}', '{"id2label": {"Infinity": "a"}}', '{"id2label": [1, 2]}',
        '{"input_size": [3, 4, 4], "mean": "abc", "std": {}}', '{"input_size": [3, 4, 4], "crop_border_pixels": [1]}',
    ],
    "model.labels.txt": ["\ufeffa\nb\nc\nd\ne", "9" * 5000 + " a\n1 b", "\x00\x1b[31m\na\nb\nc\nd", b"\xff\xfe"],
    "model.labels.json": [
        '\ufeff["a", "b", "c", "d", "e"]', '{"1e999": "a"}', '{"a": 1e999}', "[[[]]]", '{"a": ' + "9" * 400 + "}",
        '["a", ["b"], {}, null, 1]', '{"0": "a", "00": "b"}', "[" * 20_000, "NaN", '"name"', '{"id2label": {"a": {}}}',
    ],
    "model.labels.csv": ["\ufeffindex,label\n0,a", "x" * 200_000, "index,label\n1e999,a", 'a,b,c,"', "\x00,\x00"],
    "model.layout.json": ['\ufeff"classes"', *LAYOUTS, "[1]", "[" * 20_000, '["classes"]'],
}  # fmt: skip


@pytest.mark.parametrize("name", SIDECARS)
def test_files_beside_a_model(run: Runner, name: str) -> None:
    (run.folder / "model.onnx").write_bytes(small.quadratic().SerializeToString())
    for content in SIDECARS[name]:
        (run.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        for arguments in (["explain", *COMMANDS["explain"]], ["check", "model.onnx"]):
            assert_told(run, *arguments)


METADATA: dict[str, list[str]] = {
    "onnxplain.labels": ["[" * 20_000, '{"a": 1e999}', '["a", 1]', '{"0": ["a"]}', "9" * 5000],
    "onnxplain.preprocessing": [
        "[" * 20_000,
        "[]",
        '{"scale": 1e999}',
        '{"pad_color": 7}',
        '{"size": [1, 2, 3]}',
        "NaN",
    ],
    "onnxplain.layout": ["[" * 20_000, *LAYOUTS, "3", "(" * 5000],
    "names": ["{1e999: 'a'}", "{-1: 'a'}", "[" * 5000, "{0: ['a']}", "{(): 1}", "{float: 1}", "9" * 5000, "{0: {}}"],
    "imgsz": ["[1e999]", "9" * 400, "[[4]]", "'4'", "{4}", "(" * 5000, "4j"],
    "kpt_shape": ["[1e999, 3]", "[" * 5000, "'many'", "{}", "[17]"],
    "args": ["[" * 5000, "{'nms': []}"],
}


@pytest.mark.parametrize("key", METADATA)
def test_metadata_of_a_model(run: Runner, key: str) -> None:
    ultralytics = {"author": "Ultralytics", "task": "detect", "stride": "32", "names": "{0: 'a', 1: 'b', 2: 'c'}"}
    for value in METADATA[key]:
        for task in ("detect", "classify", "pose"):
            model = small.quadratic()
            for name, text in {**ultralytics, "task": task, key: value}.items():
                model.metadata_props.add(key=name, value=text)
            (run.folder / "model.onnx").write_bytes(model.SerializeToString())
            for arguments in (["explain", *COMMANDS["explain"]], ["check", "model.onnx"]):
                assert_told(run, *arguments)


def test_the_walk_sees_a_traceback(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above fail where an error of Python comes out."""
    from onnxplain.cli import questions

    monkeypatch.setattr(questions, "target_of", lambda text: int(text))
    with pytest.raises(ValueError, match="invalid literal"):
        assert_told(run, "explain", "model.onnx", "photo.png", "-o", "out", "--target=+-1")
