"""Class model visualisation: adjoints, the optimum that can be written down, models of every shape, files, commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import onnxplain
from onnxplain import Explainer, InputError, OutputError, PreprocessingError, TargetError
from onnxplain.photos import Preprocessing
from onnxplain.visualization import PRESETS
from onnxplain.visualization.ascent import ascend
from onnxplain.visualization.images import FourierImages
from onnxplain.visualization.objective import Objective
from onnxplain.visualization.optimizers import Adam
from onnxplain.visualization.penalties import total_variation_gradient
from onnxplain.visualization.settings import find_settings
from onnxplain.visualization.views import RandomViews, View

from support import small_models as small
from support.command_line import Runner

#: x = p / 127.5 - 1: images are counted in values of the tensor.
CENTRED = Preprocessing(scale=1 / 127.5, mean=(1.0,))
SHAPE = (small.CHANNELS, small.SIDE, small.SIDE)
WEIGHT = np.random.default_rng(4).standard_normal((small.CLASSES, *SHAPE)).astype(np.float32)


def linear(batch: int | str = "N", opset: int = 18, channels_last: bool = False) -> onnx.ModelProto:
    """x [N,3,4,4] (or [N,4,4,3]) -> a convolution over all of it to 5 classes: S_c(x) = sum of WEIGHT[c] * x."""
    nodes = [helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2])] if channels_last else []
    nodes += [
        helper.make_node("Conv", ["nchw" if channels_last else "x", "W"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    side = small.SIDE
    shape = [batch, side, side, small.CHANNELS] if channels_last else [batch, small.CHANNELS, side, side]
    outputs = [("probabilities", TensorProto.FLOAT, [batch, small.CLASSES])]
    return small.build(nodes, [("x", TensorProto.FLOAT, shape)], outputs, {"W": WEIGHT}, domains={"": opset})


def features() -> onnx.ModelProto:
    """x [N,3,H,W] -> features [N,4,H-2,W-2] of a 3x3 convolution -> their averages."""
    weight = np.random.default_rng(5).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["features:0"]),
        helper.make_node("GlobalAveragePool", ["features:0"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"], axis=1),
    ]
    shape = ["N", 3, "H", "W"]
    return small.build(
        nodes, [("x", TensorProto.FLOAT, shape)], [("logits", TensorProto.FLOAT, ["N", 4])], {"W": weight}
    )


def explainer(model: onnx.ModelProto, preprocessing: Preprocessing = CENTRED, **options: Any) -> Explainer:
    return Explainer(model, preprocessing=preprocessing, threads=1, **options)


# Adjoints: <A u, v> = <u, A^T v>.


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """The real inner product, also of complex arrays taken as pairs of real ones."""
    return float(np.sum(a.real * b.real) + np.sum(a.imag * b.imag))


@pytest.mark.parametrize(
    "view", [{"shift": (1.3, -2.6)}, {"scale": 1.4}, {"angle": 25.0}, {"shift": (2, 1), "angle": -8.0, "scale": 0.7}]
)
def test_transpose_of_a_view(view: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 9, 12)).astype(np.float32)
    found = View.of(9, 12, **view)
    assert inner(found.apply(a), b) == pytest.approx(inner(a, found.transpose(b)), rel=1e-5)


def test_views_move_enlarge_and_turn() -> None:
    image = np.random.default_rng(0).standard_normal((2, 7, 7)).astype(np.float32)
    np.testing.assert_array_equal(View.of(7, 7).apply(image), image)
    moved = View.of(7, 7, shift=(2, -1)).apply(image)
    np.testing.assert_array_equal(moved[:, :5, 1:], image[:, 2:, :6])
    assert not moved[:, 5:].any() and not moved[:, :, 0].any()
    np.testing.assert_allclose(View.of(7, 7, angle=90).apply(image), np.rot90(image, -1, axes=(1, 2)), atol=1e-5)
    ramp = np.arange(7.0)[None, :, None] * np.ones((1, 1, 7))
    np.testing.assert_allclose(np.diff(View.of(7, 7, scale=2).apply(ramp)[0, :, 3]), 0.5, atol=1e-6)


def test_random_views_stay_within_their_settings() -> None:
    views = RandomViews(jitter=0.25, scaling=0.0, rotation=0.0)
    generator = np.random.default_rng(0)
    ramp = np.arange(40.0)[None, None] * np.ones((1, 40, 1))
    shifts = [float(np.median(views.draw(generator, 40, 40).apply(ramp)[0] - ramp[0])) for _ in range(200)]
    assert max(np.abs(shifts)) <= 10 and max(np.abs(shifts)) > 9
    assert RandomViews(0.0, 0.0, 0.0).none and not views.none


def fourier(side: tuple[int, int], channels: int = 3, **changes: Any) -> FourierImages:
    low, high = -np.linspace(1, 2, channels).reshape(-1, 1, 1), np.linspace(2, 1, channels).reshape(-1, 1, 1)
    settings: dict[str, Any] = {"reverse": False, "decay": 1.3, "noise": 0.8, **changes}
    return FourierImages((channels, *side), low, high, **settings)


@pytest.mark.parametrize("side", [(6, 8), (7, 9), (8, 5)])
@pytest.mark.parametrize("changes", [{}, {"reverse": True}, {"channels": 1}])
def test_gradient_of_the_fourier_parametrisation(side: tuple[int, int], changes: dict[str, Any]) -> None:
    form, rng = fourier(side, **changes), np.random.default_rng(1)
    z = form.first([rng, rng])
    direction = rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape)
    images = form.images(z)
    cotangent, step = rng.standard_normal(images.shape), 1e-5
    expected = inner((form.images(z + step * direction) - form.images(z - step * direction)) / (2 * step), cotangent)
    assert inner(direction, form.gradient(images, cotangent)) == pytest.approx(expected, rel=1e-6)


def test_fourier_images_are_bounded_and_have_the_stated_noise() -> None:
    wide = fourier((16, 16), noise=50.0)
    images = wide.images(wide.first([np.random.default_rng(0)]))
    assert (images >= wide.low).all() and (images <= wide.high).all() and images.std() > 0.5
    grey = fourier((64, 64), channels=1, noise=0.01)
    share = (grey.images(grey.first([np.random.default_rng(n) for n in range(20)])) - grey.low) / (grey.high - grey.low)
    assert np.std(4 * (share - 0.5)) == pytest.approx(0.01, rel=0.15)


def test_gradient_of_the_total_variation() -> None:
    rng, step = np.random.default_rng(2), 1e-6

    def value(images: np.ndarray) -> float:
        squares = np.full((*images.shape[2:],), 1e-4)
        squares[:-1] += (np.diff(images[0], axis=1) ** 2).sum(axis=0)
        squares[:, :-1] += (np.diff(images[0], axis=2) ** 2).sum(axis=0)
        return float(np.sqrt(squares).sum())

    images, direction = rng.standard_normal((2, 1, 3, 6, 5))
    expected = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert inner(total_variation_gradient(images), direction) == pytest.approx(expected, rel=1e-6)


def test_adam_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(3).standard_normal((20, 4))
    parameter = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    theirs, ours, optimizer = torch.optim.Adam([parameter], lr=0.1, maximize=True), np.zeros(4), Adam(0.1)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        theirs.step()
        ours = ours + optimizer.step(gradient)
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-12)


# The optimum of a linear model, and the way there.


@pytest.mark.parametrize(("preprocessing", "unit"), [(CENTRED, 1.0), (Preprocessing(scale=1.0), 127.5)])
def test_paper_preset_on_a_linear_model_converges_to_the_weights_over_two_lambda(
    preprocessing: Preprocessing, unit: float
) -> None:
    model = explainer(linear())
    objective = Objective(model._attributor, preprocessing)
    settings = find_settings("paper", {"l2": 0.5, "learning_rate": 0.5 * unit, "steps": 100})
    targets = np.array([1, 3])
    *_, last = ascend(objective, targets, SHAPE, settings, [np.random.default_rng(0)] * 2)
    # x = unit * I, so that S has the weights unit * W in I.
    np.testing.assert_allclose(last.images, unit * WEIGHT[targets] / (2 * 0.5), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::onnxplain.visualization.ConvergenceWarning")
def test_first_step_of_the_paper_preset_is_the_gradient_at_zero() -> None:
    model = explainer(linear())
    found = model.visualize_class(2, preset="paper", steps=1, learning_rate=0.1, l2=0.1)
    direction = WEIGHT[2] / np.sqrt(np.mean(WEIGHT[2] ** 2))
    expected = np.rint(np.clip(127.5 * (1 + 0.1 * direction), 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(found.image, np.moveaxis(expected, 0, -1))
    np.testing.assert_allclose(found.scores, [0.0], atol=1e-7)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_score_rises_and_the_class_comes_first(preset: str) -> None:
    found = explainer(linear()).visualize_class([0, 4], preset=preset, steps=60)
    for picture in found:
        assert picture.scores.shape == (60,)
        assert picture.scores[-10:].mean() > picture.scores[:10].mean() + 1
        assert picture.top[0].index == picture.target
        assert picture.probability is not None and picture.probability > 0.5
        assert picture.image.dtype == np.uint8 and picture.image.shape == (4, 4, 3)


def test_score_and_probability_are_those_of_the_picture_as_a_photo() -> None:
    model = explainer(linear())
    picture = model.visualize_class(1, steps=5)
    tensor, _ = CENTRED.apply(picture.image)
    scores = model.scores(tensor[None])[0].astype(float)
    assert picture.score == pytest.approx(scores[1], rel=1e-6)
    assert picture.probability == pytest.approx(np.exp(scores[1]) / np.exp(scores).sum(), rel=1e-6)


# Seeds, batches, layouts.


def test_a_seed_makes_the_same_picture_whatever_is_made_with_it() -> None:
    model = explainer(linear(), batch_size=2)
    together = model.visualize_class([3, 1, 4], steps=8, seed=5, views=2)
    alone = model.visualize_class(1, steps=8, seed=5, views=2)
    np.testing.assert_array_equal(together[1].image, alone.image)
    np.testing.assert_allclose(together[1].scores, alone.scores, rtol=1e-6)
    assert (model.visualize_class(1, steps=8, seed=6, views=2).image != alone.image).any()


def test_fixed_batch_and_opset_7() -> None:
    expected = explainer(linear()).visualize_class([0, 1, 2], steps=6)
    for model in (linear(batch=2), linear(batch=1, opset=7)):
        for one, other in zip(expected, explainer(model).visualize_class([0, 1, 2], steps=6)):
            np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.filterwarnings("ignore::onnxplain.visualization.ConvergenceWarning")
@pytest.mark.parametrize("preset", list(PRESETS))
def test_channels_last(preset: str) -> None:
    first = explainer(linear()).visualize_class(2, preset=preset, steps=6)
    last = explainer(linear(channels_last=True), CENTRED.replace(layout="NHWC")).visualize_class(
        2, preset=preset, steps=6
    )
    np.testing.assert_array_equal(first.image, last.image)


def test_bgr_model_sees_blue_first() -> None:
    """A model that likes its first channel likes red, or blue if that comes first."""
    weight = np.zeros_like(WEIGHT)
    weight[0, 0] = 0.2
    model = linear()
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "W"))
    for channels, most in (("RGB", 0), ("BGR", 2)):
        for preset in PRESETS:
            picture = explainer(model, CENTRED.replace(channels=channels)).visualize_class(0, preset=preset, steps=40)
            assert int(picture.image.mean(axis=(0, 1)).argmax()) == most


def test_grey_model() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "W"], ["maps"]), helper.make_node("Flatten", ["maps"], ["logits"], axis=1)]
    shape = ["N", 1, 4, 4]
    model = small.build(
        nodes, [("x", TensorProto.FLOAT, shape)], [("logits", TensorProto.FLOAT, ["N", 2])], {"W": weight}
    )
    picture = explainer(model, Preprocessing(channels="L", invert=True)).visualize_class(1, steps=30)
    assert (picture.image == picture.image[:, :, :1]).all()
    assert picture.scores[-5:].mean() > picture.scores[:5].mean()


def test_float16_input() -> None:
    model = explainer(
        small.build(
            [
                helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
                helper.make_node("Conv", ["wide", "W"], ["maps"]),
                helper.make_node("Flatten", ["maps"], ["logits"], axis=1),
            ],
            [("x", TensorProto.FLOAT16, ["N", *SHAPE])],
            [("logits", TensorProto.FLOAT, ["N", small.CLASSES])],
            {"W": WEIGHT},
        )
    )
    assert model.visualize_class(0, steps=30).top[0].index == 0


def test_size_of_a_model_that_leaves_it_open() -> None:
    model = explainer(small.any_size())
    assert model.visualize_class(0, size=(10, 7), steps=2).image.shape == (10, 7, 3)
    assert model.visualize_class(0, size=9, steps=2).image.shape == (9, 9, 3)
    with pytest.raises(InputError, match="give size="):
        model.visualize_class(0, steps=2)


# Neurons.


def test_neuron_is_the_mean_over_positions() -> None:
    """The class of this model is that mean, so both have one picture."""
    model = explainer(features())
    expected = model.visualize_class(3, size=8, steps=5)
    found = model.visualize_neuron("features:0:3", size=8, steps=5)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-6)
    assert (found.target, found.label, found.probability) == (3, "features:0:3", None)
    assert found.stem == "features_0_3"


def test_several_neurons() -> None:
    found = explainer(features()).visualize_neuron(["features:0:1", "logits:2"], size=6, steps=3)
    assert [picture.label for picture in found] == ["features:0:1", "logits:2"]


@pytest.mark.parametrize("name", ["features", "features:0:x", ":3"])
def test_wrong_names_of_neurons(name: str) -> None:
    with pytest.raises(InputError, match="tensor:channel"):
        explainer(features()).visualize_neuron(name, size=6)


def test_unknown_tensor_and_channel() -> None:
    with pytest.raises(InputError, match="no tensor named 'nothing'"):
        explainer(features()).visualize_neuron("nothing:0", size=6)
    with pytest.raises(TargetError, match=r"0\.\.3"):
        explainer(features()).visualize_neuron("features:0:4", size=6)


# Refusals.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "nice"}, "preset 'nice' is unknown; there are natural, paper"),
        ({"blur": 1}, "no setting 'blur'"),
        ({"steps": 0}, "steps is a whole number, 1 or more"),
        ({"steps": 2.5}, "steps is a whole number"),
        ({"learning_rate": float("nan")}, "learning_rate is a number"),
        ({"l2": -1.0}, "l2 is a number, 0 or more"),
        ({"seed": -1}, "seed is a whole number"),
        ({"every": 0}, "every is a whole number, 1 or more"),
        ({"size": 5}, "height of the picture is 4, which the model fixes; found 5"),
        ({"optimizer": "sgd"}, "optimizer is one of ascent, adam; found 'sgd'"),
        ({"parametrization": "pixels"}, "parametrization is one of tensor, fourier; found 'pixels'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        explainer(linear()).visualize_class(0, **options)


@pytest.mark.parametrize("target", [None, "top3", [0, None], 5, "cat"])
def test_targets_are_checked(target: Any) -> None:
    with pytest.raises(TargetError):
        explainer(linear()).visualize_class(target, steps=1)


def test_models_that_take_no_image_of_floats() -> None:
    with pytest.raises(InputError, match="an input of floats"):
        explainer(small.quadratic_uint8(), Preprocessing(scale=1.0, dtype="uint8")).visualize_class(0)
    with pytest.raises(PreprocessingError, match="no preprocessing is stated"):
        Explainer(linear(), threads=1).visualize_class(0)


def test_score_without_slope_is_refused() -> None:
    """A ReLU that is off at the zero image."""
    model = linear()
    model.graph.node.insert(1, helper.make_node("Sub", ["maps", "one"], ["below"]))
    model.graph.node.insert(2, helper.make_node("Relu", ["below"], ["off"]))
    model.graph.node[3].input[0] = "off"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.float32), "one"))
    with pytest.raises(onnxplain.GradientError, match=r"class 3 .* zero.*natural"):
        explainer(model).visualize_class([3], preset="paper")


# Files.


def test_files(tmp_path: Path) -> None:
    model = explainer(linear(), labels=["red", "green, dark", "blue", "cat", "dog"])
    picture = model.visualize_class("green", steps=7, every=3)
    assert isinstance(picture, onnxplain.ClassVisualization)
    assert picture.stem == "green_1" and "green, dark" in repr(picture)
    with Image.open(picture.save(tmp_path / "new" / "a.png")) as image:
        np.testing.assert_array_equal(np.asarray(image), picture.image)
    assert len(picture.frames) == 3
    np.testing.assert_array_equal(picture.frames[-1], picture.image)
    [animation] = picture.save_animation(tmp_path / "a.gif")
    with Image.open(animation) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
    frames = picture.save_animation(tmp_path / "frames")
    assert [path.name for path in frames] == ["frame_0001.png", "frame_0002.png", "frame_0003.png"]
    assert picture._repr_png_().startswith(b"\x89PNG")
    facts = json.loads(json.dumps(picture.to_dict()))
    assert facts["settings"]["steps"] == 7 and facts["settings"]["preset"] == "natural" and len(facts["scores"]) == 7
    with pytest.raises(OutputError, match=r"\.gif"):
        picture.save_animation(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="every=k"):
        model.visualize_class(0, steps=1).save_animation(tmp_path / "b.gif")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    model = linear()
    helper.set_model_props(model, small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return Runner(tmp_path, monkeypatch, capsys)


def test_command(run: Runner) -> None:
    result = run("visualize-class", "model.onnx", "--target", "cat,0", "-o", "out", "--steps", 4, "--every", 2)
    assert result.code == 0, result.err
    assert run.files() == {"model.onnx", "out/cat_3.png", "out/cat_3.gif", "out/red_0.png", "out/red_0.gif"}
    assert "cat (" in result.out and str(Path("out") / "red_0.png") in result.out


def test_command_prints_json(run: Runner) -> None:
    arguments = ["--target", "1", "--neuron", "maps:2", "--preset", "paper", "--steps", 30, "--learning-rate", 0.5]
    result = run("visualize-class", "model.onnx", *arguments, "--l2", 0.25, "--seed", 9, "--json")
    document = json.loads(result.out)
    assert [one["label"] for one in document["results"]] == ["green", "maps:2"]
    settings = document["results"][0]["settings"]
    assert (settings["preset"], settings["steps"], settings["learning_rate"], settings["l2"], settings["seed"]) == (
        "paper", 30, 0.5, 0.25, 9,
    )  # fmt: skip
    assert run.files() == {"model.onnx", "green_1.png", "maps_2.png"}


def test_command_is_quiet(run: Runner) -> None:
    result = run("visualize-class", "model.onnx", "--target", "dog", "--steps", 2, "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--target"),
        (["--target", "zebra"], 1, "zebra"),
        (["--target", "cat", "--preset", "nice"], 1, "preset 'nice'"),
        (["--neuron", "maps"], 1, "tensor:channel"),
    ],
)
def test_command_refuses(run: Runner, arguments: list[str], code: int, message: str) -> None:
    result = run("visualize-class", "model.onnx", *arguments)
    assert result.code == code
    assert message in result.err
    assert run.files() == {"model.onnx"}
