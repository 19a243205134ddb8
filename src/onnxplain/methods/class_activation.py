"""Class activation maps: features of an inner layer, weighted by what they mean for the class.

Let A^k be channel k of a layer's output and g^k = dS_c/dA^k. Every method here is a map over the layer's positions,
sum_k of A^k weighted by something made of g^k; it is cut off at zero and interpolated to the input's size. The layer is
the last feature map before the positions are pooled or flattened away, or the one that is named.

Captum's ``LayerGradCam`` does not cut off at zero unless told (``relu_attributions``), and leaves the interpolation to
the caller: that is ``relu=False, interpolation="none"`` here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from .helpers.coarse import CoarseMap, token_grid

Array = NDArray[Any]


@dataclass(frozen=True)
class ClassActivation(CoarseMap):
    """A class activation map, [n,H,W] for images, [n,L] for signals.

    - ``layer``: the name of the tensor in the model, [N,C,h,w], [N,h,w,C], [N,C,l] or tokens [N,T,D]; None finds the
      last feature map. Tokens of an image form a grid, without the class token before them.
    - ``relu``: whether the map is cut off at zero. Negative values speak against the class; a saliency map has none.
    - ``interpolation``: see :class:`~.helpers.coarse.CoarseMap`.
    """

    layer: str | None = None
    relu: bool = True

    @abstractmethod
    def combine(self, features: Array, gradients: Array) -> Array:
        """Return the map [n, ...] of features A and gradients dS_c/dA, both [n,C, ...], before it is cut off."""

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        source, size = self.source(attributor, feeds)
        layer = attributor.feature_map(source, self.layer)
        found = attributor.variant(wrt=(layer.name,), values=(layer.name,)).attribute(feeds, targets)
        values, slopes = found.tensors[layer.name], found.attributions[0]
        wide = np.result_type(slopes, np.float32)
        features, gradients = (
            np.moveaxis(array, layer.channel_axis, 1)
            for array in (values.astype(wide) - layer.zero_point, slopes.astype(wide))
        )
        if features.ndim == 3 and len(size) == 2:
            features, gradients = (token_grid(array, size, layer.name) for array in (features, gradients))
        if features.ndim != 2 + len(size):
            raise InputError(
                f"layer {layer.name!r} has positions {list(features.shape[2:])}, which do not fit the input's "
                f"{list(size)}; name another with layer=."
            )
        maps = self.combine(features, gradients)
        return found.with_attributions([self.enlarged(np.maximum(maps, 0) if self.relu else maps, size)])


@dataclass(frozen=True)
class GradCam(ClassActivation):
    """Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks"), equations 1 and 2:
    ReLU(sum_k alpha_k A^k) with alpha_k the mean of dS_c/dA^k over positions.
    """

    name = "grad_cam"

    def combine(self, features: Array, gradients: Array) -> Array:
        weights = gradients.mean(axis=_positions(gradients), keepdims=True)
        return np.asarray((weights * features).sum(axis=1))


@dataclass(frozen=True)
class GradCamPlusPlus(ClassActivation):
    """Grad-CAM++ (Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-Based Visual Explanations"):
    weights sum_ij alpha_ij ReLU(g_ij) with alpha = g^2 / (2 g^2 + g^3 sum_ab A_ab), the derivatives
    being those of exp(S_c). Its first one has the factor exp(S_c), which scales the whole map and is left out.

    Several instances of a class count alike, whatever their size. Captum does not have it.
    """

    name = "grad_cam_plus_plus"

    def combine(self, features: Array, gradients: Array) -> Array:
        positive = np.maximum(gradients, 0)
        alpha = 1 / (2 + positive * features.sum(axis=_positions(features), keepdims=True))
        weights = (alpha * positive).sum(axis=_positions(features), keepdims=True)
        return np.asarray((weights * features).sum(axis=1))


@dataclass(frozen=True)
class LayerCam(ClassActivation):
    """LayerCAM (Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization"):
    sum_k ReLU(g^k) A^k, position by position, so that early, fine layers give clean maps too.

    Captum does not have it.
    """

    name = "layer_cam"

    def combine(self, features: Array, gradients: Array) -> Array:
        return np.asarray((np.maximum(gradients, 0) * features).sum(axis=1))


@dataclass(frozen=True)
class HiResCam(ClassActivation):
    """HiResCAM (Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations"):
    sum_k g^k A^k, position by position: where a linear classifier follows the layer, the share of every position in the
    score. The paper does not cut it off at zero: that is ``relu=False``.

    Captum has it as ``LayerGradientXActivation``, whose channels are then to be summed.
    """

    name = "hires_cam"

    def combine(self, features: Array, gradients: Array) -> Array:
        return np.asarray((gradients * features).sum(axis=1))


@dataclass(frozen=True)
class XGradCam(ClassActivation):
    """XGrad-CAM (Fu et al. 2020, "Axiom-based Grad-CAM"): weights sum_ij g_ij A_ij / sum_ij A_ij, so that
    the map adds up to the shares of all positions in the score. A channel that adds up to zero has the weight zero.

    Captum does not have it.
    """

    name = "xgrad_cam"

    def combine(self, features: Array, gradients: Array) -> Array:
        share, total = (
            array.sum(axis=_positions(features), keepdims=True) for array in (gradients * features, features)
        )
        weights = np.divide(share, total, out=np.zeros_like(total), where=total != 0)
        return np.asarray((weights * features).sum(axis=1))


def _positions(array: Array) -> tuple[int, ...]:
    return tuple(range(2, array.ndim))
