"""What users hold: a model that explains arrays, photos, rows of features, and sequences of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TargetError
from ..methods import Method, find_method
from ..model.inputs import check_inputs
from ..model.question import Asked, targets_of
from ..native import Normalization
from ..photos.load import ImageSource
from ..pipeline.attributions import arrays, only
from ..pipeline.photos import PhotoExplainer
from ..pipeline.stream import OnError, is_one, photo_sources, stream_photos
from ..progress import track
from ..results.comparison import Comparison
from ..results.explanation import Explanation
from ..results.explanations import Explanations
from ..target import TargetLike
from .comparing import Expected, compared
from .drawing import Drawing
from .inputs import (
    Array,
    Arrays,
    DataFrame,
    Each,
    Images,
    MethodLike,
    One,
    OneOrSeveral,
    Rows,
    TokenIds,
    Tokens,
)

if TYPE_CHECKING:
    from ..results.features import TableExplanation, TokenExplanation

#: What comes of one photo; the list with "top3" and the like.
Explained: TypeAlias = Explanation | Explanations[Explanation]


class Explainer(Drawing):
    """A model that explains itself: loaded once, used often, from several threads if need be."""

    @overload
    def attribute(
        self, x: Array, target: TargetLike = None, method: MethodLike = "saliency", **options: Any
    ) -> Array: ...
    @overload
    def attribute(
        self, x: Mapping[str, Array], target: TargetLike = None, method: MethodLike = "saliency", **options: Any
    ) -> dict[str, Array]: ...
    def attribute(
        self, x: Arrays, target: TargetLike = None, method: MethodLike = "saliency", **options: Any
    ) -> Array | dict[str, Array]:
        """Return the raw attribution, nothing taken away: by default the gradient dS_c/dx of the class score.

        Args:
            x: the input tensor, preprocessed, with the batch axis; for a model with several inputs a dict of all.
            target: a class index or label or a :class:`~onnxplain.Target`, a sequence of N of these, None for the
                predicted class, "top3" for the three classes with the highest scores (any number). Of a single sample
                there may be several targets.
            method: a name in :data:`onnxplain.methods.METHODS`, or a method made of one; ``options`` are those of
                the method.

        Returns:
            An array shaped like ``x``; without its channel axis for methods that have none (Grad-CAM, occlusion). For
            a model of integers the gradient of the first float tensor computed from them. With "top3" there is an
            axis of 3 classes, best first, after the batch: [N,3,...]; with k targets of a single sample [1,k,...]. For
            a dict, a dict with that of every input.

        Raises:
            InputError: a wrong input name, rank, extent or type, NaN or infinity in ``x``.
            TargetError: ``target`` is out of range, of the wrong length, or an unknown label.
            GradientError: the gradient holds NaN or infinity; the message names the sample.
            ProviderError: ONNX Runtime failed.
        """
        return self._arrays(x, target, find_method(method, options), None)

    @overload
    def saliency(
        self,
        x: Array,
        target: TargetLike = None,
        normalize: Normalization = "max",
        percentile: float = 99.0,
        method: MethodLike = "saliency",
        **options: Any,
    ) -> NDArray[np.float32]: ...
    @overload
    def saliency(
        self,
        x: Mapping[str, Array],
        target: TargetLike = None,
        normalize: Normalization = "max",
        percentile: float = 99.0,
        method: MethodLike = "saliency",
        **options: Any,
    ) -> dict[str, NDArray[np.float32]]: ...
    def saliency(
        self,
        x: Arrays,
        target: TargetLike = None,
        normalize: Normalization = "max",
        percentile: float = 99.0,
        method: MethodLike = "saliency",
        **options: Any,
    ) -> NDArray[np.float32] | dict[str, NDArray[np.float32]]:
        """Return the saliency map: by default the maximum over channels of |dS_c/dx|, normalised for each sample.

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

    @overload
    def explain(
        self,
        images: ImageSource,
        target: None = None,
        method: MethodLike = "saliency",
        *,
        expected: int | str,
        progress: bool | None = None,
        **options: Any,
    ) -> Comparison: ...
    @overload
    def explain(
        self,
        images: Images,
        target: None = None,
        method: MethodLike = "saliency",
        *,
        expected: Expected,
        progress: bool | None = None,
        **options: Any,
    ) -> list[Comparison]: ...
    @overload
    def explain(
        self,
        images: ImageSource,
        target: One | None = None,
        method: MethodLike = "saliency",
        *,
        progress: bool | None = None,
        **options: Any,
    ) -> Explanation: ...
    @overload
    def explain(
        self,
        images: Images,
        target: One | Each | None = None,
        method: MethodLike = "saliency",
        *,
        progress: bool | None = None,
        **options: Any,
    ) -> Explanations[Explanation]: ...
    @overload
    def explain(
        self,
        images: ImageSource | Images,
        target: TargetLike = None,
        method: MethodLike = "saliency",
        *,
        progress: bool | None = None,
        **options: Any,
    ) -> Explained | Explanations[Explained]: ...
    def explain(
        self,
        images: ImageSource | Images,
        target: TargetLike = None,
        method: MethodLike = "saliency",
        *,
        expected: Expected | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Explained | Explanations[Explained] | Comparison | list[Comparison]:
        """Explain photos.

        Args:
            images: one photo (a path, the bytes of a file, an open file, a PIL image, or an array [H,W,3] uint8 or
                float 0..1), or several: a folder, an array [N,H,W,3], or any iterable of photos.
            target: as for :meth:`attribute`; a sequence has one target for each photo, or several for a single one.
                Boxes, masks and points are in the photo's pixels.
            method, options: as for :meth:`attribute`.
            expected: in the place of ``target``, the class that ought to be predicted, of all photos or of each.
            progress: a bar on stderr when it takes long; None: in terminals only.

        Returns:
            An :class:`Explanation` for one photo, :class:`Explanations` (a list of them) for several, and for a
            sequence of targets of one photo. With "top3" a list of three, best class first, in the place of each. A
            type checker takes a path for that of a photo, and an array for one photo. With ``expected`` a
            :class:`~onnxplain.results.comparison.Comparison` of the predicted class with that one, or a list of them.

        Raises:
            ImageError: a photo cannot be read.
            PreprocessingError: the preprocessing is not stated, or does not fit the model.
            TargetError, GradientError, ProviderError: as for :meth:`attribute`.
        """
        if expected is not None:
            if target is not None:
                raise TargetError("expected= compares a class with the predicted one; leave out the target.")
            found_by = partial(self.explain, method=find_method(method, options), progress=False)
            comparisons = list(compared(found_by, track(photo_sources(images), None, show=progress), expected))
            return comparisons[0] if is_one(images) else comparisons
        found = Explanations(self.stream(images, target, method, progress=progress, **options))
        return found[0] if is_one(images) else found

    @overload
    def explain_table(
        self,
        rows: Mapping[str, ArrayLike] | DataFrame,
        feature_names: Sequence[str] | None = None,
        target: One | Each | None = None,
        method: MethodLike = "occlusion",
        *,
        background: ArrayLike | DataFrame | None = None,
        **options: Any,
    ) -> list[TableExplanation]: ...
    @overload
    def explain_table(
        self,
        rows: Rows,
        feature_names: Sequence[str] | None = None,
        target: TargetLike = None,
        method: MethodLike = "occlusion",
        *,
        background: ArrayLike | DataFrame | None = None,
        **options: Any,
    ) -> OneOrSeveral[TableExplanation]: ...
    def explain_table(
        self,
        rows: Rows,
        feature_names: Sequence[str] | None = None,
        target: TargetLike = None,
        method: MethodLike = "occlusion",
        *,
        background: ArrayLike | DataFrame | None = None,
        **options: Any,
    ) -> OneOrSeveral[TableExplanation]:
        """Explain rows of features.

        Args:
            rows: one row [F], an array [N,F] or a data frame; a dict or data frame of all inputs for a model with more.
            feature_names: one for each feature; None takes the columns of a data frame, else numbers.
            target, method, options: as for :meth:`attribute`; "occlusion" hides one feature at a time.
            background: other rows [M,F]; their mean is the baseline of the method.

        Returns:
            A :class:`~onnxplain.TableExplanation` for one row, a list of them for several. With "top3" a list of
            three, best class first, in the place of each.

        Raises:
            InputError, TargetError, GradientError, ProviderError: as for :meth:`attribute`.
        """
        from ..pipeline.rows import explain_table, with_background  # photos need no rows

        chosen = with_background(method, options, background)
        return explain_table(self._attributor, rows, feature_names, target, chosen)

    @overload
    def explain_tokens(
        self,
        ids: Mapping[str, ArrayLike],
        tokens: Tokens | None = None,
        target: One | Each | None = None,
        method: MethodLike = "occlusion",
        **options: Any,
    ) -> list[TokenExplanation]: ...
    @overload
    def explain_tokens(
        self,
        ids: TokenIds,
        tokens: Tokens | None = None,
        target: TargetLike = None,
        method: MethodLike = "occlusion",
        **options: Any,
    ) -> OneOrSeveral[TokenExplanation]: ...
    def explain_tokens(
        self,
        ids: TokenIds,
        tokens: Tokens | None = None,
        target: TargetLike = None,
        method: MethodLike = "occlusion",
        **options: Any,
    ) -> OneOrSeveral[TokenExplanation]:
        """Explain sequences of tokens.

        Args:
            ids: the token ids of one sequence [T], or of several [N,T]; a dict of all inputs for a model with more, of
                which ``Explainer(wrt=...)`` names the one that holds the tokens.
            tokens: their texts [T], or a list of these for several sequences, or what makes a text of an id (the
                method of a tokenizer); None shows the ids.
            target, method, options: as for :meth:`attribute`; "occlusion" puts ``baseline`` (0, or the id of a mask
                token) in the place of one token at a time.

        Returns:
            A :class:`~onnxplain.TokenExplanation` for one sequence, a list for several, as for
            :meth:`explain_table`.

        Raises:
            InputError, TargetError, GradientError, ProviderError: as for :meth:`attribute`.
        """
        from ..pipeline.rows import explain_tokens

        chosen = find_method(method, options)
        return explain_tokens(self._attributor, ids, tokens, target, chosen)

    @overload
    def stream(
        self,
        images: ImageSource | Images,
        target: One | Each | None = None,
        method: MethodLike = "saliency",
        *,
        on_error: OnError | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Iterator[Explanation]: ...
    @overload
    def stream(
        self,
        images: ImageSource | Images,
        target: TargetLike = None,
        method: MethodLike = "saliency",
        *,
        on_error: OnError | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Iterator[Explained]: ...
    def stream(
        self,
        images: ImageSource | Images,
        target: TargetLike = None,
        method: MethodLike = "saliency",
        *,
        on_error: OnError | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Iterator[Explained]:
        """Explain several photos as :meth:`explain` does, and hand out each as soon as it is done.

        Photos are read, run and reduced side by side, a few ahead of the one handed out, and no more than these are
        in memory; closing the iterator ends that. With ``on_error`` a photo that cannot be read, or whose gradient
        is not finite, is skipped after calling it with the photo's name and the error.
        """
        chosen = find_method(method, options)
        sources = photo_sources(images)
        count = len(sources) if isinstance(sources, Sized) else None
        if count is None and np.ndim(target) > 0:  # type: ignore[arg-type]
            raise TargetError("a target for each photo needs photos whose number is known; pass them as a list.")
        places = self._attributor.signature.places
        asked = targets_of(target, 1 if count is None else count, places, alone=is_one(images))
        for one in asked.targets:
            if one.output is None and one.column is None:
                self._attributor.classes.index(one.of)
        return track(self._stream(sources, asked, chosen, on_error), count, show=progress)

    def _stream(self, sources: Iterable[Any], asked: Asked, method: Method, on_error: OnError | None) -> Iterator[Any]:
        axes, preprocessing = method.axes(self._attributor), self.preprocessing.preprocessing
        only(axes)
        explained = PhotoExplainer(self._attributor, preprocessing, method, asked, self._origin)
        session = self._attributor.session
        yield from stream_photos(explained, sources, workers=session.workers, share=session.share, on_error=on_error)

    def _arrays(
        self, x: Arrays, target: TargetLike, method: Method, reduction: Mapping[str, Any] | None
    ) -> Array | dict[str, Array]:
        feeds, _ = check_inputs(self._model, x)
        found = arrays(self._attributor, method, feeds, target, reduction)
        return found if isinstance(x, Mapping) else found[only(found)]
