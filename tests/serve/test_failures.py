"""What a service refuses, how, and that it goes on afterwards."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.service import Service, run_client, service
from support.small_models import inputs, picture

EXPLAIN, INFER = "/v1/models/small:explain", "/v2/models/small/infer"
SLOW = "/v1/models/slow:explain"
ONES = {"instances": [np.ones((3, 4, 4)).tolist()]}


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Service]:
    """A service with keys, a short limit, and a model that takes longer than that."""
    arguments = ("--api-key-file", folder / "keys", "--timeout", 3, "--queue", 2, "--max-body", "100kB")
    more = ("--max-pixels", "1MP", "--cors", "https://pages.example", "--threads", 1)
    with service(folder / "guarded", folder / "small.onnx", folder / "slow.onnx", *arguments, *more) as found:
        yield found


KEY = {"X-API-Key": "secret"}


def refused(running: Service, status: int, path: str, body: object = None, **more: Any) -> str:
    """The sentence of a refusal with this status."""
    found, answer, _ = running.ask(path, body, **more)
    assert (found, list(answer)) == (status, ["error"]), answer
    sentence: str = answer["error"]
    assert sentence.endswith(".") and "Traceback" not in sentence
    assert not any(part in sentence for part in ("/tmp", ".py", "site-packages", "/home", ".onnx"))
    return sentence


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"target": "nobody"}, "no class is called 'nobody'"),
        ({"target": 17}, "out of range"),
        ({"target": {"like": [1.0, 2.0]}}, "vector of 5 numbers"),
        ({"target": {"of": 1, "colour": 2}}, "a target has no 'colour'"),
        ({"target": {"at": {"box": [1, 2]}}}, "box is"),
        ({"target": ["cat"] * 40}, "at most 32 answers"),
        ({"method": "magic"}, "is not offered"),
        ({"method": "smoothgrad", "options": {"samples": 5000}}, "at most 200"),
        ({"method": "smoothgrad", "options": {"samples": "many"}}, "cannot be"),
        ({"method": "saliency", "options": {"steps": 3}}, "no option 'steps'"),
        ({"outputs": ["everything"]}, "unknown"),
        ({"outputs": ["png"], "picture": "/etc/passwd"}, "heatmap"),
        ({"outputs": ["png"], "alpha": 0.5}, "no option 'alpha'"),
        ({"target": {"at": {"mask": [[1.0] * 4] * 4}}}, "no places"),
        ({"wrong": 1}, "unknown"),
    ],
)
def test_refusals_are_sentences_of_the_library(parameters: dict[str, Any], words: str, running: Service) -> None:
    status, answer, _ = running.ask(EXPLAIN, {**ONES, "parameters": parameters})
    assert status == 400 and words in answer["error"], answer
    assert answer["error"].endswith(".")


def test_nothing_is_fetched_and_no_file_is_read(running: Service) -> None:
    for photo in ("http://127.0.0.1:1/a.png", "file:///etc/passwd", "/etc/passwd", "../../etc/passwd"):
        assert "base64" in refused(running, 400, EXPLAIN, {"instances": [{"b64": photo}]}).lower()
        assert "Nothing is fetched" in refused(running, 400, EXPLAIN, {"instances": [{"photo": {"url": photo}}]})


def test_statuses(guarded: Service) -> None:
    assert "no such model" in refused(guarded, 404, "/v1/models/none:explain", ONES, headers=KEY)
    assert refused(guarded, 404, "/v1/models/..%2f..%2fetc:explain", ONES, headers=KEY)
    assert refused(guarded, 404, "/v2/models/none/ready", headers=KEY)
    assert refused(guarded, 404, "/nowhere", headers=KEY)
    assert refused(guarded, 405, "/v2/models/small/infer", headers=KEY)
    text = {**KEY, "Content-Type": "application/x-www-form-urlencoded"}
    assert "application/json" in refused(guarded, 415, EXPLAIN, ONES, headers=text)
    assert "compressed" in refused(guarded, 415, EXPLAIN, ONES, headers={**KEY, "Content-Encoding": "gzip"})
    assert "no JSON" in refused(guarded, 400, EXPLAIN, b"{", headers=KEY)


def test_every_route_but_liveness_asks_for_the_key(guarded: Service) -> None:
    schema = guarded.ask("/openapi.json", headers=KEY)[1]
    routes = [(path, verb) for path, verbs in schema["paths"].items() for verb in verbs]
    assert len(routes) >= 13 and ("/v1/models/{model_name}:explain", "post") in routes
    for path, verb in [*routes, ("/openapi.json", "get"), ("/nowhere", "get"), ("/docs", "get")]:
        place = path.replace("{model_name}", "small").replace("{job_id}", "x")
        body = ONES if verb == "post" else None
        for key in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer"}, {"Authorization": "Basic secret"}):
            status, _, headers = guarded.ask(place, body, key, verb.upper())
            if path == "/v2/health/live":
                assert status == 200
            else:
                assert (status, headers["www-authenticate"]) == (401, "Bearer"), path
        for key in (KEY, {"Authorization": "Bearer other"}):
            assert guarded.ask(place, body, key, verb.upper())[0] != 401
    program = """
