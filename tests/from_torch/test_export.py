"""``export_torch``: what is written agrees with torch.autograd, says nothing of the source, or is not written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import onnxplain
from onnxplain import Explainer, InputError, ModelError, OutputError, RuntimeMissingError, TorchExport
from onnxplain.autodiff.request import Request
from onnxplain.cli import app
from onnxplain.from_torch import export as torch_export

from support.checker import session

EXPORTERS = ["dynamo", "torchscript"]


class Small(nn.Module):
    """Photos [N,3,8,8] -> scores [N,4]."""

    def __init__(self, ending: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(96, 4)
        self.ending = ending or nn.Identity()

    def forward(self, photo: Tensor) -> Tensor:
        return self.ending(self.head(self.body(photo)))


class Words(nn.Module):
    """Token ids [N,T] -> scores [N,3]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(10, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.words(ids)).mean(1))


class Detached(Small):
    """The forward graph is right; torch's gradient lacks the path that it detaches."""

    def forward(self, photo: Tensor) -> Tensor:
        return super().forward(photo) + super().forward(2 * photo.detach())


class Different(Small):
    """Exports something else than it computes."""

    def forward(self, photo: Tensor) -> Tensor:
        scores = super().forward(photo)
        exporting = torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()
        return scores * 1.001 if exporting else scores


class OnlyTraced(Small):
    """Dynamo refuses to follow a value; tracing does."""

    def forward(self, photo: Tensor) -> Tensor:
        scores = super().forward(photo)
        return scores * 2 if float(photo.detach().abs().sum()) > 0 else scores


PHOTO = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def small_factory() -> nn.Module:
    return Small().eval()


