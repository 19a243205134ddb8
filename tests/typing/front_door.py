"""What a type checker knows of the public names. Checked by mypy in test_front_door.py; never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from typing_extensions import assert_type

import onnxplain
from onnxplain import (
    ClassVisualization,
    Explainer,
    Explanation,
    Explanations,
    TableExplanation,
    TokenExplanation,
    TorchExport,
)
from onnxplain.pictures import PictureOptions
from onnxplain.results.grid import GridPicture


def arrays(explainer: Explainer, x: NDArray[np.float32], feeds: Mapping[str, NDArray[Any]]) -> None:
    assert_type(explainer.attribute(x), NDArray[Any])
    assert_type(explainer.attribute(feeds, "dog"), dict[str, NDArray[Any]])
    assert_type(explainer.saliency(x, [1, 2]), NDArray[np.float32])
    assert_type(explainer.saliency(feeds), dict[str, NDArray[np.float32]])


def photos(explainer: Explainer, x: NDArray[np.uint8], paths: list[Path], target: str | int) -> None:
    assert_type(explainer.explain("photo.jpg"), Explanation)
    assert_type(explainer.explain(Path("photo.jpg"), 281, "grad_cam"), Explanation)
    assert_type(explainer.explain(b"...", np.argmax([1, 2])), Explanation)
    assert_type(explainer.explain(x), Explanation)
    assert_type(explainer.explain("photo.jpg", onnxplain.Target("tabby", versus="lynx")), Explanation)
    assert_type(explainer.explain("photo.jpg", ["tabby", "lynx"]), Explanations[Explanation])
    assert_type(explainer.explain(paths, [onnxplain.Target("a"), onnxplain.Target(3)]), Explanations[Explanation])
    assert_type(explainer.explain(paths), Explanations[Explanation])
    assert_type(explainer.explain(["a.jpg", "b.jpg"], ["dog", "cat"]), Explanations[Explanation])
    assert_type(explainer.explain(one for one in paths), Explanations[Explanation])
    listed: list[Explanation] = explainer.explain(paths, 3)
    assert_type(onnxplain.grid(listed, alpha=0.5), GridPicture)
    assert_type(explainer.explain(paths).grid("heatmap"), GridPicture)
    ranked = explainer.explain("photo.jpg", "top3")
    assert_type(
        ranked,
        Explanation | Explanations[Explanation] | Explanations[Explanation | Explanations[Explanation]],
    )
    explainer.explain("photo.jpg", target)
    assert_type(explainer.stream("photos"), Iterator[Explanation])
    assert_type(explainer.stream(paths, "top3"), Iterator[Explanation | Explanations[Explanation]])


def features(explainer: Explainer, x: NDArray[np.float32]) -> None:
    assert_type(explainer.explain_table({"a": x}), list[TableExplanation])
    assert_type(explainer.explain_table(x), TableExplanation | list[TableExplanation] | list[list[TableExplanation]])
    assert_type(explainer.explain_tokens({"ids": x}, str), list[TokenExplanation])


def classes(explainer: Explainer) -> None:
    assert_type(explainer.visualize_class("pug"), ClassVisualization)
    assert_type(explainer.visualize_class(["pug", 3]), list[ClassVisualization])
    assert_type(explainer.visualize_neuron("relu4:12"), ClassVisualization)
    assert_type(explainer.visualize_neuron(["relu4:12"]), list[ClassVisualization])


def pictures(explanation: Explanation) -> None:
    options: PictureOptions = {"colormap": "viridis", "smooth": 0.01, "signed": True}
    assert_type(explanation.picture("heatmap", **options), NDArray[np.uint8])
    assert_type(explanation.save("a.png", kind="panel", **options), list[Path])
    explanation.overlay(alpha="high")  # type: ignore[arg-type]
    explanation.picture("contour", lines=3)  # type: ignore[call-arg]
    onnxplain.report([explanation], "report.html", percentiles=(0, 100))
    onnxplain.report([explanation], "report.html", colour="viridis")  # type: ignore[call-arg]


def others(explanation: Explanation, export: TorchExport) -> None:
    assert_type(explanation.saliency, NDArray[np.float32])
    assert_type(explanation.label, str | None)
    assert_type(export.path, Path)
    print(onnxplain.nonsense)  # type: ignore[attr-defined]


def files(path: Path) -> None:
    recipe = onnxplain.find_preprocessing(path, "imagenet")
    assert_type(recipe, onnxplain.Preprocessing)
    static = {"N": 1}
    assert_type(onnxplain.differentiate(path, static=static, with_preprocessing=recipe), onnx.ModelProto)
    assert_type(onnxplain.differentiate_ir(ir.load(path), static=static), ir.Model)
    assert_type(onnxplain.lower_gradients(path), onnx.ModelProto)
