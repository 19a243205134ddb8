"""What users hold: a model, ready to explain arrays and photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bundled import bundled_model
from ..errors import InputError, TargetError
from ..methods import Method, find_method
from ..model.attributor import Attributor
from ..model.classes import Target, find_labels
from ..model.inputs import check_inputs
from ..model.loading import ModelLoader
from ..model.ranking import ClassScore, probabilities
from ..native import Normalization
from ..photos import PreprocessingLike, ResolvedPreprocessing, resolve_preprocessing
from ..photos.labels import LabelsLike
from ..pipeline.attributions import arrays, only
from ..pipeline.photos import PhotoExplainer
from ..pipeline.stream import OnError, is_one, photo_sources, stream_photos
from ..progress import track
from ..results.explanation import Explanation
from ..runtime import Plan, Provider, open_cache
from ..signature import InputTensor
from ..visualization import draw_classes, draw_neurons

if TYPE_CHECKING:
    from ..autodiff.graph.io import ModelSource

__all__ = ["ClassScore", "Explainer", "Explanation"]

Array = NDArray[Any]
#: A method by its name, or with options chosen.
MethodLike = str | Method


class Explainer:
    """A model that explains itself: loaded once, used often, from several threads if need be."""

    def __init__(
        self,
        model: ModelSource | None = None,
        *,
        providers: str | Sequence[Provider] | None = None,
        preprocessing: PreprocessingLike | None = None,
        labels: LabelsLike | None = None,
        batch_size: int | None = None,
        tensor: str | None = None,
        score: str = "logit",
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
        """Differentiate ``model`` and load it into ONNX Runtime.

        Args:
            model: path, bytes or ``onnx.ModelProto``, differentiated or not; None is the bundled classifier
                (EfficientNet-Lite0, 1000 classes).
            providers: execution providers as in ONNX Runtime, names or (name, options) pairs in order of preference;
                None is CUDA if present, then CPU. :attr:`provider` says which one runs.
            preprocessing: how photos become the input tensor, for :meth:`explain`: a ``Preprocessing``, a preset's
                name, a dict of fields, or a JSON file; None takes what the model or a file beside it states.
            labels: the class names: a list, a dict, or a file; None takes what the model or a file beside it states.
            batch_size: samples that run at once; None is as many as pay and fit into memory.
            tensor, score, class_axis, precision: what is explained, and whether it is computed in half precision
                ("float16", for GPUs); see :func:`onnxplain.differentiate`.
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
                its ``SessionOptions``, and configuration entries, such as {"session.set_denormal_as_zero": "1"}.

        Raises:
            ModelError, UnsupportedOperatorError, InputError: the model cannot be differentiated.
            RuntimeMissingError, ProviderError: ONNX Runtime is missing or cannot run it.

        Warns:
            ProviderWarning: a requested provider was not given.
        """
        source = bundled_model() if model is None else model
        self._path = source if isinstance(source, (str, os.PathLike)) else None
        options = {"tensor": tensor, "wrt": wrt, "score": score, "class_axis": class_axis}
        loader = ModelLoader(
            source=source,
            options={**options, "gradients": gradients, "precision": precision},
            providers=providers,
            threads=threads,
            session_options=session_options or {},
            batching={"batch_size": batch_size, "memory_limit": memory_limit},
            cache=open_cache(cache),
        )
        self._model, session = loader.open("gradients" if gradients else "scores")
        stated = {"metadata": self._model.metadata, "model_path": self._path, "classes": self._model.classes}
        found = find_labels(labels, required=tensor is None, **stated)
        self._attributor = Attributor(self._model, session, found, loader=loader, channel_axis=channel_axis)
        self._stated_channel_axis = channel_axis
        self._stated_preprocessing = preprocessing
        self._threads = threads

    @property
    def provider(self) -> str:
        """The execution provider that runs the model, by its name in ONNX Runtime."""
        return self._attributor.session.session.provider

    @property
    def batch(self) -> int | None:
        """The batch that the model fixes, None if it takes any."""
        return self._model.batch

    @property
    def labels(self) -> list[str] | None:
        """The class names in class order; None where nobody states any."""
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

    def plan(self, x: Array | Mapping[str, Array]) -> Plan:
        """How samples like ``x`` are run: how many at once, and how much memory each of them takes.

        Raises:
            InputError: ``x`` does not fit the model; see :meth:`attribute`.
        """
        feeds, _ = check_inputs(self._model, x)
        return self._attributor.plan(feeds)

    def scores(self, x: Array | Mapping[str, Array]) -> NDArray[np.floating[Any]]:
        """The scores of all classes [N,K], before a final softmax, summed over positions if there are any.

        Raises:
            InputError: ``x`` does not fit the model; see :meth:`attribute`.
        """
        feeds, _ = check_inputs(self._model, x)
        return self._attributor.class_scores(feeds)

    def probabilities(self, x: Array | Mapping[str, Array]) -> NDArray[np.float64] | None:
        """The probabilities of all classes [N,K], float64; None where the model's scores have no such meaning.

        Raises:
            InputError: ``x`` does not fit the model; see :meth:`attribute`.
        """
        return probabilities(self.scores(x), self._model.probability)

    def attribute(
        self, x: Array | Mapping[str, Array], target: Target = None, method: MethodLike = "saliency", **options: Any
    ) -> Array | dict[str, Array]:
        """The raw attribution, nothing taken away: by default the gradient dS_c/dx of the class score.

        Args:
            x: the input tensor, preprocessed, with the batch axis; for a model with several inputs a dict of all.
            target: a class index or label, a sequence of N of these, None for the predicted class, "top3" for the
                three classes with the highest scores (any number).
            method: a name in :data:`onnxplain.methods.METHODS`, or a method made of one; ``options`` are those of
                the method.

        Returns:
            An array shaped like ``x``; without its channel axis for methods that have none (Grad-CAM, occlusion). For
            a model of integers the gradient of the first float tensor computed from them. With "top3" there is an
            axis of 3 classes, best first, after the batch: [N,3,...]. For a dict, a dict with that of every input.

        Raises:
            InputError: a wrong input name, rank, extent or type, NaN or infinity in ``x``.
            TargetError: ``target`` is out of range, of the wrong length, or an unknown label.
            GradientError: the gradient holds NaN or infinity; the message names the sample.
            ProviderError: ONNX Runtime failed.
        """
        return self._arrays(x, target, find_method(method, options), None)

    def saliency(
        self,
        x: Array | Mapping[str, Array],
        target: Target = None,
        normalize: Normalization = "max",
        percentile: float = 99.0,
        method: MethodLike = "saliency",
        **options: Any,
    ) -> Array | dict[str, Array]:
        """The saliency map: by default the maximum over channels of |dS_c/dx|, normalised for each sample.

        Args:
            x, target, method, options: as for :meth:`attribute`.
            normalize: "max", "minmax", "percentile" or "none"; see :func:`onnxplain.native.saliency`.
            percentile: for "percentile", 0..100.

        Returns:
            float32, the gradient's shape without the channel axis: [N,H,W] for images, [N,L] for signals, [N,F] for
            tables; with "top3" [N,3,H,W]; a dict for a dict.

        Raises:
            As for :meth:`attribute`.
        """
        reduction = {"normalize": normalize, "percentile": percentile, "threads": self._threads}
        return self._arrays(x, target, find_method(method, options), reduction)

    def explain(
        self,
        images: Any,
        target: Target = None,
        method: MethodLike = "saliency",
        *,
        progress: bool | None = None,
        **options: Any,
    ) -> Any:
        """Explain photos.

        Args:
            images: one photo (a path, the bytes of a file, an open file, a PIL image, or an array [H,W,3] uint8 or
                float 0..1), or several: a folder, an array [N,H,W,3], or any iterable of photos.
            target: as for :meth:`attribute`; a sequence has one class for each photo.
            method, options: as for :meth:`attribute`.
            progress: a bar on stderr when it takes long; None: in terminals only.

        Returns:
            An :class:`Explanation` for one photo, a list of them for several. With "top3" a list of three, best class
            first, in the place of each.

        Raises:
            ImageError: a photo cannot be read.
            PreprocessingError: the preprocessing is not stated, or does not fit the model.
            TargetError, GradientError, ProviderError: as for :meth:`attribute`.
        """
        one = is_one(images)
        found = list(self.stream(images, target, method, progress=progress, **options))
        return found[0] if one else found

    def explain_table(
        self,
        rows: Any,
        feature_names: Sequence[str] | None = None,
        target: Target = None,
        method: MethodLike = "occlusion",
        *,
        background: Any = None,
        **options: Any,
    ) -> Any:
        """Explain rows of features.

        Args:
            rows: one row [F], an array [N,F] or a data frame; a dict or data frame of all inputs for a model with more.
            feature_names: one for each feature; None takes the columns of a data frame, else numbers.
            target: as for :meth:`attribute`.
            method, options: as for :meth:`attribute`; "occlusion" hides one feature at a time.
            background: other rows [M,F]; their mean is the baseline of the method.

        Returns:
            A :class:`~onnxplain.TableExplanation` for one row, a list of them for several. With "top3" a list of
            three, best class first, in the place of each.

        Raises:
            InputError, TargetError, GradientError, ProviderError: as for :meth:`attribute`.
        """
        from ..results.features import explain_table, with_background

        return explain_table(
            self._attributor, rows, feature_names, target, with_background(method, options, background)
        )

    def explain_tokens(
        self, ids: Any, tokens: Any = None, target: Target = None, method: MethodLike = "occlusion", **options: Any
    ) -> Any:
        """Explain sequences of tokens.

        Args:
            ids: the token ids of one sequence [T], or of several [N,T]; a dict of all inputs for a model with more, of
                which ``Explainer(wrt=...)`` names the one that holds the tokens.
            tokens: their texts [T], or a list of these for several sequences, or what makes a text of an id (the
                method of a tokenizer); None shows the ids.
            target: as for :meth:`attribute`.
            method, options: as for :meth:`attribute`; "occlusion" puts ``baseline`` (0, or the id of a mask token) in
                the place of one token at a time.

        Returns:
            A :class:`~onnxplain.TokenExplanation` for one sequence, a list for several, as for
            :meth:`explain_table`.

        Raises:
            InputError, TargetError, GradientError, ProviderError: as for :meth:`attribute`.
        """
        from ..results.features import explain_tokens

        return explain_tokens(self._attributor, ids, tokens, target, find_method(method, options))

    def stream(
        self,
        images: Any,
        target: Target = None,
        method: MethodLike = "saliency",
        *,
        on_error: OnError | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Like :meth:`explain` for several photos, but each is handed out as soon as it is done.

        Photos are read, run and reduced side by side, a few ahead of the one handed out, and no more than these are
        in memory; closing the iterator ends that. With ``on_error`` a photo that cannot be read, or whose gradient
        is not finite, is skipped after calling it with the photo's name and the error.
        """
        chosen = find_method(method, options)
        sources = photo_sources(images)
        count = len(sources) if isinstance(sources, Sized) else None
        if count is None and np.ndim(target) > 0:  # type: ignore[arg-type]
            raise TargetError("a target for each photo needs photos whose number is known; pass them as a list.")
        classes = self._attributor.classes
        targets = classes.indices(target, 1 if count is None else count)
        return track(self._stream(sources, targets, classes.top(target), chosen, on_error), count, show=progress)

    def visualize_class(self, target: Target, *, preset: str = "natural", **options: Any) -> Any:
        """The image that a class likes best: argmax over I of S_c(I) - lambda ||I||_2^2, by gradient ascent.

        Args:
            target: a class index or label, or a sequence of these.
            preset: "natural" for pictures that people recognise, "paper" for Simonyan et al. 2013, section 2.
            options: ``seed``, ``size``, ``every`` and ``progress``, see :class:`~.visualization.Drawing`;
                ``steps``, ``learning_rate``, ``l2`` and others, see :class:`~.visualization.Settings`.

        Returns:
            A :class:`~onnxplain.ClassVisualization`, or a list of them for several classes.

        Raises:
            InputError: an option is unknown or makes no sense; the model does not take one image of floats.
            TargetError: a class is out of range or an unknown label.
            PreprocessingError, GradientError, ProviderError: as for :meth:`explain`.
        """
        return draw_classes(self._attributor, self.preprocessing.preprocessing, target, preset, options)

    def visualize_neuron(self, neuron: str | Sequence[str], *, preset: str = "natural", **options: Any) -> Any:
        """Like :meth:`visualize_class`, with the mean over positions of a channel of an inner tensor in place of S_c:
        ``neuron`` is "tensor:channel", or a sequence of these; the tensor is any of floats in the model.
        """
        return draw_neurons(self._attributor, self.preprocessing.preprocessing, neuron, preset, options)

    def _stream(
        self,
        sources: Iterable[Any],
        targets: NDArray[np.int64],
        top: int | None,
        method: Method,
        on_error: OnError | None,
    ) -> Iterator[Any]:
        axes, preprocessing = self._attributor.axes(method), self.preprocessing.preprocessing
        only(axes)
        explained = PhotoExplainer(self._attributor, preprocessing, method, targets, top)
        session = self._attributor.session
        yield from stream_photos(explained, sources, workers=session.workers, share=session.share, on_error=on_error)

    def _arrays(
        self, x: Array | Mapping[str, Array], target: Target, method: Method, reduction: Mapping[str, Any] | None
    ) -> Array | dict[str, Array]:
        feeds, _ = check_inputs(self._model, x)
        found = arrays(self._attributor, method, feeds, target, reduction)
        return found if isinstance(x, Mapping) else found[only(found)]
