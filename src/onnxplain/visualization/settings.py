"""How a class model is visualised: the presets and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from ..checks import check_count
from ..errors import InputError


@dataclass(frozen=True)
class Settings:
    """The settings of one visualisation.

    Images are counted in units in which the pixels 0..255 span 2 (of the widest channel), zero being the model's mean
    pixel. For a model that takes x = (p - 127) / 128 that is the input tensor itself.

    - ``parametrization``: "tensor", the image itself; "fourier", the spectrum of decorrelated colours.
    - ``optimizer``: "ascent", gradient ascent; "adam".
    - ``steps``: how many; ``learning_rate``: of "adam", the length of a step of every parameter; of "ascent", the root
      mean square by which the first step changes the image. Further steps of "ascent" have the same factor of the
      gradient where views are random; without, their lengths adapt.
    - ``l2``: lambda of S_c(I) - lambda ||I||_2^2.
    - ``total_variation``: the weight of the total variation, likewise subtracted.
    - ``views``: random views of the image a step, whose gradients are averaged; each is moved by up to ``jitter``
      of the height and width, enlarged by a factor between 1/(1 + ``scaling``) and 1 + ``scaling``, and turned by up to
      ``rotation`` degrees. With all three 0 the model sees the image itself.
    - ``decay``: of the spectrum, amplitudes fall with the frequency f as 1/f**decay; ``noise``: the standard deviation
      of the first image before its range is limited. Both of "fourier" alone.
    """

    parametrization: Literal["tensor", "fourier"]
    optimizer: Literal["ascent", "adam"]
    steps: int
    learning_rate: float
    l2: float
    total_variation: float = 0.0
    views: int = 1
    jitter: float = 0.0
    scaling: float = 0.0
    rotation: float = 0.0
    decay: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is one of {', '.join(choices)}; found {getattr(self, name)!r}.")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(least, int):
                check_count(name, value, least)
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
                raise InputError(f"{name} is a number, {least:g} or more; found {value!r}.")


_CHOICES = {"parametrization": ("tensor", "fourier"), "optimizer": ("ascent", "adam")}
_LEAST = {
    "steps": 1,
    "learning_rate": 0.0,
    "l2": 0.0,
    "total_variation": 0.0,
    "views": 1,
    "jitter": 0.0,
    "scaling": 0.0,
    "rotation": 0.0,
    "decay": 0.0,
    "noise": 0.0,
}

#: - ``paper``: Simonyan, Vedaldi, Zisserman 2013, section 2: gradient ascent from the zero image, L2 alone.
#: - ``natural``: what makes pictures that people, and other classifiers, recognise: the Fourier parametrisation of
#:   decorrelated colours and random views of Olah, Mordvintsev, Schubert 2017 ("Feature Visualization"), Adam (Kingma,
#:   Ba 2015), total variation (Mahendran, Vedaldi 2015).
PRESETS: Mapping[str, Settings] = MappingProxyType(
    {
        "natural": Settings(
            parametrization="fourier",
            optimizer="adam",
            steps=256,
            learning_rate=0.05,
            l2=1e-4,
            total_variation=3e-3,
            jitter=0.2,
            scaling=0.6,
            rotation=15,
            decay=1.5,
            noise=0.1,
        ),
        "paper": Settings(parametrization="tensor", optimizer="ascent", steps=256, learning_rate=2.5e-3, l2=1e-3),
    }
)


def find_settings(preset: str, options: Mapping[str, Any]) -> Settings:
    """Return the settings of a preset with ``options`` in their place.

    Raises:
        InputError: no such preset or setting, or a value that makes no sense.
    """
    if preset not in PRESETS:
        raise InputError(f"preset {preset!r} is unknown; there are {', '.join(PRESETS)}.")
    known = [field.name for field in fields(Settings)]
    for name in options:
        if name not in known:
            raise InputError(f"a visualisation has no setting {name!r}; there are {', '.join(known)}.")
    return replace(PRESETS[preset], **options)