def torch_gradient(module: nn.Module, x: Tensor, target: int) -> np.ndarray:
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(module(x)[:, target].sum(), x)
    return gradient.numpy()


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_scores_and_gradients_are_torchs(tmp_path: Path, exporter: str) -> None:
    module, path = Small().eval(), tmp_path / "small.onnx"
    found = onnxplain.export_torch(module, PHOTO, path, exporter=exporter)
    assert repr(found).startswith(f"<TorchExport {path} by {exporter}: differs from torch by ")
    assert isinstance(found, TorchExport) and (found.path, found.exporter, found.fallback) == (path, exporter, None)
    assert set(found.comparison.differences) == {"output", "score", "grad_photo"}
    assert max(found.comparison.differences.values()) < 1e-5 and found.comparison.reference == "float64"
    assert os.listdir(tmp_path) == ["small.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [v.name for v in model.graph.input] == ["photo", "target"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    run = session(model)
    for target in range(4):
        gradient = run.run(["grad_photo"], {"photo": x.numpy(), "target": np.full(5, target, np.int64)})[0]
        np.testing.assert_allclose(gradient, torch_gradient(module, x, target), atol=1e-6)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_nothing_of_the_source_is_in_the_file(tmp_path: Path, exporter: str) -> None:
    onnxplain.export_torch(Small().eval(), PHOTO, tmp_path / "small.onnx", exporter=exporter)
    data = (tmp_path / "small.onnx").read_bytes()
    for word in (__file__, str(Path(torch.__file__).parent), str(Path.cwd()), str(tmp_path), "File ", ".py", "stack"):
        assert word.encode() not in data, word


def test_the_exporter_leaves_traces_that_are_removed() -> None:
    """So that the test above can fail."""
    args = (Small().eval(), [PHOTO], [False], ["photo"], ["output"], 18, "dynamo")
    proto, _, _ = torch_export._export(*args)
    assert Path(__file__).name.encode() in proto.SerializeToString()
    torch_export.remove_traces(proto)
    assert b".py" not in proto.SerializeToString()


@pytest.mark.parametrize("module", [Detached(), Different()])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_model_that_disagrees_is_not_written(tmp_path: Path, module: nn.Module, exporter: str) -> None:
    name = "grad_photo" if isinstance(module, Detached) else "output"
    with pytest.raises(ModelError, match=rf"disagrees with torch: {name} differs by .* nothing was written"):
        onnxplain.export_torch(module.eval(), PHOTO, tmp_path / "a.onnx", exporter=exporter)
    assert os.listdir(tmp_path) == []


def test_a_gradient_that_is_off_by_a_thousandth_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(emit: object, node: object, dy: object) -> object:
        return emit.Mul(emit.gate(emit.Greater(node.outputs[0], 0.0), dy), 1.001)  # type: ignore[attr-defined]

    real = torch_export.add_gradients
    monkeypatch.setattr(torch_export, "add_gradients", lambda model, _: real(model, Request.of(rules={"Relu": off})))
    (tmp_path / "a.onnx").write_bytes(b"before")
    with pytest.raises(ModelError, match=r"grad_photo differs by 0\.001 of its largest value"):
        onnxplain.export_torch(Small().eval(), PHOTO, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == b"before" and os.listdir(tmp_path) == ["a.onnx"]


def test_the_other_exporter_is_the_fallback(tmp_path: Path) -> None:
    found = onnxplain.export_torch(OnlyTraced().eval(), PHOTO, tmp_path / "a.onnx")
    assert found.exporter == "torchscript" and found.fallback is not None and found.fallback.startswith("dynamo: ")
    with pytest.raises(ModelError, match="torch cannot export the module; dynamo: "):
        onnxplain.export_torch(OnlyTraced().eval(), PHOTO, tmp_path / "b.onnx", exporter="dynamo")


@pytest.mark.parametrize("ending", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()])
def test_the_score_before_the_last_softmax(tmp_path: Path, ending: nn.Module) -> None:
    found = onnxplain.export_torch(Small(ending).eval(), PHOTO, tmp_path / "a.onnx")
    assert found.comparison.differences["grad_photo"] < 1e-5
    run = session(onnx.load(tmp_path / "a.onnx"))
    gradient = run.run(["grad_photo"], {"photo": PHOTO.numpy(), "target": np.array([2])})[0]
    np.testing.assert_allclose(gradient, torch_gradient(Small().eval(), PHOTO, 2), atol=1e-6)
    found = onnxplain.export_torch(Small(ending).eval(), PHOTO, tmp_path / "b.onnx", score="probability")
    assert found.comparison.differences["grad_photo"] < 1e-5


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_token_ids(tmp_path: Path, exporter: str) -> None:
    ids = torch.tensor([[1, 2, 3, 4, 5], [5, 6, 7, 8, 9]])
    found = onnxplain.export_torch(Words().eval(), ids, tmp_path / "a.onnx", exporter=exporter)
    names = [name for name in found.comparison.differences if name.startswith("grad_")]
    assert len(names) == 1 and found.comparison.differences[names[0]] < 1e-5


def test_a_fixed_batch_and_names(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    options = {"input_names": ["x"], "output_names": ["y"], "opset": 20, "dynamic_batch": False}
    onnxplain.export_torch(Small().eval(), PHOTO, path, **options)
    model = onnx.load(path)
    assert [v.name for v in model.graph.input] == ["x", "target"] and model.graph.output[0].name == "y"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1 and model.opset_import[0].version == 20


def test_labels_and_preprocessing_are_in_the_file(tmp_path: Path) -> None:
    path, labels = tmp_path / "a.onnx", ["cat", "dog", "crème brûlée", "hen"]
    onnxplain.export_torch(Small().eval(), PHOTO, path, labels=labels, preprocessing="imagenet")
    explainer = Explainer(path)
    assert explainer.labels == labels
    assert explainer.preprocessing.preprocessing.crop == 8
    assert explainer.explain(np.zeros((9, 9, 3), np.uint8)).saliency.shape == (9, 9)


def test_without_gradients(tmp_path: Path) -> None:
    found = onnxplain.export_torch(Small().eval(), PHOTO, tmp_path / "a.onnx", differentiate=False)
    assert set(found.comparison.differences) == {"output"}
    assert [v.name for v in onnx.load(tmp_path / "a.onnx").graph.output] == ["output"]


def test_the_module_is_left_alone(tmp_path: Path) -> None:
    module = Small().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    onnxplain.export_torch(module, PHOTO, tmp_path / "a.onnx")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in module.parameters())


@pytest.mark.parametrize(
    ("module", "inputs", "options", "message"),
    [
        (Small(), PHOTO, {}, r"training mode; call module.eval\(\)"),
        (print, PHOTO, {}, "pass a torch.nn.Module"),
        (Small().eval(), [1], {}, "one tensor for each argument"),
        (Small().eval(), torch.tensor(1.0), {}, "no batch axis"),
        (Small().eval(), torch.zeros(1, 3, 4), {}, "fails on the example inputs"),
        (Small().eval(), PHOTO, {"input_names": ["a", "b"]}, "2 names for 1 example inputs"),
        (Small().eval(), PHOTO, {"output_names": []}, "0 names for 1 outputs"),
        (Small().eval(), PHOTO, {"exporter": "magic"}, "found 'magic'"),
        (Small().eval(), PHOTO, {"labels": ["one"]}, "1 labels, but the model has 4 classes"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, module: object, inputs: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        onnxplain.export_torch(module, inputs, tmp_path / "a.onnx", **options)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "a.onnx"):
        with pytest.raises(OutputError):
            onnxplain.export_torch(Small().eval(), PHOTO, path)


def test_without_torch_the_pip_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "onnxplain\[torch\]"'):
        onnxplain.export_torch(None, None, tmp_path / "a.onnx")  # type: ignore[arg-type]


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    arguments = ["export-torch", f"{__name__}:small_factory", "-o", str(out), "--input-shape", "1,3,8,8"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["exporter"] == "dynamo" and facts["differences"]["grad_photo"] <= facts["allowed"]["grad_photo"]
    result = CliRunner().invoke(app, [*arguments, "--exporter", "torchscript"])
    assert "exported by torchscript; differences from torch: output" in result.stdout


@pytest.mark.parametrize(
    ("factory", "shape", "message"),
    [
        ("nothing", "1,3,8,8", "names no factory; write package.module:factory"),
        ("no.such.module:make", "1,3,8,8", "makes no module: ModuleNotFoundError"),
        (f"{__name__}:nothing", "1,3,8,8", "makes no module: AttributeError"),
        ("builtins:dict", "1,3,8,8", "makes a dict; it has to return a torch.nn.Module"),
        (f"{__name__}:small_factory", "1,three", "is no shape"),
        (f"{__name__}:small_factory", "1,3:float31", "torch has no type 'float31'"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path: Path, factory: str, shape: str, message: str) -> None:
    arguments = ["export-torch", factory, "-o", str(tmp_path / "a.onnx"), "--input-shape", shape]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and os.listdir(tmp_path) == []
    assert message in result.stderr and result.stderr.count("\n") == 1
