"""What ``--help`` shows: examples, and what each option takes."""

from __future__ import annotations

from typing import Any

import click

#: Examples of each command; they stand below its options, and a test reads each as a command line.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "explain": (
        "onnxplain explain",
        "onnxplain explain model.onnx photo.jpg -o map.png",
        "onnxplain explain model.onnx photos/ -o out --picture panel --report report.html",
        "onnxplain explain photo.jpg --target tabby --versus lynx --method smoothgrad --set samples=20",
        "onnxplain explain --method help",
        "onnxplain explain --again result.json",
    ),
    "detect": (
        "onnxplain detect detector.onnx street.jpg -o boxes.png",
        "onnxplain detect detector.onnx photos/ --layout yolov8 --threshold 0.5 --json",
    ),
    "differentiate": (
        "onnxplain differentiate model.onnx -o gradient.onnx",
        "onnxplain differentiate model.onnx -o map.onnx --saliency --preprocessing imagenet --with-preprocessing",
    ),
    "check": (
        "onnxplain check model.onnx",
        "onnxplain check model.onnx --bench --engine openvino",
    ),
    "visualize-class": (
        "onnxplain visualize-class --target pug,goldfish -o images",
        "onnxplain visualize-class model.onnx --target 207 --preset paper --steps 200",
    ),
    "evaluate": (
        "onnxplain evaluate --method saliency,grad_cam --metrics deletion,insertion",
        "onnxplain evaluate model.onnx photos/ --masks masks/ -o table.csv",
    ),
    "export-torch": ("onnxplain export-torch package.module:factory -o model.onnx --input-shape 1,3,224,224",),
    "bulk": (
        "onnxplain bulk model.onnx photos/ -o maps",
        "onnxplain bulk model.onnx photos.csv -o maps --resume --format png,html",
    ),
    "package": ("onnxplain package model.onnx -o repository --server triton",),
    "page": (
        "onnxplain page -o page",
        "onnxplain page model.onnx -o page --layout yolov8",
    ),
    "serve": (
        "onnxplain serve model.onnx=classifier --port 8080",
        "onnxplain serve model.onnx --method saliency,grad_cam --api-key-file keys.txt --host 0.0.0.0",
    ),
    "cache": ("onnxplain cache", "onnxplain cache --clear"),
}

#: What options take, where their own place does not say it. Others take what their type is called.
_METAVARS = {
    "formats": "FORMATS",
    "method": "METHOD",
    "methods": "METHODS",
    "metrics": "METRICS",
    "picture": "KIND",
    "colormap": "NAME",
    "target": "CLASS",
    "neuron": "TENSOR:CHANNEL",
    "preprocessing": "PRESET|FILE",
    "labels": "FILE",
    "provider": "NAME",
    "providers": "NAMES",
    "score": "KIND",
    "layout": "NAME|JSON",
    "class_axis": "AXIS",
    "channel_axis": "AXIS",
    "precision": "TYPE",
    "preset": "NAME",
    "form": "FORM",
    "engine": "NAME",
    "server": "NAME",
    "host": "ADDRESS",
    "port": "PORT",
    "grpc_port": "PORT",
    "timeout": "SECONDS",
    "max_body": "BYTES",
    "max_pixels": "PIXELS",
    "path_column": "COLUMN",
    "target_column": "COLUMN",
    "maps": "TYPE",
    "address": "ADDRESS",
    "name": "NAME",
    "exporter": "NAME",
    "palette": "NAME",
}
_COUNTS = (
    "batch_size threads steps seed size limit shard_size max_errors actors opset max_batch queue max_samples samples"
)
_NUMBERS = "alpha threshold overlap tolerance learning_rate l2 gpus sample"
_FILES = "page runtime_files root api_key_file log_explanations"
for _names, _shown in ((_COUNTS, "N"), (_NUMBERS, "NUMBER"), (_FILES, "PATH")):
    _METAVARS.update(dict.fromkeys(_names.split(), _shown))


#: What holds of every command.
SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
    "show_default": True,
}


def metavar_of(name: str) -> str:
    """Return what the option of the parameter ``name`` takes."""
    return _METAVARS.get(name, "TEXT")


class HelpfulArgument(click.Argument):
    """An argument that says what it is."""

    def __init__(self, *arguments: Any, help: str, **stated: Any) -> None:
        super().__init__(*arguments, **stated)
        self.described = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self.metavar or "", self.described


class HelpfulCommand(click.Command):
    """A command whose help describes its arguments, too, and ends with examples."""

    def __init__(self, name: str, **stated: Any) -> None:
        super().__init__(name, context_settings=SETTINGS, **stated)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        parameters = self.get_params(ctx)
        for title, kind in (("Arguments", click.Argument), ("Options", click.Option)):
            records = [record for one in parameters if isinstance(one, kind) and (record := one.get_help_record(ctx))]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def examples(command: str) -> str:
    """Return the examples of a command as its epilog, one a line; the mark keeps click from joining the lines."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in EXAMPLES[command])])
