"""Every form of a target, by V1 and by V2 over REST and gRPC, gives what the same call of the Python API gives."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

import onnxplain
from onnxplain import Box, Target

from support import colour_detectors, pages
from support import small_models as small
from support.service import Service, run_client, service

RED = Box(*map(float, colour_detectors.RED))
SMALL_PHOTO = small.picture(24, 40)
MASK = np.zeros((24, 40), np.uint8)
MASK[6:20, 5:30] = 255


def recurrent() -> onnx.ModelProto:
    """x [N,3,32,32] -> [N,32,3]: a step for each row, the mean of its colours."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "columns"], ["rows"], keepdims=0),
        helper.make_node("Transpose", ["rows"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["steps", "steps"], ["y"]),
    ]
    metadata = {**pages._image_metadata('["red", "green", "blue"]'), "onnxplain.layout": "sequence"}
    specs = [("x", small.FLOAT, ["N", 3, 32, 32])], [("y", small.FLOAT, ["N", 32, 3])]
    return small.build(nodes, *specs, {"columns": np.array([3])}, metadata)


def twofold() -> onnx.ModelProto:
    """x [N,3,4,4] -> "first" and "second", each [N,2]."""
    weights = np.random.default_rng(2).standard_normal((2, 48, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("Flatten", ["squares"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "A"], ["first"]),
        helper.make_node("MatMul", ["flat", "B"], ["second"]),
    ]
    outputs = [(name, small.FLOAT, ["N", 2]) for name in ("first", "second")]
    metadata = {"onnxplain.preprocessing": small.image_metadata()["onnxplain.preprocessing"]}
    return small.build(nodes, [("x", small.FLOAT, ["N", 3, 4, 4])], outputs, dict(zip("AB", weights)), metadata)


@pytest.fixture(scope="module")
def zoo(folder: Path) -> Path:
    """A folder with a model of each kind, a photo for each, and a second photo."""
    place = folder / "kinds"
    place.mkdir()
    detector = colour_detectors.yolo("yolov8")
    stated = {one.key: one.value for one in detector.metadata_props}
    helper.set_model_props(detector, {**stated, "onnxplain.layout": '{"name": "yolov8"}'})
    models = {
        "detector": detector,
        "segmentation": pages.segmentation(),
        "embedding": pages.embedding(),
        "sequence": recurrent(),
        "twofold": twofold(),
        "classes": small.quadratic(metadata=small.image_metadata()),
    }
    for name, model in models.items():
        onnx.save(model, place / f"{name}.onnx")
        Image.fromarray(colour_detectors.photo() if name == "detector" else SMALL_PHOTO).save(place / f"{name}.png")
    Image.fromarray(small.picture(30, 20, seed=1)).save(place / "other.png")
    return place


@pytest.fixture(scope="module")
def asked(zoo: Path) -> Iterator[Service]:
    """A service of all of them."""
    with service(zoo / "run", *sorted(zoo.glob("*.onnx")), "--queue", 64, "--max-pixels", "1MP") as found:
        yield found


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def like(zoo: Path, name: str = "other.png") -> Any:
    return onnxplain.Explainer(zoo / "embedding.onnx").embed(zoo / name)


#: Model, target in JSON, and the same target for the Python API; both may need the folder.
QUESTIONS: dict[str, tuple[str, Any, Any]] = {
    "class": ("classes", 2, 2),
    "label": ("classes", "cat", "cat"),
    "predicted": ("classes", None, None),
    "best classes": ("classes", "top2", "top2"),
    "several": ("classes", ["cat", 0], ["cat", 0]),
    "versus": ("classes", {"of": "cat", "versus": "dog"}, Target("cat", versus="dog")),
    "several versus": (
        "classes",
        [{"of": "cat", "versus": "dog"}, {"of": "cat", "versus": "red"}],
        [Target("cat", versus="dog"), Target("cat", versus="red")],
    ),
    "weights": ("classes", {"weights": [1, 0, 0, 2, 0]}, Target(weights=np.float32([1, 0, 0, 2, 0]))),
    "best detection": ("detector", "blue", "blue"),
    "box": ("detector", {"at": {"box": [30, 70, 105, 145]}}, Target(at=RED)),
    "class in a box": ("detector", {"of": "red", "at": {"box": [30, 70, 105, 145]}}, Target("red", at=RED)),
    "box with fractions": ("detector", {"at": {"box": [30.5, 70, 105, 145.25]}}, Target(at=Box(30.5, 70, 105, 145.25))),
    "number of a detection": ("detector", {"of": "box.width", "at": "best"}, Target("box.width", at="best")),
    "number in a box": ("detector", {"of": "box.x0", "at": {"box": [30, 70, 105, 145]}}, Target("box.x0", at=RED)),
    "own region": ("segmentation", {"of": "green"}, Target("green")),
    "point": ("segmentation", {"of": "red", "at": [7, 12]}, Target("red", at=(7, 12))),
    "everywhere": ("segmentation", {"of": "red", "at": "all"}, Target("red", at="all")),
    "mask as a file": ("segmentation", {"of": "red", "at": {"mask": b64(png(MASK))}}, Target("red", at=MASK / 255)),
    "mask as numbers": (
        "segmentation",
        {"of": "red", "at": {"mask": (MASK // 255).tolist()}},
        Target("red", at=MASK / 255),
    ),
    "region versus": (
        "segmentation",
        {"of": "red", "at": [7, 12], "versus": "blue"},
        Target("red", at=(7, 12), versus="blue"),
    ),
    "region versus region": (
        "segmentation",
        {"of": "red", "at": [7, 12], "versus": {"of": "red", "at": [20, 30]}},
        Target("red", at=(7, 12), versus=Target("red", at=(20, 30))),
    ),
    "step": ("sequence", {"of": "red", "at": 3}, Target("red", at=3)),
    "step from the end": ("sequence", {"at": -1}, Target(at=-1)),
    "all steps": ("sequence", {"of": 1, "at": "all"}, Target(1, at="all")),
    "like a photo": (
        "embedding",
        lambda zoo: {"like": b64((zoo / "other.png").read_bytes())},
        lambda zoo: Target(like=like(zoo)),
    ),
    "like a vector": ("embedding", {"like": [1, 2, 3, 4, -1, -2, -3, -4]}, Target(like=[1, 2, 3, 4, -1, -2, -3, -4])),
    "like versus like": (
        "embedding",
        lambda zoo: {"like": b64((zoo / "other.png").read_bytes()), "versus": {"like": [1.0] * 8}},
        lambda zoo: Target(like=like(zoo), versus=Target(like=[1.0] * 8)),
    ),
    "another output": ("twofold", {"of": 1, "output": "second"}, Target(1, output="second")),
}


def question(name: str, zoo: Path) -> tuple[str, Any, list[Any]]:
    """The model, the target in JSON, and the explanations of the Python API."""
    model, target, same = QUESTIONS[name]
    target, same = (one(zoo) if callable(one) else one for one in (target, same))
    found = onnxplain.Explainer(zoo / f"{model}.onnx").explain(zoo / f"{model}.png", same)
    return model, target, found if isinstance(found, list) else [found]


@pytest.mark.parametrize("name", QUESTIONS)
def test_v1_answers_as_the_library(name: str, asked: Service, zoo: Path) -> None:
    model, target, mine = question(name, zoo)
    parameters = {"target": target, "outputs": ["saliency", "gradient", "png"]}
    body = {"instances": [b64((zoo / f"{model}.png").read_bytes())], "parameters": parameters}
    status, answer, _ = asked.ask(f"/v1/models/{model}:explain", body)
    assert status == 200, answer
    [found] = answer["explanations"]
    several = found if isinstance(found, list) else [found]
    for one, want in zip(several, mine, strict=True):
        np.testing.assert_allclose(one["gradient"], want.attribution, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one["saliency"], want.saliency_input, rtol=1e-5, atol=1e-5)
        assert one["score"] == pytest.approx(want.score, rel=1e-5, abs=1e-6)
        assert (one["target"], one["label"], one["versus"]) == (want.target, want.label, want.versus)
        box = None if want.box is None else [want.box.x0, want.box.y0, want.box.x1, want.box.y1]
        assert one["box"] == box if box is None else one["box"] == pytest.approx(box, rel=1e-5)
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["png"]["b64"]))))
        assert np.abs(drawn.astype(int) - want.overlay().astype(int)).max() <= 2


