"""``onnxplain serve``: a service that predicts and explains, by KServe's protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from .common import ONNX_RUNTIME, RuntimeName, Threads, guarded
from .methods import method_help
from .signatures import Argument, Option


@guarded
def serve(
    models: Annotated[
        list[str] | None,
        Argument(
            metavar="[MODEL[=NAME]]...",
            help="ONNX models, each by its file's name or NAME. Default: the bundled classifier.",
        ),
    ] = None,
    host: Annotated[str, Option("--host", help="The address that is listened at.")] = "127.0.0.1",
    port: Annotated[int, Option("--port", help="The port of REST; 0 takes a free one.")] = 8080,
    grpc_port: Annotated[int, Option("--grpc-port", help="The port of gRPC; 0 takes a free one.")] = 8081,
    runtime: RuntimeName = ONNX_RUNTIME,
    providers: Annotated[
        str | None,
        Option("--provider", "--providers", help="cuda, cuda:1, cpu, names of ONNX Runtime, or a list: cuda,cpu."),
    ] = None,
    threads: Threads = 0,
    methods: Annotated[
        str | None,
        Option(
            "--method",
            "--methods",
            "-m",
            help='The methods that are offered: saliency,grad_cam; "help" lists all. Default: all.',
            callback=method_help,
        ),
    ] = None,
    queue: Annotated[int, Option("--queue", help="Requests that wait; one more gets 429.")] = 16,
    timeout: Annotated[float, Option("--timeout", help="Seconds for a request.")] = 60.0,
    max_body: Annotated[str, Option("--max-body", help="Bytes of a request.")] = "20MB",
    max_pixels: Annotated[str, Option("--max-pixels", help="Pixels of a photo.")] = "50MP",
    max_batch: Annotated[int, Option("--max-batch", help="Samples of a request, and of a run.")] = 32,
    max_samples: Annotated[
        int, Option("--max-samples", help="Copies that a method may make of a sample (SmoothGrad).")
    ] = 200,
    api_key_file: Annotated[
        Path | None, Option("--api-key-file", help="Keys, one a line; every route but liveness asks for one.")
    ] = None,
    insecure: Annotated[
        bool, Option("--insecure", help="Answer other machines without a key, behind a gateway that asks.")
    ] = False,
    cors: Annotated[
        list[str] | None, Option("--cors", help="An origin whose pages may ask; repeatable.", metavar="ORIGIN")
    ] = None,
    log_explanations: Annotated[
        Path | None, Option("--log-explanations", help="A folder for a log of what was explained.")
    ] = None,
    sample: Annotated[float, Option("--sample", help="The share of requests that is logged, 0..1.")] = 0.01,
    log_photos: Annotated[bool, Option("--log-photos", help="Log the photos, too.")] = False,
    log_format: Annotated[
        str,
        Option(
            "--log-format",
            metavar="FORMAT",
            help="jsonl, or parquet: files of lines become Parquet once they are full.",
        ),
    ] = "jsonl",
    page: Annotated[
        Path | None,
        Option("--page", help="A folder of onnxplain page, shown at /. Default: one of the models.", metavar="DIR"),
    ] = None,
) -> None:
    """Serve predictions and explanations by KServe's V1 and the Open Inference Protocol V2, REST and gRPC.

    \f
    Longer than 60 lines by its options, which stand in the signature.
    """
    from ..serve import serve as run
    from ..serve.settings import Settings, parse_models, parse_size

    run(
        Settings(
            models=parse_models(models or []),
            host=host,
            port=port,
            grpc_port=grpc_port,
            runtime=runtime,
            providers=None if providers is None else _listed(providers),
            threads=threads,
            methods=() if methods is None else _listed(methods),
            queue=queue,
            timeout=timeout,
            max_body=parse_size(max_body, "B", "--max-body"),
            max_pixels=parse_size(max_pixels, "P", "--max-pixels"),
            max_batch=max_batch,
            max_samples=max_samples,
            api_key_file=api_key_file,
            insecure=insecure,
            cors=tuple(cors or ()),
            log_folder=log_explanations,
            log_share=sample,
            log_photos=log_photos,
            log_format=log_format,
            page=page,
        )
    )


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]
