"""Attribution methods, each a few lines over a session and the C++ reduction.

``METHODS`` is the table of them by name; adding one is a file with a :class:`~.base.Method` and a line here. A file has
one family of methods; what several families share is in ``helpers``.
"""

from __future__ import annotations

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
from .registry import METHODS, find_method, register_method
from .rise import Rise
from .smoothgrad import SmoothGrad, SmoothGradSquared, VarGrad

__all__ = ["METHODS", "Method", "find_method", "register_method"]

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
for _kind in _KINDS:
    register_method(_kind)
