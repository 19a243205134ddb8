"""A model that takes photos: its image input becomes an inner tensor, computed from uint8 pixels of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ...errors import InputError, PreprocessingError
from ..graph.channels import channel_axis
from ..graph.editing import move_input_inside, reread
from ..graph.emitter import Emitter
from .pixels import tensor_of
from .placement import Side, place
from .recipe import Recipe, Size, output_size, pair
from .resampling import FILTERS, to_photo

#: The name of the input, and those of its open dimensions.
NAME, EXTENTS = "photo", ("photo_height", "photo_width")
#: Makes an input of the graph, of this name if that is free.
NewInput = Callable[[str, ir.DataType, ir.Shape], ir.Value]
_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.UINT8)


@dataclass(frozen=True)
class Photo:
    """What took the place of the image input ``before``: ``input`` [N,H,W,3], and the ``tensor`` that the model reads.

    ``channels`` is the axis of the tensor that counts those, ``nodes`` are what it is computed by, ``rows`` and
    ``columns`` say how those of the photo became those of the tensor.
    """

    input: ir.Value
    before: ir.Value
    tensor: ir.Value
    channels: int
    nodes: tuple[ir.Node, ...]
    rows: Side
    columns: Side

    def map_to_photo(self, emit: Emitter, values: ir.Value) -> ir.Value:
        """Return maps [N,h,w] over the model's input as maps [N,H,W] over the photos."""
        across = emit.Transpose(to_photo(emit, self.columns), perm=[1, 0])
        found = emit.MatMul(emit.MatMul(to_photo(emit, self.rows), values), across)
        assert self.input.shape is not None
        found.shape = ir.Shape(list(self.input.shape)[:3])
        return found

    def stands_for(self, value: ir.Value) -> bool:
        """Return whether ``value`` is the model's input, or floats that are computed of it one by one."""
        return value is self.tensor or (value.shape is not None and value.shape == self.tensor.shape)


@dataclass(frozen=True)
class ImageInput:
    """The image input of a model, and its axis of channels."""

    value: ir.Value
    channels: int

    @property
    def places(self) -> tuple[int, int]:
        """The axes of rows and columns."""
        return (2, 3) if self.channels == 1 else (1, 2)


def image_input(inputs: Sequence[ir.Value], axis: int | None) -> ImageInput:
    """Return the only one of ``inputs`` of rank 4; ``axis`` is that of its channels, None to find it.

    Raises:
        InputError: there is none, or several.
    """
    found = [value for value in inputs if value.shape is not None and len(value.shape) == 4]
    found = [value for value in found if value.dtype in _TYPES and value.const_value is None]
    if len(found) != 1:
        listed = ", ".join(repr(value.name) for value in found) or "none"
        raise InputError(f"with_preprocessing needs one input of images [N,C,H,W] or [N,H,W,C]; found {listed}.")
    axis = channel_axis(found[0]) if axis is None else axis % 4
    if axis not in (1, 3):
        raise InputError(f"with_preprocessing: channel_axis={axis} of {found[0].name!r} is neither 1 nor 3.")
    return ImageInput(found[0], axis)


