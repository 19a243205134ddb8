"""What a service answers: photos and arrays, targets, methods, jobs, its log, a model that is replaced."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxplain

from support.service import Service, service
from support.small_models import image_metadata, inputs, picture, quadratic, quadratic_gradient

EXPLAIN, PREDICT, INFER = "/v1/models/small:explain", "/v1/models/small:predict", "/v2/models/small/infer"


def photo(folder: Path) -> dict[str, str]:
    """The photo as an instance of V1."""
    return {"b64": base64.b64encode((folder / "photo.png").read_bytes()).decode()}


def explained(running: Service, instances: list[Any], **parameters: Any) -> list[Any]:
    status, body, _ = running.ask(EXPLAIN, {"instances": instances, "parameters": parameters})
    assert status == 200, body
    found: list[Any] = body["explanations"]
    return found


def test_photo_is_explained_as_by_the_library(running: Service, folder: Path) -> None:
    [found] = explained(running, [photo(folder)], outputs=["saliency", "gradient", "png"])
    mine = onnxplain.Explainer(folder / "small.onnx").explain(folder / "photo.png")
    assert np.array_equal(np.float32(found["saliency"]), mine.saliency_input)
    assert np.array_equal(np.float32(found["gradient"]), mine.attribution)
    assert (found["label"], found["target"], found["score"]) == (mine.label, mine.target, mine.score)
    assert found["probability"] == mine.probability
    assert [one["index"] for one in found["top"]] == [one.index for one in mine.top]
    assert found["size"] == [12, 16] and found["crop_box"] == list(mine.geometry.crop_box)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["png"]["b64"]))))
    assert np.array_equal(drawn, mine.overlay())


def test_asked_outputs_alone_are_answered(running: Service, folder: Path) -> None:
    [found] = explained(running, [{"photo": photo(folder)}], outputs=["score"])
    assert {"saliency", "gradient", "png"}.isdisjoint(found)
    status, body, _ = running.ask(PREDICT, {"instances": [photo(folder), inputs(1)[0].tolist()]})
    assert status == 200
    assert [set(one) & {"saliency", "label"} for one in body["predictions"]] == [{"label"}] * 2


@pytest.mark.parametrize(
    ("target", "same"),
    [
        (None, None),
        (2, 2),
        ("cat", "cat"),
        ("top3", "top3"),
        (["cat", 0], ["cat", 0]),
        ({"of": "cat", "versus": "dog"}, onnxplain.Target("cat", versus="dog")),
        ({"of": 1, "versus": {"of": 0}}, onnxplain.Target(1, versus=onnxplain.Target(0))),
        ({"weights": [1, 0, 0, 2, 0]}, onnxplain.Target(weights=np.float32([1, 0, 0, 2, 0]))),
    ],
)
def test_targets_are_those_of_the_library(target: Any, same: Any, running: Service, folder: Path) -> None:
    [found] = explained(running, [photo(folder)], target=target, outputs=["gradient"])
    mine = onnxplain.Explainer(folder / "small.onnx").explain(folder / "photo.png", same)
    several, theirs = (found, mine) if isinstance(mine, list) else ([found], [mine])
    for one, other in zip(several, theirs, strict=True):
        np.testing.assert_allclose(one["gradient"], other.attribution, rtol=1e-5, atol=1e-6)
        assert one["score"] == pytest.approx(other.score, rel=1e-5)


def test_each_instance_has_its_own_target(running: Service) -> None:
    x = inputs(2)
    instances = [{"inputs": {"x": one.tolist()}, "target": target} for one, target in zip(x, (4, "red"))]
    found = explained(running, instances, outputs=["gradient"])
    gradients = np.float32([one["gradient"] for one in found])
    np.testing.assert_allclose(gradients, quadratic_gradient(x, [4, 0]), rtol=1e-5, atol=1e-6)


def test_method_and_options(running: Service, folder: Path) -> None:
    [found] = explained(running, [photo(folder)], method="smoothgrad", options={"samples": 7, "noise": 0.3})
    mine = onnxplain.Explainer(folder / "small.onnx").explain(
        folder / "photo.png", method="smoothgrad", samples=7, noise=0.3
    )
    assert found["method"] == "smoothgrad"
    np.testing.assert_allclose(found["saliency"], mine.saliency_input, rtol=1e-5, atol=1e-6)


def test_parameters_of_v2_are_those_of_v1(running: Service) -> None:
    x = inputs(2)
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    parameters = {"target": '{"of": "cat", "versus": "dog"}', "method": "gradient_x_input"}
    status, body, _ = running.ask(
        INFER, {"inputs": [tensor], "parameters": parameters, "outputs": [{"name": "gradient"}]}
    )
    assert status == 200, body
    assert body["id"]
    [found] = body["outputs"]
    same = (quadratic_gradient(x, [3, 3]) - quadratic_gradient(x, [4, 4])) * x
    np.testing.assert_allclose(np.reshape(found["data"], found["shape"]), same, rtol=1e-4, atol=1e-5)
    again = running.ask(INFER, {"id": "mine", "inputs": [tensor], "parameters": {"target": "top2"}})[1]
    assert again["id"] == "mine"
    assert [one["shape"] for one in again["outputs"]] == [[2, 2], [2, 2, 4, 4]]


def test_a_fraction_may_be_a_text_as_grpc_has_none(running: Service, folder: Path) -> None:
    asked = {"inputs": [{"name": "photo", "shape": [1], "datatype": "BYTES", "data": [photo(folder)["b64"]]}]}
    files = []
    for alpha in ("0.25", 0.25, 0.75):
        body = {**asked, "parameters": {"alpha": alpha}, "outputs": [{"name": "png"}]}
        status, answer, _ = running.ask(INFER, body)
        assert status == 200, answer
        files.append(answer["outputs"][0]["data"])
    assert files[0] == files[1] != files[2]


def test_job_is_started_and_fetched(folder: Path) -> None:
    with service(folder / "jobs", folder / "small.onnx") as running:
        body = {"instances": [photo(folder)], "parameters": {"method": "smoothgrad", "options": {"samples": 20}}}
        status, started, headers = running.ask(f"{EXPLAIN}?async=1", body)
        assert status == 202 and headers["location"] == started["href"] == f"/v1/jobs/{started['id']}"
        for _ in range(2400):
            status, found, _ = running.ask(started["href"])
            if found["state"] != "running":
                break
            time.sleep(0.05)
        assert (status, found["state"]) == (200, "done")
        assert found["result"]["explanations"][0]["method"] == "smoothgrad"
        failed = running.ask(f"{EXPLAIN}?async=1", {"instances": [photo(folder)], "parameters": {"target": "nobody"}})[
            1
        ]
        for _ in range(2400):
            found = running.ask(failed["href"])[1]
            if found["state"] != "running":
                break
            time.sleep(0.05)
        assert (found["state"], found["status"]) == ("failed", 400) and "nobody" in found["error"]
        assert running.ask("/v1/jobs/none")[0] == 404
        for _ in range(70):  # more than are kept: those that were fetched make way
            status, started, _ = running.ask(f"{EXPLAIN}?async=1", {"instances": [], "parameters": {}})
            assert status == 202
            while running.ask(started["href"])[1]["state"] == "running":
                time.sleep(0.01)


def test_log_has_what_was_answered(running: Service, folder: Path) -> None:
    body = {"instances": [photo(folder)], "parameters": {"target": "cat"}}
    _, answer, _ = running.ask(EXPLAIN, body, {"X-Request-Id": "for the log"})
    lines = [json.loads(line) for file in (folder / "log").glob("*.jsonl") for line in file.read_text().splitlines()]
    [line] = [one for one in lines if one["request"] == "for the log"]
    assert line["model_sha256"] == hashlib.sha256((folder / "small.onnx").read_bytes()).hexdigest()
    assert line["input_sha256"] == hashlib.sha256((folder / "photo.png").read_bytes()).hexdigest()
    assert (line["asked"], line["label"], line["method"]) == ("cat", "cat", "saliency")
    assert line["versions"]["onnxplain"] == onnxplain.__version__
    assert "photo" not in line
    assert line["preprocessing"]["crop"] == 4 and line["box"] is None
    [packed] = line["maps"].values()
    saliency = np.frombuffer(zlib.decompress(base64.b64decode(packed["zlib"])), np.float16).reshape(packed["shape"])
    np.testing.assert_allclose(saliency, answer["explanations"][0]["saliency"], atol=1e-3)


def test_openvino_runs_the_models_where_that_is_asked_for(running: Service, folder: Path) -> None:
    body = {"instances": [photo(folder)], "parameters": {"target": "cat"}}
    place = folder / "openvino"
    with service(
        place, folder / "small.onnx", "--runtime", "openvino", "--log-explanations", place / "log", "--sample", 1
    ) as other:
        (expected,), (found,) = (one.ask(EXPLAIN, body)[1]["explanations"] for one in (running, other))
        status, refused, _ = other.ask(EXPLAIN, {**body, "parameters": {"target": "a fish"}})
        assert status == 400 and "a fish" in refused["error"]
    assert found["label"] == "cat"
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-5)
    [line] = [json.loads(line) for file in (place / "log").glob("*.jsonl") for line in file.read_text().splitlines()]
    assert line["provider"] == "OpenVINO" and sorted(line["versions"]) == ["numpy", "onnx", "onnxplain", "openvino"]


def _logged(folder: Path, name: str) -> dict[str, Any]:
    lines = [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
    [found] = [one for one in lines if one["request"] == name]
    return dict(found)


def test_log_holds_no_photo_of_a_target_unless_photos_are_asked_for(running: Service, folder: Path) -> None:
    content = (folder / "photo.png").read_bytes()
    target = {"like": [1, 2, 3, 4, 5], "versus": {"like": photo(folder)}}
    body = {"instances": [photo(folder)], "parameters": {"target": target}}
    assert running.ask(EXPLAIN, body, {"X-Request-Id": "a photo in the target"})[0] == 200
    same = {"sha256": hashlib.sha256(content).hexdigest()}
    said = {"like": [1, 2, 3, 4, 5], "versus": {"like": same}}
    assert _logged(folder / "log", "a photo in the target")["asked"] == said
    assert photo(folder)["b64"] not in "".join(file.read_text() for file in (folder / "log").iterdir())


def test_log_as_parquet(folder: Path, tmp_path: Path) -> None:
    """Killed, the service leaves lines; the next one makes a shard of these, and of its own when it ends."""
    parquet = pytest.importorskip("pyarrow.parquet")
    log = tmp_path / "log"
    arguments = (folder / "small.onnx", "--log-explanations", log, "--sample", 1, "--log-format", "parquet")
    body = {"instances": [photo(folder)], "parameters": {"target": ["cat", "dog"]}}
    with service(tmp_path / "first", *arguments, "--log-photos") as running:
        assert running.ask(EXPLAIN, body, {"X-Request-Id": "killed"})[0] == 200
        running.process.kill()
    assert [file.suffix for file in log.iterdir()] == [".jsonl"]
    with service(tmp_path / "second", *arguments) as running:
        answer = running.ask(EXPLAIN, body, {"X-Request-Id": "ended"})[1]
    assert {file.suffix for file in log.iterdir()} == {".parquet"}
    tables = {rows[0]["request"]: rows for rows in (parquet.read_table(one).to_pylist() for one in log.iterdir())}
    assert [[row["label"] for row in tables[name]] for name in ("killed", "ended")] == [["cat", "dog"]] * 2
    assert [row["photo"] for row in tables["killed"]] == [(folder / "photo.png").read_bytes()] * 2
    [found], row = answer["explanations"], tables["ended"][1]
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("small.onnx", "photo.png")]
    assert [row["model_sha256"], row["input_sha256"], row["photo"]] == [*digests, None]
    assert json.loads(row["asked"]) == ["cat", "dog"] and json.loads(row["versions"])["onnx"] == onnx.__version__
    [saliency] = row["maps"]
    values = np.float32(saliency["values"]).reshape(saliency["shape"])
    np.testing.assert_allclose(values, found[1]["saliency"], atol=1e-3)
    assert (row["score"], row["probability"]) == (found[1]["score"], found[1]["probability"])


def test_metrics_count_steps_and_refusals(running: Service, folder: Path) -> None:
    explained(running, [photo(folder)], outputs=["png"])
    running.ask(EXPLAIN, b"x" * 10, {"Content-Type": "text/plain"})
    text = running.ask("/metrics")[1].decode()
    for step in ("read", "queue", "run", "draw"):
        assert f'onnxplain_step_seconds_count{{method="saliency",model="small",step="{step}"}}' in text
    assert 'onnxplain_refusals_total{status="415"}' in text
    assert "onnxplain_queue_length 0.0" in text
    assert "request_explain_seconds" in text


def test_model_is_loaded_again_when_its_file_changes(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "model.onnx"
    onnx.save(quadratic(metadata=image_metadata()), place)
    with service(tmp_path / "run", f"{place}=mine") as running:
        ask = {"instances": [np.ones((3, 4, 4)).tolist()], "parameters": {"target": 0}}
        before = running.ask("/v1/models/mine:predict", ask)[1]["predictions"][0]["score"]
        changed = quadratic(metadata=image_metadata())
        for one in changed.graph.initializer:
            if one.name == "b":
                one.CopyFrom(onnx.numpy_helper.from_array(np.full(5, 100, np.float32), "b"))
        (tmp_path / "broken").write_bytes(b"no model")
        os.replace(tmp_path / "broken", place)
        _wait(lambda: "cannot be loaded" in running.text())
        assert running.ask("/v1/models/mine:predict", ask)[1]["predictions"][0]["score"] == before
        onnx.save(changed, tmp_path / "next")
        os.replace(tmp_path / "next", place)
        _wait(lambda: running.ask("/v1/models/mine:predict", ask)[1]["predictions"][0]["score"] > before + 90)


def _wait(done: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_several_photos_of_several_sizes(running: Service) -> None:
    instances = []
    for height, width in ((12, 16), (30, 9), (4, 4)):
        file = io.BytesIO()
        Image.fromarray(picture(height, width)).save(file, "PNG")
        instances.append({"photo": {"b64": base64.b64encode(file.getvalue()).decode()}})
    found = explained(running, instances, outputs=["saliency", "png"])
    assert [one["size"] for one in found] == [[12, 16], [30, 9], [4, 4]]
