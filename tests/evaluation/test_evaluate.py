"""Evaluation of methods on photos, the model-randomisation check, and the command ``onnxplain evaluate``."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxplain
from onnxplain import Explainer, ImageError, InputError, OutputError, RuntimeMissingError, cli, metrics
from onnxplain.evaluation import randomized_models
from onnxplain.methods.gradients import GradientXInput
from onnxplain.model.ranking import probabilities
from onnxplain.photos import Preprocessing
from onnxplain.pipeline import stream

from support import small_models as small

METHODS = ["saliency", "gradient_x_input"]
#: What a photo of small_models is, and which part of it the model sees: the shorter side of 12 becomes 6, crop 4.
HEIGHT, WIDTH = 12, 16


def model(**options: Any) -> onnx.ModelProto:
    return small.quadratic(metadata=small.image_metadata(), **options)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(model(ending="Softmax"))


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [small.picture(HEIGHT, WIDTH, seed) for seed in range(10)]


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    return metrics.box_masks([[3, 2, 9, 8]] * 10, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def evaluation(explainer: Explainer, photos: list[np.ndarray], masks: np.ndarray) -> onnxplain.Evaluation:
    every = ["deletion", "insertion", "pointing_game", "pointing_game_exact", "energy", "sparseness", "infidelity"]
    every += ["max_sensitivity", "rank_correlation"]
    return onnxplain.evaluate(explainer, photos, METHODS, masks=masks, metrics=every, steps=4, tolerance=2, samples=3)


@pytest.fixture
def folder(tmp_path: Path, photos: list[np.ndarray], masks: np.ndarray) -> Path:
    """Three photos with their masks, and a model."""
    (tmp_path / "model.onnx").write_bytes(model(ending="Softmax").SerializeToString())
    for index in range(3):
        Image.fromarray(photos[index]).save(tmp_path / f"photo{index}.png")
        Image.fromarray(masks[index]).save(tmp_path / f"photo{index}_mask.png")
    return tmp_path


# evaluate


def test_every_number_is_what_the_metric_says(
    evaluation: onnxplain.Evaluation, explainer: Explainer, photos: list[np.ndarray], masks: np.ndarray
) -> None:
    """More photos than a micro-batch, measured one by one here."""
    preprocessing = explainer.preprocessing.preprocessing

    def probability(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return explainer.probabilities(x)[np.arange(len(x)), targets]

    def score(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return explainer.scores(x)[np.arange(len(x)), targets]

    assert evaluation.methods == METHODS and evaluation.measured == "probability"
    assert evaluation.images == [f"image {index}" for index in range(10)]
    for row, method in enumerate(METHODS):
        for column, photo in enumerate(photos):
            found = explainer.explain(photo, method=method)
            x, target = preprocessing.apply(photo)[0][None], found.target
            map_, mask = found.saliency_input[None], masks[column][None]
            expected = {
                "deletion": metrics.deletion(probability, x, map_, target, steps=4).auc,
                "insertion": metrics.insertion(probability, x, map_, target, steps=4).auc,
                "pointing_game": metrics.pointing_game(found.saliency[None], mask, tolerance=2),
                "pointing_game_exact": metrics.pointing_game(found.saliency[None], mask, tolerance=0),
                "energy": metrics.energy_in_mask(found.saliency[None], mask),
                "sparseness": metrics.sparseness(map_),
            }
            for name, value in expected.items():
                np.testing.assert_allclose(evaluation.values[name][row, column], value[0], rtol=1e-4, err_msg=name)
            assert evaluation.targets[column] == target and evaluation.labels[column] == found.label
    first = explainer.explain(photos[0], method="gradient_x_input")
    expected = metrics.infidelity(
        score,
        np.stack([preprocessing.apply(photo)[0] for photo in photos[:8]]),
        np.stack([explainer.explain(photo, method="gradient_x_input").attribution for photo in photos[:8]]),
        evaluation.targets[:8],
        multiplied=True,
        normalize=True,
        samples=3,
    )
    np.testing.assert_allclose(evaluation.values["infidelity"][1, :8], expected, rtol=1e-3, atol=1e-9)
    agreement = metrics.rank_correlation(explainer.explain(photos[0]).saliency_input[None], first.saliency_input[None])
    np.testing.assert_allclose(evaluation.agreement["rank_correlation"][0, 1, 0], agreement[0], rtol=1e-6)
    np.testing.assert_allclose(evaluation.agreement["rank_correlation"][[0, 1], [0, 1]], 1)


def test_each_photo_is_loaded_and_preprocessed_once(
    explainer: Explainer, photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once more for every method."""
    calls = {"load_image": 0, "apply": 0}
    load_image, apply = stream.load_image, Preprocessing.apply

    def loading(source: Any) -> Any:
        calls["load_image"] += 1
        return load_image(source)

    def applying(self: Preprocessing, image: Any) -> Any:
        calls["apply"] += 1
        return apply(self, image)

    monkeypatch.setattr(stream, "load_image", loading)
    monkeypatch.setattr(Preprocessing, "apply", applying)
    onnxplain.evaluate(explainer, photos, METHODS, metrics=["sparseness"])
    assert calls == {"load_image": len(photos), "apply": len(photos)}