@pytest.mark.parametrize("name", QUESTIONS)
def test_v2_answers_as_the_library(name: str, asked: Service, zoo: Path) -> None:
    model, target, mine = question(name, zoo)
    photo = b64((zoo / f"{model}.png").read_bytes())["b64"]
    inputs = [{"name": "photo", "shape": [1], "datatype": "BYTES", "data": [photo]}]
    parameters: dict[str, Any] = {}
    if isinstance(target, list):
        parameters["target"] = json.dumps(target)
    elif target is not None:
        text = json.dumps(target) if isinstance(target, dict) else str(target)
        kind = (
            {"datatype": "INT64", "data": [target]}
            if isinstance(target, int)
            else {"datatype": "BYTES", "data": [text]}
        )
        inputs.append({"name": "target", "shape": [1], **kind})
    names = ["score", "class", "label", "saliency", "gradient"]
    body = {"inputs": inputs, "parameters": parameters, "outputs": [{"name": one} for one in names]}
    status, answer, _ = asked.ask(f"/v2/models/{model}/infer", body)
    assert status == 200, answer
    found = {one["name"]: np.reshape(one["data"], one["shape"]) for one in answer["outputs"]}
    many = len(mine) > 1

    def rows(values: list[Any]) -> np.ndarray:
        return np.array([values]) if many else np.array(values)

    np.testing.assert_allclose(found["gradient"], rows([one.attribution for one in mine]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["saliency"], rows([one.saliency_input for one in mine]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["score"], rows([one.score for one in mine]), rtol=1e-5, atol=1e-6)
    assert found["class"].tolist() == rows([-1 if one.target is None else one.target for one in mine]).tolist()
    assert found["label"].tolist() == rows([one.label or "" for one in mine]).tolist()


def test_grpc_answers_as_the_library(asked: Service, zoo: Path) -> None:
    program = """
import json, sys
import numpy as np
from tritonclient import grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
arrays = {}
for number, (model, photo, target) in enumerate(json.load(open(sys.argv[2]))):
    tensors = []
    for name, value in (("photo", open(photo, "rb").read()), ("target", target.encode())):
        tensors.append(triton.InferInput(name, [1], "BYTES"))
        tensors[-1].set_data_from_numpy(np.array([value], object))
    wanted = [triton.InferRequestedOutput(name) for name in ("score", "class", "saliency", "gradient")]
    found = client.infer(model, tensors, outputs=wanted)
    arrays.update({f"{number} {one}": found.as_numpy(one) for one in ("score", "class", "saliency", "gradient")})
np.savez(sys.argv[3], **arrays)
"""
    names = [name for name in QUESTIONS if name not in ("class", "predicted")]  # a text is no class number
    known = [question(name, zoo) for name in names]
    texts = [target if isinstance(target, str) else json.dumps(target) for _, target, _ in known]
    calls = [[model, str(zoo / f"{model}.png"), text] for (model, _, _), text in zip(known, texts)]
    (zoo / "calls.json").write_text(json.dumps(calls))
    run_client(zoo / "path", program, f"127.0.0.1:{asked.grpc_port}", zoo / "calls.json", zoo / "found.npz")
    found = np.load(zoo / "found.npz")
    for number, (name, (_, _, mine)) in enumerate(zip(names, known)):
        for key, values in {
            "gradient": [one.attribution for one in mine],
            "saliency": [one.saliency_input for one in mine],
            "score": [one.score for one in mine],
            "class": [-1 if one.target is None else one.target for one in mine],
        }.items():
            want = np.array([values] if len(mine) > 1 else values)
            np.testing.assert_allclose(found[f"{number} {key}"], want, rtol=1e-5, atol=1e-5, err_msg=f"{name}: {key}")


def bomb() -> bytes:
    """A PNG of 900 million black pixels in 100 kB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    side = 30_000
    rows = zlib.compress(bytes(side // 8 + 1) * side, 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def nested(depth: int) -> dict[str, Any]:
    """A target that subtracts a target, so deep."""
    return {"of": 1} if depth == 0 else {"of": 1, "versus": nested(depth - 1)}


REFUSED: list[tuple[str, Any, str]] = [
    ("detector", {"at": {"box": [1000, 1000, 1100, 1100]}}, "no detection overlaps"),
    ("detector", {"at": {"box": [-1e308, -1e308, 1e308, 1e308]}}, "finite number of pixels"),
    ("detector", {"at": {"box": [20, 10, 10, 20]}}, "is empty"),
    ("detector", {"at": {"box": [True, 10, 20, 20]}}, "finite number of pixels"),
    ("detector", {"of": "box.width", "versus": 1}, "has no versus="),
    ("detector", {"at": {"mask": b64(png(MASK))}}, "is a mask [24, 40]"),
    ("detector", {"like": b64(png(MASK))}, "no vector"),
    ("classes", {"at": {"box": [1, 2, 3, 4]}}, "leave out at="),
    ("classes", {"at": {"mask": [[1.0] * 4] * 4}}, "leave out at="),
    ("classes", {"of": 1, "output": "second"}, "no tensor named 'second'"),
    ("classes", ["cat"] * 10_000, "at most 32 answers"),
    ("classes", "top999999", "at most 32 answers"),
    ("classes", nested(2), "has a versus of its own"),
    ("classes", nested(400), "has a versus of its own"),
    ("segmentation", {"at": {"mask": b64(png(MASK[:10]))}}, "is a mask [10, 40]; the output has the places [32, 32]"),
    ("segmentation", {"at": {"mask": b64(png(MASK * 0))}}, "without any place"),
    ("segmentation", {"at": {"mask": b64(bomb())}}, "decompression bomb"),
    ("segmentation", {"at": [100, 100]}, "out of range"),
    ("segmentation", {"at": {"box": [1, 2, 3, 4]}}, "a Box are for detectors"),
    ("sequence", {"at": 99}, "out of range"),
    ("sequence", None, "say which one"),
    ("embedding", {"like": b64(bomb())}, "decompression bomb"),
    ("embedding", {"like": b64(bomb()[:2000])}, "decompression bomb"),
    ("embedding", {"like": {"b64": ""}}, "the file is empty"),
    ("embedding", {"like": [1.0, 2.0]}, "vector of 8 numbers"),
    ("embedding", {"like": {"url": "http://127.0.0.1/a.png"}}, "Nothing is fetched"),
    ("embedding", [{"like": b64(png(SMALL_PHOTO[:1, :1]))}] * 10_000, "at most 32 answers"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_no_model_can_be_asked_is_a_sentence(number: int, asked: Service, zoo: Path) -> None:
    model, target, words = REFUSED[number]
    photo = b64((zoo / f"{model}.png").read_bytes())
    status, answer, _ = asked.ask(
        f"/v1/models/{model}:explain", {"instances": [photo], "parameters": {"target": target}}
    )
    assert status == 400 and words in answer["error"] and answer["error"].endswith("."), answer
    inputs = [{"name": "photo", "shape": [1], "datatype": "BYTES", "data": [photo["b64"]]}]
    body = {"inputs": inputs, "parameters": {} if target is None else {"target": json.dumps(target).strip('"')}}
    status, answer, _ = asked.ask(f"/v2/models/{model}/infer", body)
    assert status == 400 and words in answer["error"], answer
    assert "Traceback" not in asked.text()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_numbers_that_are_none(number: str, asked: Service, zoo: Path) -> None:
    photo, target = json.dumps(b64((zoo / "detector.png").read_bytes())), f'{{"at": {{"box": [{number}, 1, 2, 3]}}}}'
    body = f'{{"instances": [{photo}], "parameters": {{"target": {target}}}}}'
    status, answer, _ = asked.ask("/v1/models/detector:explain", body.encode())
    assert status == 400 and "no JSON" in answer["error"], answer
    inputs = [{"name": "photo", "shape": [1], "datatype": "BYTES", "data": [json.loads(photo)["b64"]]}]
    body_of_v2 = {"inputs": inputs, "parameters": {"target": target}}
    status, answer, _ = asked.ask("/v2/models/detector/infer", body_of_v2)
    assert status == 400 and "target is no JSON" in answer["error"], answer