import sys, grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb, grpc_predict_v2_pb2_grpc as rpc
stub = rpc.GRPCInferenceServiceStub(grpc.insecure_channel(sys.argv[1]))
calls = [name for name in vars(stub)]
assert len(calls) >= 7, calls
for name in calls:
    request = getattr(pb, name + "Request")()
    for key in ((), (("x-api-key", "wrong"),), (("authorization", "Bearer secret"),)):
        try:
            getattr(stub, name)(request, metadata=key)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        right = bool(key) and "secret" in key[0][1]
        assert (code == "UNAUTHENTICATED") == (name != "ServerLive" and not right), (name, key, code)
"""
    run_client(guarded.log.parent / "client", program, f"127.0.0.1:{guarded.grpc_port}")


def test_large_bodies_are_refused_before_they_are_read(guarded: Service) -> None:
    head = f"POST {EXPLAIN} HTTP/1.1\r\nHost: a\r\nX-API-Key: secret\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as stated:
        stated.sendall(f"{head}Content-Length: 1000000000\r\n\r\n".encode())
        assert stated.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as chunked:
        chunked.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(3):
            chunked.sendall(b"c350\r\n" + b" " * 50_000 + b"\r\n")
        assert chunked.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as never:
        never.sendall(f"{head}Content-Length: 1000\r\n\r\nabc".encode())
        began = time.monotonic()
        assert never.recv(100).startswith(b"HTTP/1.1 408 ")
        assert 2 < time.monotonic() - began < 10
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as huge:
        huge.sendall(f"{head}X-Long: {'a' * 200_000}\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.1 4\d\d ", huge.recv(100))


def test_runs_end_at_the_limit(guarded: Service) -> None:
    began = time.monotonic()
    assert "within 3 seconds" in refused(guarded, 504, SLOW, ONES, headers=KEY)
    assert 2.5 < time.monotonic() - began < 8
    began = time.monotonic()
    assert guarded.ask(EXPLAIN, ONES, KEY)[0] == 200, "the run of the former request has not ended"
    assert time.monotonic() - began < 3


def test_work_for_a_caller_who_is_gone_ends(tmp_path: Path) -> None:
    program = """
import asyncio
from onnxplain.serve.admission import Gate
from onnxplain.serve.guard import Guard
from onnxplain.serve.keys import Keys