def test_repr_and_display(evaluation: onnxplain.Evaluation) -> None:
    assert repr(evaluation).startswith(f"<Evaluation of 10 images by {', '.join(METHODS)}: deletion")
    assert evaluation._repr_markdown_() == evaluation.table()


def test_curves_are_kept_for_every_image(evaluation: onnxplain.Evaluation) -> None:
    curves = evaluation.curves["deletion"][1]
    assert curves.scores.shape == (10, 5)
    np.testing.assert_allclose(curves.auc, evaluation.values["deletion"][1])


def test_rows_summary_and_table(evaluation: onnxplain.Evaluation) -> None:
    rows = evaluation.rows()
    assert len(rows) == 20 and [row["method"] for row in rows[:2]] == METHODS
    assert rows[3]["image"] == "image 1" and rows[3]["energy"] == evaluation.values["energy"][1, 1]
    summary = {(row["method"], row["metric"]): row for row in evaluation.summary()}
    energy = summary["saliency", "energy"]
    np.testing.assert_allclose(energy["mean"], evaluation.values["energy"][0].mean())
    assert energy["low"] < energy["mean"] < energy["high"]
    header, _, first, _ = evaluation.table().splitlines()
    assert "deletion AUC ↓" in header and "energy in mask ↑" in header
    assert first.startswith("| saliency") and f"{energy['mean']:.3f}" in first


