"""Export a timm model and explain a photo: ``python timm_model.py NAME PHOTO PICTURE``; needs timm and torch.

The weights are random here, unless PRETRAINED is set to True; then timm downloads them.
"""

import sys

import timm
import torch

import onnxplain

PRETRAINED = False


def main(name: str, photo: str, picture: str) -> None:
    net = timm.create_model(name, pretrained=PRETRAINED).eval()
    facts = timm.data.resolve_data_config(model=net)
    subset = timm.data.infer_imagenet_subset(net)
    labels = timm.data.ImageNetInfo(subset).label_descriptions() if subset else None
    export = onnxplain.export_torch(
        net, torch.zeros(1, *facts["input_size"]), f"{name}.onnx", preprocessing=facts, labels=labels
    )
    explanation = onnxplain.Explainer(export.path).explain(photo)
    explanation.save(picture)
    print(explanation.title)


if __name__ == "__main__":
    main(*sys.argv[1:])
