"""Find the preprocessing of a model that is going to have it inside."""

from __future__ import annotations

import os

import numpy as np

from .autodiff.graph.io import ModelSource, read_model
from .autodiff.photo.inside import image_input
from .photos import Preprocessing, PreprocessingLike, resolve_preprocessing


def find_preprocessing(
    model: ModelSource, stated: PreprocessingLike | None = None, *, channel_axis: int | None = None
) -> Preprocessing:
    """Return how photos become the input of a model, fitted to its size, channels and type.

    It is what :class:`~onnxplain.Explainer` takes, for ``differentiate(..., with_preprocessing=...)``.

    Args:
        model: as for :func:`~onnxplain.differentiate`, with one input of images.
        stated: a ``Preprocessing``, a preset's name (imagenet, tf, caffe, clip, none), a dict of fields, or a JSON
            file; None takes what the model's metadata or a file beside it state.
        channel_axis: the axis of the input that counts channels; None finds it.

    Raises:
        ModelError: the model cannot be read.
        InputError: it has no input of images, or several.
        PreprocessingError: nothing is stated, or what is stated does not fit the model.
    """
    graph_model = read_model(model)
    image = image_input(graph_model.graph.inputs, channel_axis)
    value = image.value
    assert value.shape is not None and value.dtype is not None
    return resolve_preprocessing(
        stated,
        metadata=graph_model.metadata_props,
        model_path=model if isinstance(model, (str, os.PathLike)) else None,
        input_shape=[extent if isinstance(extent, int) else extent.value for extent in value.shape],
        input_dtype=np.dtype(value.dtype.numpy()).name,
        layout="NCHW" if image.channels == 1 else "NHWC",
    ).preprocessing