def test_files(evaluation: onnxplain.Evaluation, tmp_path: Path) -> None:
    with evaluation.save(tmp_path / "e.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and float(rows[0]["energy"]) == evaluation.values["energy"][0, 0]
    document = json.loads(evaluation.save(tmp_path / "e.json").read_text(encoding="utf-8"))
    assert document["methods"] == METHODS and len(document["curves"]["insertion"]["saliency"]["scores"]) == 10
    assert document == json.loads(json.dumps(evaluation.to_dict()))
    with pytest.raises(OutputError, match=r"\.csv or \.json"):
        evaluation.save(tmp_path / "e.xlsx")


def test_plots(evaluation: onnxplain.Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = evaluation.plot()
    titles = [axes.get_title() for axes in figure.axes]
    assert "deletion AUC (lower is better)" in titles and "insertion curves" in titles
    assert "rank correlation of maps" in titles
    figure.savefig(tmp_path / "e.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeMissingError, match=r"onnxplain\[plot\]"):
        evaluation.plot()


def test_default_metrics_are_those_that_masks_and_methods_allow(explainer: Explainer, photos: list[np.ndarray]) -> None:
    one = onnxplain.evaluate(explainer, photos[0], steps=2)
    assert list(one.values) == ["deletion", "insertion", "sparseness"] and not one.agreement
    assert one.summary()[0]["low"] is None
    two = onnxplain.evaluate(explainer, photos[:2], METHODS, masks=[np.ones((HEIGHT, WIDTH))] * 2, steps=2)
    assert {"pointing_game", "pointing_game_exact", "energy"} < set(two.values)
    assert list(two.agreement) == ["rank_correlation"]
    np.testing.assert_allclose(two.values["energy"], 1)


def test_methods_with_options_have_names_of_their_own(explainer: Explainer, photos: list[np.ndarray]) -> None:
    methods = {"mine": GradientXInput(), "other": "gradient_x_input"}
    found = onnxplain.evaluate(explainer, photos[:2], methods, metrics=["sparseness"])
    assert found.methods == ["mine", "other"]
    np.testing.assert_array_equal(found.values["sparseness"][0], found.values["sparseness"][1])


def test_targets_are_one_for_all_or_one_for_each(explainer: Explainer, photos: list[np.ndarray]) -> None:
    measure = {"methods": "saliency", "metrics": ["sparseness"]}
    assert onnxplain.evaluate(explainer, photos[:2], target="cat", **measure).targets == [3, 3]
    assert onnxplain.evaluate(explainer, photos, target=[4, 3, 2, 1, 0] * 2, **measure).targets == [4, 3, 2, 1, 0] * 2
    for target in (4, None):
        found = onnxplain.evaluate(explainer, photos[:2], METHODS, target=target, metrics=["deletion"], steps=2)
        explained = [explainer.explain(photo, target) for photo in photos[:2]]
        assert found.targets == [explanation.target for explanation in explained]
        np.testing.assert_allclose(
            found.curves["deletion"][0].scores[:, 0], [one.probability for one in explained], rtol=1e-5
        )


def test_channels_last_and_scores_without_probabilities(photos: list[np.ndarray]) -> None:
    metadata = small.image_metadata()
    last = small.quadratic_nhwc()
    onnx.helper.set_model_props(last, metadata)
    every = ["deletion", "insertion", "infidelity", "max_sensitivity"]
    options: dict[str, Any] = {"methods": METHODS, "metrics": every, "steps": 3, "samples": 2}
    a = onnxplain.evaluate(Explainer(last), photos[:2], **options)
    b = onnxplain.evaluate(Explainer(model()), photos[:2], **options)
    for name in ("deletion", "insertion"):
        np.testing.assert_allclose(a.values[name], b.values[name], rtol=1e-3, atol=1e-6)


def test_masks_from_a_folder_and_photos_beside_them(explainer: Explainer, folder: Path, masks: np.ndarray) -> None:
    (folder / "model.onnx").unlink()
    found = onnxplain.evaluate(explainer, folder, METHODS, masks=folder, metrics=["energy"])
    assert [Path(image).name for image in found.images] == ["photo0.png", "photo1.png", "photo2.png"]
    listed = [folder / f"photo{index}.png" for index in range(3)]
    again = onnxplain.evaluate(explainer, listed, METHODS, masks=list(masks[:3]), metrics=["energy"])
    np.testing.assert_array_equal(found.values["energy"], again.values["energy"])
    (folder / "apart").mkdir()
    for index in range(3):
        (folder / f"photo{index}_mask.png").rename(folder / "apart" / f"photo{index}.png")
    apart = onnxplain.evaluate(explainer, listed, METHODS, masks=folder / "apart", metrics=["energy"])
    np.testing.assert_array_equal(found.values["energy"], apart.values["energy"])


def test_photos_that_cannot_be_read_are_left_out(explainer: Explainer, folder: Path) -> None:
    (folder / "photo1.png").write_bytes(b"nonsense")
    seen: list[str] = []
    found = onnxplain.evaluate(
        explainer,
        [folder / f"photo{index}.png" for index in range(3)],
        masks=folder,
        metrics=["energy"],
        on_error=lambda name, error: seen.append(Path(name).name),
    )
    assert seen == ["photo1.png"]
    assert [Path(image).name for image in found.images] == ["photo0.png", "photo2.png"]


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"methods": ["nonsense"]}, InputError, "'nonsense' is unknown"),
        ({"methods": []}, InputError, "no method"),
        ({"methods": ["saliency", "saliency"]}, InputError, "have one name"),
        ({"metrics": ["nonsense"]}, InputError, "unknown; there are deletion"),
        ({"metrics": []}, InputError, "no metric"),
        ({"metrics": ["energy"]}, InputError, "needs the masks"),
        ({"metrics": ["energy"], "masks": [np.ones((HEIGHT, WIDTH))]}, InputError, "no mask for this photo"),
        ({"metrics": ["energy"], "masks": [np.ones((2, 2))] * 2}, InputError, "its mask"),
        ({"metrics": ["energy"], "masks": [np.zeros((HEIGHT, WIDTH))] * 2}, InputError, "mask is empty"),
        ({"metrics": ["energy"], "masks": "nowhere"}, InputError, "no file name"),
        ({"metrics": ["sparseness"], "target": "top2"}, InputError, "several classes"),
        ({"metrics": ["sparseness"], "target": [1]}, InputError, "1 targets"),
        ({"images": []}, InputError, "no photo"),
    ],
)
def test_what_makes_no_sense_is_refused(
    explainer: Explainer, photos: list[np.ndarray], options: dict, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        onnxplain.evaluate(**{"explainer": explainer, "images": photos[:2], **options})


def test_a_folder_without_the_mask_says_what_it_looked_for(explainer: Explainer, folder: Path) -> None:
    (folder / "photo2_mask.png").unlink()
    with pytest.raises(ImageError, match="looked for photo2_mask"):
        onnxplain.evaluate(explainer, folder / "photo2.png", masks=folder, metrics=["energy"])


def test_probabilities() -> None:
    scores = np.array([[0.0, 1.0], [2.0, 2.0]], np.float32)
    np.testing.assert_allclose(probabilities(scores, "softmax")[0], np.exp([0, 1]) / np.exp([0, 1]).sum())
    np.testing.assert_allclose(probabilities(scores, "sigmoid"), 1 / (1 + np.exp(-scores.astype(float))))
    np.testing.assert_array_equal(probabilities(scores, "identity"), scores)
    assert probabilities(scores, None) is None


# randomization_check


@pytest.fixture(scope="module")
def check(photos: list[np.ndarray]) -> onnxplain.RandomizationCheck:
    return onnxplain.randomization_check(network(), photos[:2], METHODS, stages=None, seed=1)


def network() -> onnx.ModelProto:
    """Conv, ReLU, Conv, ReLU, mean, Gemm on photos of 16 pixels."""
    generator = np.random.default_rng(0)
    shapes = {"k1": (8, 3, 3, 3), "k2": (8, 8, 3, 3), "w": (8, 5)}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "k1"], ["c1"], name="conv1", pads=[1] * 4),
        onnx.helper.make_node("Relu", ["c1"], ["r1"]),
        onnx.helper.make_node("Conv", ["r1", "k2"], ["c2"], name="conv2", pads=[1] * 4),
        onnx.helper.make_node("Relu", ["c2"], ["r2"]),
        onnx.helper.make_node("GlobalAveragePool", ["r2"], ["g"]),
        onnx.helper.make_node("Flatten", ["g"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "w"], ["logits"], name="gemm"),
    ]
    constants = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    shape = ["N", 3, 16, 16]
    return small.build(
        nodes, [("x", small.FLOAT, shape)], [("logits", small.FLOAT, ["N", 5])], constants, small.image_metadata(16)
    )