def fit(graph: ir.Graph, recipe: Recipe, axis: int | None, static: Mapping[str, int]) -> dict[str, int]:
    """Return the extents that a recipe gives to named dimensions of the image input, and fix its nameless ones.

    Raises:
        InputError: the model has no image input, or several, or ``static`` fixes it at another size.
        PreprocessingError: the recipe makes another size, or other channels, than the model takes, or has a filter that
            is none of Pillow's.
    """
    image = image_input(graph.inputs, axis)
    if recipe.filter not in FILTERS:
        raise PreprocessingError(f"filter is {recipe.filter!r}; it is one of {', '.join(FILTERS)}.")
    value, made = image.value, output_size(recipe)
    assert value.shape is not None
    wanted = {image.channels: 1 if recipe.channels == "L" else 3}
    if made is not None:
        wanted |= dict(zip(image.places, made))
    elif recipe.resize != "none" and any(isinstance(value.shape[a], int) for a in image.places):
        raise PreprocessingError(
            f"the preprocessing makes tensors whose size depends on the photo, but {value.name!r} is fixed at "
            f"{list(value.shape)}; add a crop, or resize exactly."
        )
    named, shape = dict[str, int](), list(value.shape)
    for axis, extent in wanted.items():
        found = shape[axis]
        if isinstance(found, int) and found > 0:
            if found != extent:
                what = "channels" if axis == image.channels else "rows" if axis == image.places[0] else "columns"
                raise PreprocessingError(
                    f"the preprocessing makes {extent} {what}, but {value.name!r} takes {found}; state one that fits."
                )
        elif isinstance(found, int) or found.value in (None, "", "?"):
            shape[axis] = extent
        else:
            named[str(found.value)] = extent
    for name, extent in named.items():
        if static.get(name, extent) != extent:
            raise InputError(f"static: {name} is {static[name]}, but the preprocessing makes {extent}; leave it out.")
    value.shape = ir.Shape(shape)
    if value.dtype == ir.DataType.UINT8 and (recipe.scale != 1 or any(recipe.mean) or set(recipe.std) != {1.0}):
        raise PreprocessingError(
            f"{value.name!r} takes plain uint8 pixels, but the preprocessing scales them; use scale 1, mean 0, std 1."
        )
    return named


def take_photos(
    emit: Emitter,
    new_input: NewInput,
    recipe: Recipe,
    image: ImageInput,
    static: Mapping[str, int],
    boxes: Sequence[ir.Value],
) -> Photo:
    """Put a recipe in front of the image input, and let photos take its place; returns what came of it.

    ``static`` may have the extents of the photos. The inputs ``boxes`` are in the photo's pixels from now on.
    """
    graph, before = emit.graph, image.value
    assert before.shape is not None and before.dtype is not None
    rows, columns = _extents(recipe, (before.shape[image.places[0]], before.shape[image.places[1]]), static)
    count = len(graph)
    shape = ir.Shape([before.shape[0], rows, columns, 3])
    photo = new_input(NAME, ir.DataType.UINT8, shape)
    with emit.scope(photo.name or NAME):
        sides = place(emit, photo, recipe)
        made = tensor_of(emit, photo, *sides, recipe, before.dtype)
        if image.channels == 3:
            made = emit.Transpose(made, perm=[0, 2, 3, 1])
        for box in boxes:
            readers = [use.node for use in box.uses()]
            reread(readers, {box: _box_to_model(emit, box, *sides)})
    nodes = tuple(list(graph)[count:])
    move_input_inside(emit, before, made, photo)
    return Photo(photo, before, made, image.channels, nodes, *sides)


def _box_to_model(emit: Emitter, box: ir.Value, rows: Side, columns: Side) -> ir.Value:
    """Boxes [N,4] (x0, y0, x1, y1) in the photo's pixels in those of the model's input."""
    sides = (columns, rows, columns, rows)
    photo, resized, offset = (
        emit.Cast(emit.Concat(*(getattr(side, name) for side in sides), axis=0), to=ir.DataType.FLOAT)
        for name in ("photo", "resized", "offset")
    )
    return emit.Sub(emit.Div(emit.Mul(box, resized), photo), offset)


def _extents(
    recipe: Recipe, tensor: tuple[int | ir.SymbolicDim, int | ir.SymbolicDim], static: Mapping[str, int]
) -> tuple[int | ir.SymbolicDim, int | ir.SymbolicDim]:
    """The extents of the photos: as stated, or as a recipe that resizes nothing asks."""
    asked: Size | tuple[int | ir.SymbolicDim, int | ir.SymbolicDim] | None = None
    if recipe.resize == "none" and recipe.size is not None:
        asked = pair(recipe.size)
    elif recipe.resize == "none" and recipe.crop is None:
        asked = tensor
    found: list[int | ir.SymbolicDim] = []
    for index, name in enumerate(EXTENTS):
        extent = ir.SymbolicDim(name) if asked is None or not isinstance(asked[index], int) else asked[index]
        if name in static:
            if isinstance(extent, int) and extent != static[name]:
                raise InputError(f"static: {name} is {static[name]}, but the preprocessing takes {extent}.")
            extent = static[name]
        found.append(extent)
    return found[0], found[1]
