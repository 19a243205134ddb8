"""A service under load against the library in one process: ``python benchmarks/serving.py``.

Needs the extra ``serve``. It starts ``onnxplain serve`` with the bundled model on free ports of this machine, and asks
``--requests`` times for the score and the saliency map of a photo, as an input tensor by V2 in binary form, over 1, 8
and 64 connections kept open (``--connections``: over others, or in several calls). The photos are crops of the bundled
one; each answer is compared with that of ``Explainer.saliency``. In turn with the rounds of 64 connections,
``Explainer.saliency`` runs over the same tensors in this process, and the table has the ratio. Then more requests than
the queue holds come at once, four times: the answers are 200 and 429, and the service's memory is printed after each.
Clients and service share the processors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from onnxplain import Explainer
from onnxplain.bundled import bundled_photo
from onnxplain.photos import load_image

Array = np.ndarray
#: Number of a request, status, headers and body of its answer.
Found = tuple[int, int, tuple[dict[str, str], bytes]]
_PHOTOS = 64
#: Times that more requests come than the queue holds.
_WAVES = 4
_WHERE = re.compile(r"http://127\.0\.0\.1:(\d+)")
#: How far a score may be from that of another batch, and a map from another's, both relative to the greatest.
TOLERANCE = 1e-4


def tensors(explainer: Explainer) -> Array:
    """Input tensors [64,3,224,224] of different crops of the bundled photo."""
    photo = load_image(bundled_photo())
    apply = explainer.preprocessing.preprocessing.apply
    crops = [photo[row // 2 : row // 2 + 250, 3 * row : 3 * row + 250] for row in range(_PHOTOS)]
    return np.stack([apply(np.ascontiguousarray(crop))[0] for crop in crops])


def request(x: Array, name: str) -> bytes:
    """A whole HTTP request for the score and the map of one tensor."""
    tensor = {"name": name, "shape": [1, *x.shape], "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    outputs = [{"name": one, "parameters": {"binary_data": True}} for one in ("score", "saliency")]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    body = head + x.tobytes()
    lines = [
        "POST /v2/models/efficientnet_lite0/infer HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:])}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def values(headers: dict[str, str], body: bytes) -> tuple[float, Array]:
    """The score and the map [h,w] in an answer."""
    length = int(headers["inference-header-content-length"])
    outputs = json.loads(body[:length])["outputs"]
    found, at = {}, length
    for one in outputs:
        size = one["parameters"]["binary_data_size"]
        found[one["name"]] = np.frombuffer(body[at : at + size], np.float32).reshape(one["shape"])
        at += size
    return float(found["score"][0]), found["saliency"][0]


async def load(port: int, asked: list[bytes], count: int, connections: int) -> tuple[float, list[Found]]:
    """Seconds for ``count`` requests over so many connections, and what came."""
    numbers = iter(range(count))
    found: list[Found] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            writer.write(asked[number % len(asked)])
            status, headers, body = await answer(reader)
            found.append((number, status, (headers, body)))
            if headers.get("connection") == "close":
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return time.perf_counter() - began, found


def wrong(found: list[Found], maps: Array, scores: Array) -> int:
    """How many answers are not those of the library."""
    count = 0
    for number, status, (headers, body) in found:
        score, saliency = values(headers, body) if status == 200 else (np.nan, np.zeros(1))
        row = number % len(maps)
        near = abs(score - scores[row]) <= TOLERANCE * abs(scores[row])
        count += not (near and np.abs(saliency - maps[row]).max() <= TOLERANCE)
    return count


def memory(pid: int) -> int:
    """Megabytes that a process holds."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) // 1024


def start(folder: Path, queue: int) -> tuple[subprocess.Popen[bytes], int]:
    """A service, ready, and its port."""
    log = folder / "log"
    command = [sys.executable, "-m", "onnxplain", "serve", "--port", "0", "--grpc-port", "0", "--queue", str(queue)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    end = time.monotonic() + 180
    while "ready:" not in log.read_text():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(log.read_text())
        time.sleep(0.1)
    return process, int(_WHERE.search(log.read_text())[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3, help="of the most connections and of the library, in turn")
    options = parser.parse_args()
    explainer = Explainer()
    x = tensors(explainer)
    maps, scores = explainer.saliency(x), explainer.scores(x).max(axis=1)
    asked = [request(one, explainer.inputs[0].name) for one in x]
    most = max(options.connections)
    turns = [*options.connections, *[most] * (options.rounds - 1)]
    share, ratios = options.requests // len(turns), []
    with tempfile.TemporaryDirectory() as folder:
        process, port = start(Path(folder), most)
        try:
            asyncio.run(load(port, asked, _PHOTOS, most))
            print("connections  requests  lost  wrong  images/s  library  ratio")
            for connections in turns:
                began = time.perf_counter()
                for _ in range(max(share // len(x), 1)) if connections == most else ():
                    explainer.saliency(x)
                mine = max(share // len(x), 1) * len(x) / (time.perf_counter() - began)
                seconds, found = asyncio.run(load(port, asked, share, connections))
                pace = share / seconds
                compared = f"{mine:7.1f}  {pace / mine:5.2f}" if connections == most else ""
                ratios += [pace / mine] if connections == most else []
                counts = f"{connections:11d}  {share:8d}  {share - len(found):4d}  {wrong(found, maps, scores):5d}"
                print(f"{counts}  {pace:8.1f}  {compared}", flush=True)
            print(f"median ratio at {most}: {statistics.median(ratios):.2f}")
            before = memory(process.pid)
            print(f"memory {before} MB")
            for _ in range(_WAVES):
                _, found = asyncio.run(load(port, asked, 600, 256))
                statuses = Counter(status for _, status, _ in found)
                print(f"256 connections: {dict(statuses)}; memory {memory(process.pid)} MB", flush=True)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