def test_repr_and_display_of_the_check(check: onnxplain.RandomizationCheck) -> None:
    text = repr(check)
    assert text.startswith(f"<RandomizationCheck of {len(check.images)} image") and check.methods[0] in text
    assert check._repr_markdown_() == check.table()


def test_the_check_compares_maps_layer_by_layer(check: onnxplain.RandomizationCheck, photos: list[np.ndarray]) -> None:
    assert check.layers == ["gemm", "conv2", "conv1"] and check.methods == METHODS and check.cascading
    assert check.values["rank_correlation"].shape == check.values["ssim"].shape == (3, 2, 2)
    before = Explainer(network()).explain(photos[0])
    *_, (_, copy) = randomized_models(network(), seed=1)
    after = Explainer(copy).explain(photos[0], before.target)
    expected = metrics.rank_correlation(before.saliency_input[None], after.saliency_input[None])
    np.testing.assert_allclose(check.values["rank_correlation"][2, 0, 0], expected[0], rtol=1e-5)
    assert check.means().max() < 0.999 and np.abs(check.means()[2]).max() < 0.5


def test_one_layer_alone_and_the_same_class(photos: list[np.ndarray]) -> None:
    alone = onnxplain.randomization_check(network(), photos[0], cascading=False, target=2, stages=2)
    assert alone.layers == ["gemm", "conv1"] and alone.images == ["image 0"]
    again = onnxplain.randomization_check(network(), photos[0], cascading=False, target=2, stages=2)
    np.testing.assert_array_equal(alone.values["ssim"], again.values["ssim"])


