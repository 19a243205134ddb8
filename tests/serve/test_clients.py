"""Clients that other projects wrote, against a service: tritonclient by HTTP and gRPC, and KServe's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import onnxplain

from support.service import Service, run_client
from support.small_models import inputs, quadratic_gradient, quadratic_scores

_TRITON = """
import sys
import numpy as np
from tritonclient import {kind} as triton

client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("small")
metadata = client.get_model_metadata("small"{as_json})
assert [one["name"] for one in metadata["inputs"]] == ["x", "photo", "target"], metadata
x = np.load(sys.argv[2])
tensor = triton.InferInput("x", list(x.shape), "FP32")
tensor.set_data_from_numpy(x{data})
target = triton.InferInput("target", [len(x)], "INT64")
target.set_data_from_numpy(np.array([3, 1, 0], np.int64){data})
names = ["score", "class", "label", "saliency", "gradient"]
wanted = [triton.InferRequestedOutput(name{data}) for name in names]
found = client.infer("small", [tensor, target], outputs=wanted)
arrays = {{name: found.as_numpy(name) for name in names}}
arrays["label"] = arrays["label"].astype("U")
np.savez(sys.argv[3], **arrays)
plain = client.infer("small", [tensor])
assert plain.as_numpy("saliency").shape == (3, 4, 4)
photo = triton.InferInput("photo", [1], "BYTES")
photo.set_data_from_numpy(np.array([open(sys.argv[4], "rb").read()], object))
drawn = client.infer("small", [photo], outputs=[triton.InferRequestedOutput("png")]).as_numpy("png")
assert drawn[0].startswith(b"\\x89PNG"), drawn
"""
#: What differs between the ways to ask.
_FORMS = {
    "http binary": {"kind": "http", "data": "", "as_json": ""},
    "http json": {"kind": "http", "data": ", binary_data=False", "as_json": ""},
    "grpc": {"kind": "grpc", "data": "", "as_json": ", as_json=True"},
}


@pytest.mark.parametrize("form", _FORMS)
def test_tritonclient(form: str, running: Service, folder: Path, tmp_path: Path) -> None:
    x, targets = inputs(3), [3, 1, 0]
    np.save(tmp_path / "x.npy", x)
    port = running.grpc_port if form == "grpc" else running.port
    files = (tmp_path / "x.npy", tmp_path / "out.npz", folder / "photo.png")
    run_client(tmp_path / "path", _TRITON.format(**_FORMS[form]), f"127.0.0.1:{port}", *files)
    found = np.load(tmp_path / "out.npz")
    scores = quadratic_scores(x)[np.arange(3), targets]
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["gradient"], quadratic_gradient(x, targets), rtol=1e-5, atol=1e-5)
    assert found["class"].tolist() == targets
    assert found["label"].tolist() == ["cat", "green", "red"]
    explainer = onnxplain.Explainer(folder / "small.onnx")
    assert np.array_equal(found["saliency"], explainer.saliency(x, targets))
    assert np.array_equal(found["gradient"], explainer.attribute(x, targets))


_KSERVE = """
import asyncio, base64, json, sys
import numpy as np
from kserve import InferInput, InferenceGRPCClient, InferenceRESTClient, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

rest, rpc, photo = sys.argv[1:4]
x = np.load(sys.argv[4])

def request():
    tensor = InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=True)
    return InferRequest("small", [tensor], request_outputs=[RequestedOutput("score"), RequestedOutput("saliency")])

async def main():
    one = InferenceRESTClient(RESTConfig(protocol="v1"))
    two = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await two.is_server_ready(rest) and await two.is_server_live(rest)
    assert await two.is_model_ready(rest, "small")
    body = {"instances": [{"b64": base64.b64encode(open(photo, "rb").read()).decode()}, x[0].tolist()]}
    said = await one.infer(rest, body, model_name="small")
    explained = await one.explain(rest, "small", body)
    second = await two.infer(rest, request(), model_name="small")
    client = InferenceGRPCClient(url=rpc)
    assert await client.is_server_ready() and await client.is_model_ready("small")
    third = await client.infer(request())
    print(json.dumps({
        "predictions": said["predictions"],
        "explanations": explained["explanations"],
        "rest": [one.as_numpy().tolist() for one in second.outputs],
        "grpc": [one.as_numpy().tolist() for one in third.outputs],
    }))

asyncio.run(main())
"""


def test_kserve(running: Service, folder: Path, tmp_path: Path) -> None:
    x = inputs(3)
    np.save(tmp_path / "x.npy", x)
    rpc = f"127.0.0.1:{running.grpc_port}"
    text = run_client(tmp_path / "path", _KSERVE, running.url, rpc, folder / "photo.png", tmp_path / "x.npy")
    found = json.loads(text.strip().splitlines()[-1])
    explainer = onnxplain.Explainer(folder / "small.onnx")
    mine = explainer.explain(folder / "photo.png")
    assert found["predictions"][0]["label"] == mine.label
    assert found["predictions"][0]["probability"] == pytest.approx(mine.probability, rel=1e-6)
    assert np.array_equal(np.float32(found["explanations"][0]["saliency"]), mine.saliency_input)
    maps = explainer.saliency(x)
    assert np.array_equal(np.float32(found["explanations"][1]["saliency"]), maps[0])
    for protocol in ("rest", "grpc"):
        assert np.array_equal(np.float32(found[protocol][1]), maps)
        np.testing.assert_allclose(found[protocol][0], quadratic_scores(x).max(axis=1), rtol=1e-5)
