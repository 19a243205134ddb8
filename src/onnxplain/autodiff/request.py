"""What is asked of a differentiation, in one object: the public functions have keywords, everything inside passes this
on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from ..errors import InputError
from ..layout import Layout, LayoutLike, find_layout
from ..target import CLASS, Kind, Target
from .forms.order import PASSES
from .graph.passes import Report
from .photo.recipe import Recipe
from .reverse.overrides import Overrides
from .reverse.rule_sets import rule_set


class Options(TypedDict, total=False):
    """The keywords of :func:`~.differentiate.differentiate` besides the model and the target."""

    tensor: str | None
    wrt: str | Sequence[str] | None
    score: str
    form: str
    layout: LayoutLike | None
    class_axis: int | None
    saliency: bool
    channel_axis: int | None
    straight_through: bool
    rules: Overrides | str | None
    precision: str
    static: Mapping[str, int] | None
    with_preprocessing: Recipe | None
    report: Report | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of :func:`~.differentiate.differentiate`, checked, and those that only this package uses.

    - ``target``: a kind, or "cotangent".
    - ``layout_beside``: stated by a file beside the model, which its metadata and ``layout`` overrule.
    - ``values``: inner tensors whose values become outputs, called ``value_<name>``; ``cut`` those that become inputs
      of the same name, so that the model begins there.
    - ``gradients``: False adds the score alone, of models that need not have any gradient; ``wrt`` then means nothing.
    - ``written_out``: with fused attention in operators of its own, so that its probabilities are tensors.
    - ``predict``: the graph itself picks the predicted class where ``target`` is negative, takes a region where the
      output has places, and returns the scores of all classes.
    - ``magnitudes``: the maximum over channels of every absolute gradient is an output, too.
    """

    target: Kind | Literal["cotangent"] = CLASS
    tensor: str | None = None
    wrt: tuple[str, ...] | None = None
    score: str = "logit"
    form: str = "portable"
    layout: Layout | None = None
    layout_beside: Layout | None = None
    class_axis: int | None = None
    saliency: bool = False
    channel_axis: int | None = None
    straight_through: bool = True
    rules: Overrides | None = None
    precision: str = "float32"
    static: Mapping[str, int] = field(default_factory=dict)
    with_preprocessing: Recipe | None = None
    values: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    gradients: bool = True
    written_out: bool = False
    predict: bool = False
    magnitudes: bool = False

    @classmethod
    def of(cls, target: Target | Kind | str | None = None, **options: Any) -> Request:
        """Return the request that a user's arguments make.

        Raises:
            InputError: an argument is none of those that there are.
        """
        if isinstance(target, Target):
            options["tensor"] = options.get("tensor") if target.output is None else target.output
            target = target.kind
        if not (target is None or isinstance(target, Kind) or target == "cotangent"):
            raise InputError(f"target must be None, a Target or 'cotangent'; found {target!r}.")
        kind: Kind | Literal["cotangent"] = CLASS if target is None else "cotangent"
        if isinstance(target, Kind):
            kind = target
        wrt = options.pop("wrt", None)
        layout = options.pop("layout", None)
        rules = rule_set(options.pop("rules", None))
        static = _checked_extents(options.pop("static", None))
        made = cls(
            target=kind,
            wrt=None if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt),
            layout=None if layout is None else find_layout(layout),
            rules=rules,
            static=static,
            **options,
        )
        made._check()
        made._check_recipe()
        return made

    @property
    def half(self) -> bool:
        """Whether gradients are computed in half precision."""
        return self.precision == "float16"

    @property
    def is_plain(self) -> bool:
        """Whether nothing is chosen that a model which is differentiated already could not have."""
        usual = Request(form=self.form, gradients=self.gradients, predict=self.predict, magnitudes=self.magnitudes)
        return all(
            getattr(self, f.name) == getattr(usual, f.name)
            for f in fields(self)
            if f.name not in ("layout", "layout_beside")
        )

    def layout_of(self, metadata: Mapping[str, str]) -> Layout:
        """Return the layout that is stated, here or in a model's metadata."""
        found = find_layout(self.layout, metadata)
        return found if found != Layout() or self.layout_beside is None else self.layout_beside

    def _check(self) -> None:
        if self.wrt == ():
            raise InputError("wrt is empty; name at least one input or inner tensor, or leave it out.")
        for name, known in (
            ("score", ("logit", "probability")),
            ("precision", ("float32", "float16")),
            ("form", tuple(PASSES)),
        ):
            if getattr(self, name) not in known:
                listed = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}"
                raise InputError(f"{name} must be {listed}; found {getattr(self, name)!r}.")

    def _check_recipe(self) -> None:
        recipe = self.with_preprocessing
        if recipe is not None and not all(hasattr(recipe, name) for name in ("resize", "filter", "pad_color")):
            raise InputError(
                f"with_preprocessing is {recipe!r}; it is an onnxplain.Preprocessing, such as "
                "onnxplain.find_preprocessing(model, 'imagenet') returns."
            )


def _checked_extents(static: object) -> Mapping[str, int]:
    """The extents of dimensions by their names.

    Raises:
        InputError: they are anything else than whole numbers above 0.
    """
    if static is None:
        return {}
    if not isinstance(static, Mapping) or not static:
        raise InputError(f"static is {static!r}; it is the extents of open dimensions by their names, {{'N': 1}}.")
    for name, extent in static.items():
        if not isinstance(name, str) or isinstance(extent, bool) or not isinstance(extent, int) or extent < 1:
            raise InputError(f"static: the dimension {name!r} is {extent!r}; extents are whole numbers above 0.")
    return dict(static)