def test_copies_stay_out_of_the_cache(photos: list[np.ndarray], tmp_path: Path) -> None:
    onnxplain.randomization_check(network(), photos[0], stages=2, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1  # the model itself


def test_a_check_is_a_table_files_and_a_plot(check: onnxplain.RandomizationCheck, tmp_path: Path) -> None:
    assert check.table().splitlines()[2].startswith("| gemm")
    rows = json.loads(check.save(tmp_path / "c.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 12 and set(rows[0]) == {"layer", "method", "image", "rank_correlation", "ssim"}
    assert check.save(tmp_path / "c.csv").read_text(encoding="utf-8").count("\n") == 13
    axes = check.plot().axes[0]
    assert [line.get_label() for line in axes.lines[:2]] == METHODS
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, *check.means()[:, 0]])


def test_the_check_wants_one_class_for_each_photo(photos: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="one class for each"):
        onnxplain.randomization_check(network(), photos[:1], target="top2")
    with pytest.raises(InputError, match="found 0"):
        onnxplain.randomization_check(network(), [])


# onnxplain evaluate


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["onnxplain", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_command_prints_a_table_and_writes_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(
        monkeypatch, capsys, "evaluate", folder / "model.onnx", folder, "--masks", folder, "-o", folder / "out",
        "-m", "saliency,gradient_x_input", "--steps", 3, "--randomization",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "3 images" in out and "energy in mask" in out and "gradient_x_input" in out and "random down to" in out
    names = {f"{stem}.{suffix}" for stem in ("evaluation", "randomization") for suffix in ("csv", "json", "png")}
    assert {path.name for path in (folder / "out").iterdir()} == names
    assert len((folder / "out" / "evaluation.csv").read_text(encoding="utf-8").splitlines()) == 7


def test_command_as_json_quiet_and_with_a_broken_photo(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "photo1.png").write_bytes(b"nonsense")
    given = ["evaluate", folder / "model.onnx", folder, "--masks", folder, "--metrics", "energy", "-o", folder / "out"]
    code, out, err = run(monkeypatch, capsys, *given, "--json", "--target", "dog")
    document = json.loads(out)
    assert code == 1 and "photo1.png" in err and len(document["errors"]) == 1
    assert [Path(image).name for image in document["images"]] == ["photo0.png", "photo2.png"]
    assert {row["label"] for row in document["rows"]} == {"dog"}
    code, out, err = run(monkeypatch, capsys, *given, "--quiet")
    assert code == 1 and out == "" and err.count("\n") == 1


def test_command_says_what_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, reason in (
        (["--metrics", "nonsense"], "there are deletion"),
        (["--metrics", "energy"], "needs the masks"),
        (["-m", "nonsense"], "there are saliency"),
    ):
        code, out, err = run(monkeypatch, capsys, "evaluate", folder / "model.onnx", folder / "photo0.png", *given)
        assert (code, out) == (1, "") and reason in err and err.count("\n") == 1


def test_command_without_matplotlib_writes_the_tables(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = run(
        monkeypatch, capsys, "evaluate", folder / "model.onnx", folder / "photo0.png", "--metrics", "sparseness",
        "-o", folder / "out",
    )  # fmt: skip
    assert code == 0 and "sparseness" in out and "warning" in err and "plot" in err
    assert {path.name for path in (folder / "out").iterdir()} == {"evaluation.csv", "evaluation.json"}


def test_other_questions_than_classes_are_not_measured_by_the_scores_of_classes(
    explainer: Explainer, photos: list[np.ndarray]
) -> None:
    rather = onnxplain.Target(0, versus=1)
    found = onnxplain.evaluate(explainer, photos[:2], METHODS, target=rather)
    assert set(found.values) == {"sparseness"} and set(found.agreement) == {"rank_correlation"}
    for metric in ("deletion", "insertion", "infidelity", "max_sensitivity"):
        with pytest.raises(InputError, match="asks for another number"):
            onnxplain.evaluate(explainer, photos[:2], METHODS, target=rather, metrics=[metric])
    plain = onnxplain.evaluate(explainer, photos[:2], METHODS, target=onnxplain.Target(0), steps=4)
    assert "deletion" in plain.values
