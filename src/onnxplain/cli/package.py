"""``onnxplain package``: write the folder that a model server loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from .common import Json, Quiet, guarded, print_json
from .signatures import Argument, Option


@guarded
def package(
    model: Annotated[Path, Argument(help="An ONNX model, plain or differentiated.")],
    out: Annotated[
        Path, Option("-o", "--output", help="The server's repository, to which it is added.", metavar="DIR")
    ],
    server: Annotated[
        str, Option("--server", help="triton, openvino (OpenVINO Model Server), or onnxruntime (model package).")
    ] = "triton",
    name: Annotated[
        str | None, Option("--name", help="The name of the model on the server. Default: that of the file.")
    ] = None,
    max_batch: Annotated[int, Option("--max-batch", help="The largest batch that Triton fills.")] = 32,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write MODEL with its gradients as a model that a server loads.

    A plain model is differentiated for one class of each sample, with saliency maps as outputs. For another question
    run onnxplain differentiate first and package what it writes.
    """
    from ..packages import write_package

    named = name or re.sub(r"[^A-Za-z0-9_.-]", "_", model.stem)
    files = write_package(model, out, server, name=named, max_batch=max_batch)
    if as_json:
        print_json({"name": named, "server": server, "files": [str(file) for file in files]})
    elif not quiet:
        print("\n".join(map(str, files)))
