"""Attribution methods, each a few lines over a session and the C++ reduction.

``METHODS`` is the table of them by name; adding one is a file with a :class:`~.base.Method` and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..errors import InputError
from .attention import AttentionRelevance, AttentionRollout
from .base import Method
from .blur_integrated_gradients import BlurIntegratedGradients
from .class_activation import GradCam, GradCamPlusPlus, HiResCam, LayerCam, XGradCam
from .gradients import GradientXInput, Saliency
from .guided import Deconvnet, GuidedBackprop
from .guided_grad_cam import GuidedGradCam
from .guided_integrated_gradients import GuidedIntegratedGradients
from .integrated_gradients import ExpectedGradients, IntegratedGradients
from .occlusion import Occlusion
from .rise import Rise
from .smoothgrad import SmoothGrad, SmoothGradSquared, VarGrad

__all__ = ["METHODS", "Method", "find_method"]

_KINDS: tuple[type[Method], ...] = (
    Saliency,
    GradientXInput,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
    IntegratedGradients,
    BlurIntegratedGradients,
    GuidedIntegratedGradients,
    ExpectedGradients,
    GradCam,
    GradCamPlusPlus,
    LayerCam,
    HiResCam,
    XGradCam,
    GuidedBackprop,
    Deconvnet,
    GuidedGradCam,
    AttentionRollout,
    AttentionRelevance,
    Occlusion,
    Rise,
)
METHODS = {method.name: method for method in _KINDS}


def find_method(method: str | Method, options: Mapping[str, Any]) -> Method:
    """The method of a name with ``options``, or ``method`` itself if it is one.

    Raises:
        InputError: no such method, or it has no such option; the message lists those that exist.
    """
    if isinstance(method, Method):
        if options:
            raise InputError(f"options ({', '.join(options)}) belong to a method's name, or into the method itself.")
        return method
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; there are {', '.join(METHODS)}.")
    kind = METHODS[method]
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            there = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"method {method!r} has no option {name!r}; {there}.")
    return kind(**options)
