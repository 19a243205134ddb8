"""A model that is loaded: how it runs, and what is known of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bundled import bundled_model
from ..errors import InputError
from ..layout import LayoutLike, find_layout, layout_beside
from ..model.attributor import Attributor
from ..model.classes import find_labels
from ..model.inputs import check_inputs
from ..model.runtimes import loader_for
from ..photos import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing
from ..photos.labels import LabelsLike
from ..results.record import Origin
from ..runtime import Plan, Provider, open_cache
from ..runtime.operators.report import Report
from ..signature import InputTensor
from .inputs import Arrays

if TYPE_CHECKING:
    from ..autodiff.graph.io import ModelSource


class LoadedModel:
    """What an :class:`~.explain.Explainer` knows of its model, and runs it for: scores and probabilities."""

    def __init__(
        self,
        model: ModelSource | None = None,
        *,
        runtime: str = "onnxruntime",
        providers: str | Sequence[Provider] | None = None,
        preprocessing: PreprocessingLike | None = None,
        labels: LabelsLike | None = None,
        batch_size: int | None = None,
        tensor: str | None = None,
        score: str = "logit",
        layout: LayoutLike | None = None,
        class_axis: int | None = None,
        channel_axis: int | None = None,
        wrt: str | None = None,
        gradients: bool = True,
        precision: str = "float32",
        threads: int = 0,
        memory_limit: int | None = None,
        cache: bool | str | os.PathLike[str] = True,
        session_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Differentiate ``model`` and load it into ONNX Runtime, or into OpenVINO.

        Args:
            model: path, bytes, ``onnx.ModelProto`` or ``onnx_ir.Model``, differentiated or not; None is the bundled
                classifier (EfficientNet-Lite0, 1000 classes).
            runtime: what runs the model: "onnxruntime", or "openvino" (on the CPU; see docs/openvino.md).
            providers: execution providers as in ONNX Runtime, names or (name, options) pairs in order of preference;
                None is CUDA if present, then CPU. :attr:`provider` says which one runs.
            preprocessing: how photos become the input tensor, for :meth:`explain`: a ``Preprocessing``, a preset's
                name, a dict of fields, or a JSON file; None takes what the model or a file beside it states.
            labels: the class names: a list, a dict, or a file; None takes what the model or a file beside it states.
            batch_size: samples that run at once; None takes a number that is fast and fits into memory.
            tensor, score, layout, class_axis, precision: what is explained, and whether it is computed in half
                precision ("float16", for GPUs); see :func:`onnxplain.differentiate`.
            channel_axis: the axis of the input that counts channels; None finds it.
            wrt: the input (or inner tensor) that gradients are taken of; None is every one that has gradients.
            gradients: False loads the model without, for methods that only run it forwards ("occlusion", "rise"); it
                need not have any then (trees). Classifiers of ai.onnx.ml are explained by their probabilities then,
                and ``wrt`` is one of the inputs.
            threads: threads on the CPU; 0 is all cores.
            memory_limit: bytes that may be taken by what runs at once; None is half of the memory that is available.
            cache: whether the prepared model is kept on disk for the next time: False, True (in the folder that the
                environment variable ``ONNXPLAIN_CACHE`` names, or else the platform's for caches), or a folder.
            session_options: settings of ONNX Runtime in the place of those that were measured to be best: attributes of
                its ``SessionOptions``, and configuration entries, such as {"session.set_denormal_as_zero": "1"}; of
                OpenVINO its properties, such as {"ENABLE_HYPER_THREADING": False}.

        Raises:
            ModelError, UnsupportedOperatorError, InputError: the model cannot be differentiated.
            InputError: there is no such runtime, or ``providers`` are named for OpenVINO.
            RuntimeMissingError, ProviderError: the runtime is missing or cannot run it.

        Warns:
            ProviderWarning: a requested provider was not given.
        """
        source = bundled_model() if model is None else model
        self._path = source if isinstance(source, (str, os.PathLike)) else None
        self._name = "in memory" if self._path is None else Path(self._path).name
        options = {"tensor": tensor, "wrt": wrt, "score": score, "class_axis": class_axis}
        layouts = {
            "layout": None if layout is None else find_layout(layout),
            "layout_beside": None if self._path is None else layout_beside(self._path),
        }
        loader = loader_for(runtime, providers)(
            source=source,
            options={**options, **layouts, "gradients": gradients, "precision": precision},
            providers=providers,
            threads=threads,
            session_options=session_options or {},
            batching={"batch_size": batch_size, "memory_limit": memory_limit},
            cache=open_cache(cache),
        )
        self._loader = loader
        self._model, session = loader.open("gradients" if gradients else "scores")
        stated = {"metadata": self._model.metadata, "model_path": self._path, "classes": self._model.classes}
        in_places = self._model.places is not None
        found = find_labels(labels, required=tensor is None, in_places=in_places, **stated)
        self._attributor = Attributor(self._model, session, found, loader=loader, channel_axis=channel_axis)
        self._stated_channel_axis = channel_axis
        self._stated_preprocessing = preprocessing
        self._threads = threads

    @property
    def provider(self) -> str:
        """The execution provider that runs the model, by its name in ONNX Runtime."""
        return self._attributor.provider

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the packages that make a map, by their names: onnxplain, its runtime, onnx and numpy.

        Example:
            >>> from onnxplain import Explainer
            >>> sorted(Explainer().versions)
            ['numpy', 'onnx', 'onnxplain', 'onnxruntime']
        """
        return self._loader.versions()

    @property
    def operators(self) -> Report:
        """Which operators of onnxplain's own ONNX Runtime runs for the gradient, and what was left without them."""
        return self._attributor.session.operators

    @property
    def batch(self) -> int | None:
        """The batch that the model fixes, None if it takes any."""
        return self._model.batch

    @property
    def has_places(self) -> bool:
        """Whether the output has scores at places: steps, pixels or detections, and not one for each class alone."""
        return self._model.places is not None

    @property
    def labels(self) -> list[str] | None:
        """The class names in class order; None where none are stated."""
        labels = self._attributor.classes.labels
        return None if labels is None else list(labels)

    @property
    def inputs(self) -> tuple[InputTensor, ...]:
        """The model's inputs: name, type, shape and channel axis."""
        return self._model.inputs

    @property
    def straight_through(self) -> bool:
        """Whether gradients pass the roundings of a quantised model as if they were the identity."""
        return self._model.straight_through

    @cached_property
    def preprocessing(self) -> ResolvedPreprocessing:
        """How photos become the input tensor, and where that is stated.

        Raises:
            PreprocessingError: it is stated nowhere, or does not fit the model.
            InputError: the model takes more than one image.
        """
        if len(self._model.inputs) != 1:
            names = ", ".join(repr(i.name) for i in self._model.inputs)
            raise InputError(f"photos fill one input, the model has {names}; pass a dict to attribute() or saliency().")
        tensor = self._model.inputs[0]
        axis = tensor.channel_axis if self._stated_channel_axis is None else self._stated_channel_axis
        return resolve_preprocessing(
            self._stated_preprocessing,
            metadata=self._model.metadata,
            model_path=self._path,
            input_shape=tensor.shape,
            input_dtype=tensor.dtype,
            layout="NHWC" if axis in (-1, len(tensor.shape) - 1) else "NCHW",
        )

    @cached_property
    def _origin(self) -> Origin:
        """How explanations of photos are made, for their records."""
        options = dict(self._loader.options)
        layout, _ = options.pop("layout"), options.pop("layout_beside")
        loading = {
            **options,
            "layout": None if layout is None else layout.to_dict(),
            "channel_axis": self._stated_channel_axis,
            "threads": self._threads,
        }
        return Origin(
            model=self._loader.facts(),
            loading=loading,
            preprocessing=self.preprocessing.preprocessing.to_dict(),
            form=self._loader.form if options["gradients"] else None,
            versions=self.versions,
        )

    def plan(self, x: Arrays) -> Plan:
        """Return how samples like ``x`` are run: how many at once, and how much memory each of them takes.

        Raises:
            InputError: ``x`` does not fit the model; see :meth:`attribute`.
        """
        feeds, _ = check_inputs(self._model, x)
        return self._attributor.plan(feeds)

    def scores(self, x: Arrays) -> NDArray[np.floating[Any]]:
        """Return the scores of all classes [N,K], before a final softmax.

        Raises:
            InputError: ``x`` does not fit the model, see :meth:`attribute`, or the output has scores at places and not
                one for each class.
        """
        feeds, _ = check_inputs(self._model, x)
        return self._attributor.class_scores(feeds)

    def probabilities(self, x: Arrays) -> NDArray[np.float64] | None:
        """Return the probabilities of all classes [N,K], float64; None where the model's scores have no such meaning.

        Raises:
            InputError: ``x`` does not fit the model; see :meth:`attribute`.
        """
        return self._attributor.probabilities(self.scores(x))

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self._facts().items()
        )
        return f"<table>{rows}</table>"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'; '.join(f'{name} {value}' for name, value in self._facts().items())}>"

    def _facts(self) -> dict[str, str]:
        inputs = (f"{one.name} {one.dtype} [{','.join(map(str, one.shape))}]" for one in self.inputs)
        return {
            "model": self._name,
            "provider": self.provider,
            "inputs": ", ".join(inputs),
            "classes": self._classes(),
        }

    def _classes(self) -> str:
        count, labels = self._attributor.classes.count, self.labels
        number = "an open number" if count is None else str(count)
        return number if labels is None else f"{number} ({', '.join(label.split(',')[0] for label in labels[:3])}, ...)"
