"""``onnxplain visualize-class``: the picture that a class, or an inner neuron, likes best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from .common import Json, ModelOptions, Quiet, guarded, print_json, refuse_overwriting, say, target_of
from .signatures import Argument, Option

if TYPE_CHECKING:
    from ..visualization import ClassVisualization


@guarded
def visualize_class(
    model: Annotated[Path | None, Argument(help="An ONNX model; default: the bundled classifier.")] = None,
    target: Annotated[
        list[str] | None,
        Option("--target", "-t", help="Class indices or labels, such as pug,goldfish,963; repeatable."),
    ] = None,
    neuron: Annotated[
        list[str] | None,
        Option("--neuron", help="A channel of an inner tensor, as TENSOR:CHANNEL; repeatable."),
    ] = None,
    out: Annotated[Path, Option("-o", "--output", help="The folder for the pictures.", metavar="DIR")] = Path(),
    preset: Annotated[
        str, Option("--preset", help="natural, or paper for Simonyan et al. 2013: L2 and plain gradient ascent.")
    ] = "natural",
    steps: Annotated[int | None, Option("--steps", help="Steps of gradient ascent.")] = None,
    learning_rate: Annotated[float | None, Option("--learning-rate", help="The length of a step.")] = None,
    l2: Annotated[float | None, Option("--l2", help="Lambda of S - lambda |I|^2.")] = None,
    seed: Annotated[int, Option("--seed", help="Of everything that is random.")] = 0,
    size: Annotated[int | None, Option("--size", help="Height and width, for a model that leaves them open.")] = None,
    every: Annotated[
        int | None, Option("--every", help="Also write a GIF of the picture after every K steps.", metavar="K")
    ] = None,
    *,
    loading: ModelOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the picture that a class likes best, by gradient ascent on its score.

    Each is written as <label>_<class>.png; with --neuron, channels of inner tensors take the place of classes.
    \f
    Longer than 60 lines by its options, which stand in the signature.
    """
    from ..files import make_folder

    if not target and not neuron:
        raise click.BadParameter("name classes with --target, or channels of inner tensors with --neuron.")
    names = [target_of(name) for listed in target or [] for name in listed.split(",")]
    explainer = loading.explainer(model)
    make_folder(out)
    stated = {"steps": steps, "learning_rate": learning_rate, "l2": l2}
    options: dict[str, Any] = {name: value for name, value in stated.items() if value is not None}
    options |= {"preset": preset, "seed": seed, "size": size, "every": every, "progress": not quiet}
    pictures: list[ClassVisualization] = []
    if names:
        pictures += explainer.visualize_class(names, **options)
    if neuron:
        pictures += explainer.visualize_neuron(neuron, **options)
    written = [_save(picture, out, model) for picture in pictures]
    if as_json:
        results = [
            {**picture.to_dict(), "files": [str(path) for path in paths]} for picture, paths in zip(pictures, written)
        ]
        print_json({"model": None if model is None else str(model), "provider": explainer.provider, "results": results})
    elif not quiet:
        for picture, paths in zip(pictures, written):
            say(f"{picture.title} -> {', '.join(map(str, paths))}")


def _save(picture: ClassVisualization, folder: Path, model: Path | None) -> list[Path]:
    """Write the picture, and its animation if it has frames."""
    path = folder / f"{picture.stem}.png"
    animation = path.with_name(f"{picture.stem}.gif")
    for place in (path, animation):
        refuse_overwriting(place, [] if model is None else [model])
    return [picture.save(path), *(picture.save_animation(animation) if picture.frames else [])]
