"""Preprocessings that are known by a name, and how they adapt to a model."""

from __future__ import annotations

import math
from types import MappingProxyType

from .model_input import ModelInput
from .preprocessing import Preprocessing

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

#: - ``imagenet``: torchvision's: shorter side 256, centre crop 224, RGB 0..1 minus mean over std.
#: - ``tf``: as before, but x = p / 127.5 - 1 (Keras' "tf" mode: MobileNet, Inception, EfficientNetV2).
#: - ``caffe``: BGR 0..255 minus the ImageNet means (Keras' "caffe" mode: VGG, ResNet v1, SqueezeNet).
#: - ``clip``: shorter side 224 (bicubic), crop 224, CLIP's mean and std.
#: - ``none``: nothing is resized or scaled; pixel values 0..255 in the model's type.
PRESETS = MappingProxyType(
    {
        "imagenet": Preprocessing("shortest", 256, "bilinear", 224, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
        "tf": Preprocessing("shortest", 256, "bilinear", 224, scale=1 / 127.5, mean=(1.0,)),
        "caffe": Preprocessing(
            "shortest", 256, "bilinear", 224, channels="BGR", scale=1.0, mean=(103.939, 116.779, 123.68)
        ),
        "clip": Preprocessing("shortest", 224, "bicubic", 224, mean=_CLIP_MEAN, std=_CLIP_STD),
        "none": Preprocessing(scale=1.0),
    }
)


def preset_for(name: str, model: ModelInput) -> Preprocessing:
    """Return the preset with the model's own size and channel count.

    A fixed input size becomes the crop, and the resize keeps its ratio to it: crop / 0.875 rounded down for
    imagenet, tf and caffe (256 for 224, 259 for 227, 341 for 299), the crop itself for clip. A model with
    one channel gets luma, with the mean of the three means and of the three standard deviations.
    """
    preset = PRESETS[name]
    if model.channels == 1:
        preset = preset.replace(channels="L", mean=(sum(preset.mean) / 3,), std=(sum(preset.std) / 3,))
    if preset.crop is None:
        return preset
    share = 1.0 if name == "clip" else 0.875
    crop = (model.height or 224, model.width or 224)
    return preset.replace(crop=crop, size=tuple(math.floor(side / share) for side in crop))