async def main():
    gate, begun, heard = Gate(1, 60.0), asyncio.Event(), [{"type": "http.request", "body": b"{}"}]

    async def work(scope, receive, send):
        print(await receive())
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("ended with", gate.present)
            raise

    async def receive():
        if heard:
            return heard.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        print(message)

    guard = Guard(work, keys=Keys(None), gate=gate, max_body=100)
    await asyncio.wait_for(guard({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send), 20)
    print("left", gate.present)

asyncio.run(main())
"""
    lines = run_client(tmp_path, program).splitlines()
    assert lines[1:] == ["ended with 1", "left 0"] and lines[0].startswith("{'type': 'http.request'"), lines


def test_connections_without_a_whole_request_end(tmp_path: Path) -> None:
    program = """
import asyncio, socket
import uvicorn
from onnxplain.serve import server

server._IDLE = 1

async def work(scope, receive, send):
    await asyncio.sleep(2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

async def sent(port, *parts):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    for part in parts:
        writer.write(part)
        found += await reader.readline()
    found += await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return found.split(b"\\r\\n")[0].decode()

async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(work, http=server._Connection, lifespan="off", log_config=None, timeout_keep_alive=60)
    one = uvicorn.Server(config)
    serving = asyncio.create_task(one.serve(sockets=[listener]))
    port = listener.getsockname()[1]
    whole, half = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", b"GET / HTTP/1.1\\r\\nHost"
    print(await asyncio.gather(sent(port, b""), sent(port, half), sent(port, whole, half), sent(port, whole)))
    one.should_exit = True
    await serving

asyncio.run(main())
"""
    assert run_client(tmp_path, program).strip() == str(["", "", *["HTTP/1.1 200 OK"] * 2])


def test_a_full_queue_is_429(guarded: Service) -> None:
    found: list[tuple[int, Any]] = []

    def ask() -> None:
        status, _, headers = guarded.ask(SLOW, ONES, KEY)
        found.append((status, headers.get("retry-after")))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    statuses = [status for status, _ in found]
    assert set(statuses) == {429, 504} and statuses.count(429) >= 4, statuses
    assert all(after is not None and int(after) >= 1 for status, after in found if status == 429)
    assert guarded.ask(EXPLAIN, ONES, KEY)[0] == 200


def test_pages_of_other_origins_may_not_ask(guarded: Service) -> None:
    asked = {"Access-Control-Request-Method": "POST"}
    _, _, mine = guarded.ask(EXPLAIN, None, {"Origin": "https://pages.example", **asked}, "OPTIONS")
    assert mine["access-control-allow-origin"] == "https://pages.example"
    _, _, other = guarded.ask(EXPLAIN, None, {"Origin": "https://evil.example", **asked}, "OPTIONS")
    assert "access-control-allow-origin" not in other


def _png(width: int, height: int) -> bytes:
    """A file that says it has so many pixels, and has none."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def _photo(content: bytes) -> dict[str, Any]:
    return {"instances": [{"b64": base64.b64encode(content).decode()}]}


def malformed(count: int) -> Iterator[tuple[str, object, dict[str, str]]]:
    """Requests that make no sense, of many kinds: path, body, headers."""
    chosen = random.Random(16)
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "PNG")
    photo = file.getvalue()
    x = inputs(1)
    tensor = {"name": "x", "shape": [1, 3, 4, 4], "datatype": "FP32", "data": x.ravel().tolist()}
    odd: list[Any] = [None, True, -1, 1e308, "", "x" * 500, [], [[]], {}, {"b64": 1}, {"b64": "?"}, [1, [2]], "../../x"]
    for number in range(count):
        value = chosen.choice(odd)
        kind = number % 15
        if kind == 0:
            yield EXPLAIN, bytes(chosen.randrange(256) for _ in range(chosen.randrange(1, 300))), {}
        elif kind == 1:
            yield EXPLAIN, json.dumps(ONES).encode()[: chosen.randrange(1, 100)], {}
        elif kind == 2:
            yield EXPLAIN, {"instances": value if value != [] else 0}, {}
        elif kind == 3:
            yield EXPLAIN, {"instances": [value if value != "" else None]}, {}
        elif kind == 4:
            yield EXPLAIN, {**ONES, "parameters": {chosen.choice(["method", "options", "outputs"]): value or 7}}, {}
        elif kind == 5:
            yield (
                EXPLAIN,
                {**ONES, "parameters": {"target": chosen.choice([1.5, {"at": 7}, {"of": []}, {"x": 1}, 99])}},
                {},
            )
        elif kind == 6:
            yield EXPLAIN, _photo(photo[: chosen.randrange(len(photo) - 20)]), {}
        elif kind == 7:
            yield EXPLAIN, _photo(_png(chosen.randrange(20_000, 2**31), chosen.randrange(20_000, 2**31))), {}
        elif kind == 8:
            damaged = bytearray(photo)
            damaged[:8] = bytes(chosen.randrange(256) for _ in range(8))
            yield EXPLAIN, _photo(bytes(damaged)), {}
        elif kind == 9:
            shape = chosen.choice(
                [[1, 3, 4], [2, 3, 4, 4], [-1, 3, 4, 4], [10**12], [0], "no", None, [1.5], [1, 3, 4, 5]]
            )
            yield INFER, {"inputs": [{**tensor, "shape": shape}]}, {}
        elif kind == 10:
            datatype = chosen.choice(["FP64", "INT64", "BYTES", "BOOL", "FP16", "nothing", "", 3])
            yield INFER, {"inputs": [{**tensor, "datatype": datatype}]}, {}
        elif kind == 11:
            yield INFER, {"inputs": [{**tensor, "name": chosen.choice(["y", "", "/etc/passwd", "x\u0000"])}]}, {}
        elif kind == 12:
            head = json.dumps({"inputs": [{**tensor, "data": None, "parameters": {"binary_data_size": 192}}]}).encode()
            body = head + x.tobytes()[: chosen.randrange(191)]
            length = str(chosen.choice([len(head), len(head) + 5, 0, 10**9, -4, "x"]))
            yield INFER, body, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": length}
        elif kind == 13:
            bad = x.copy()
            bad.flat[chosen.randrange(bad.size)] = chosen.choice([np.nan, np.inf, -np.inf])
            head = json.dumps({"inputs": [{**tensor, "data": None, "parameters": {"binary_data_size": 192}}]}).encode()
            yield INFER, head + bad.tobytes(), {"Inference-Header-Content-Length": str(len(head))}
        else:
            name = chosen.choice(["..", "%2e%2e%2fetc", "small%00", "x" * 3000, "small:explain", "%F0%9F", "a:b"])
            yield f"/v1/models/{name}:explain", ONES, {"X-Long": "a" * chosen.randrange(40_000)}


def test_malformed_requests_are_4xx_and_the_service_goes_on(running: Service) -> None:
    wrong = []
    for path, body, headers in malformed(1500):
        status, answer, _ = running.ask(path, body, headers)
        if not 400 <= status < 500:
            wrong.append((path, str(body)[:300], status, answer))
    assert wrong == []
    assert running.ask(EXPLAIN, ONES)[0] == 200
    assert "Traceback" not in running.text()


def test_a_request_of_too_many_samples_is_refused_before_any_is_made(running: Service) -> None:
    empty = {"name": "x", "shape": [2**40, 0], "datatype": "FP32", "data": []}
    photos = {"name": "photo", "shape": [10**6], "datatype": "BYTES", "parameters": {"binary_data_size": 4 * 10**6}}
    head = json.dumps({"inputs": [photos]}).encode()
    for count, path, body, headers in (
        (2**40, INFER, {"inputs": [empty]}, {}),
        (10**6, INFER, head + bytes(4 * 10**6), {"Inference-Header-Content-Length": str(len(head))}),
        (10**6, EXPLAIN, b'{"instances":[' + b"[]," * (10**6 - 1) + b"[]]}", {}),
    ):
        sentence = refused(running, 400, path, body, headers=headers, timeout=60)
        assert sentence == f"a request holds 1 to 32 samples; found {count}."


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000, "-1", "+5", "1_0"], ids=["two", "long", "minus", "plus", "low"])
def test_a_length_that_is_no_number_is_refused(length: str, running: Service) -> None:
    assert "no JSON" in refused(running, 400, INFER, ONES, headers={"Inference-Header-Content-Length": length})


@pytest.mark.slow
def test_schemathesis_finds_no_server_error(running: Service, folder: Path) -> None:
    program = """
import subprocess, sys
from pathlib import Path
command = [str(Path(sys.executable).with_name("schemathesis")), "run", sys.argv[1] + "/openapi.json"]
command += ["--checks", "not_a_server_error", "--max-examples", "40", "--seed", "1", "--no-color"]
done = subprocess.run(command, capture_output=True, text=True, cwd=sys.argv[2])
print(done.stdout[-6000:])
assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
"""
    place = folder / "schemathesis"
    place.mkdir()
    text = run_client(folder / "client", program, running.url, place, timeout=500)
    assert "13 tested" in text.lower() or "Tested: 13" in text, text
    assert "Traceback" not in running.text()
