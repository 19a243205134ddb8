"""The differentiated model that a page runs: it picks the predicted class, and says how photos become tensors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ..autodiff.explainable import DifferentiatedModel
from ..autodiff.graph.io import ModelSource, read_model, serialized
from ..autodiff.photo.inside import image_input
from ..autodiff.request import Request
from ..errors import InputError
from ..layout import LayoutLike, layout_beside
from ..model.classes import find_labels
from ..photos import PreprocessingLike, resolve_preprocessing
from ..photos.labels import LabelsLike
from ..photos.preprocessing import METADATA_KEY
from ..pipeline.detection import DISTINCT
from .class_pick import pick_in_floats

_LABELS = "onnxplain.labels"
#: Detections of a class that overlap by more are one; the scripts read it.
_OVERLAP, _LARGEST_OVERLAP = "onnxplain.overlap", 0.45


def page_model(
    model: ModelSource,
    *,
    preprocessing: PreprocessingLike | None = None,
    labels: LabelsLike | None = None,
    layout: LayoutLike | None = None,
) -> onnx.ModelProto:
    """Return ``model`` with gradients, for one photo at a time, its preprocessing and labels in the metadata.

    Args:
        model: as for :func:`~onnxplain.differentiate`, with one input of images.
        preprocessing, labels, layout: as for an :class:`~onnxplain.Explainer`.

    Raises:
        ModelError, UnsupportedOperatorError: as for :func:`~onnxplain.differentiate`.
        InputError: it has no input of images or several, or one that is not float32, or a fixed batch of more than one.
        PreprocessingError: the preprocessing is stated nowhere, or does not fit the model.
    """
    path = model if isinstance(model, (str, os.PathLike)) else None
    read = read_model(model)
    image = image_input(read.graph.inputs, None)
    shape, dtype = image.value.shape, image.value.dtype
    assert shape is not None and dtype is not None
    if dtype != ir.DataType.FLOAT:
        raise InputError(f"the input {image.value.name!r} is {dtype.name}, but a page has float32; export it so.")
    extents = [extent if isinstance(extent, int) else extent.value for extent in shape]
    if extents[0] not in (1, None) and isinstance(extents[0], int):
        raise InputError(f"the batch is fixed at {extents[0]}, but a page explains one photo; export it with batch 1.")
    found = resolve_preprocessing(
        preprocessing,
        metadata=read.metadata_props,
        model_path=path,
        input_shape=extents,
        input_dtype=np.dtype(dtype.numpy()).name,
        layout="NCHW" if image.channels == 1 else "NHWC",
    ).preprocessing
    sizes = dict(zip((0, *image.places), (1, *(found.output_size or ()))))
    static = {str(extents[axis]): size for axis, size in sizes.items() if isinstance(extents[axis], str)}
    request = Request.of(
        layout=layout, layout_beside=None if path is None else layout_beside(path), static=static or None
    )
    made = DifferentiatedModel.build(model, request)
    names = find_labels(
        labels,
        required=True,
        metadata=read.metadata_props,
        model_path=path,
        classes=made.signature.classes,
    )
    proto = made.proto if made.folder is None else _whole(made.proto, made.folder)
    graph_model = ir.serde.deserialize_model(proto)
    graph_model.metadata_props[METADATA_KEY] = found.to_json()
    if names is not None:
        graph_model.metadata_props[_LABELS] = json.dumps(list(names))
    places = made.signature.places
    if places is not None and not places.boxes:
        raise InputError(f"the output has scores at several places ({places.layout}), which a page does not show.")
    if places is not None:
        graph_model.metadata_props[_OVERLAP] = str(1 if places.layout in DISTINCT else _LARGEST_OVERLAP)
    pick_in_floats(graph_model)
    return serialized(graph_model)


def _whole(proto: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """A model with the weights that it keeps in files.

    Raises:
        InputError: they are more than a browser holds.
    """
    onnx.external_data_helper.load_external_data_for_model(proto, str(folder))
    if proto.ByteSize() > 1 << 31:
        raise InputError("the model has more than 2 GB of weights, which a browser does not load.")
    return proto
