"""Prepared models on disk: used again, made anew when anything differs, whole or absent, bounded."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import onnxplain
from onnxplain import Explainer, InputError, files
from onnxplain.autodiff import explainable
from onnxplain.autodiff.explainable import DifferentiatedModel
from onnxplain.autodiff.request import Request
from onnxplain.autodiff.reverse import registry
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.cli import app
from onnxplain.files import unfinished_folder
from onnxplain.model import entries as model_entries
from onnxplain.runtime import CPU, ModelCache, Session, cache, open_cache
from onnxplain.signature import Signature

from support import small_models as small

X = small.inputs(3)
TARGET = np.array([0, 3, 1])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with every differentiation."""
    seen: list[Any] = []
    build = DifferentiatedModel.build

    def watched(source: Any, request: Request) -> DifferentiatedModel:
        seen.append(request)
        return build(source, request)

    monkeypatch.setattr(DifferentiatedModel, "build", watched)
    return seen


def entries(place: Path) -> list[str]:
    return sorted(os.listdir(place)) if place.exists() else []


def assert_right(explainer: Explainer) -> None:
    expected = small.quadratic_gradient(X, TARGET)
    np.testing.assert_allclose(explainer.attribute(X, TARGET), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(explainer.scores(X), small.quadratic_scores(X), rtol=1e-5, atol=1e-5)


def convolutions(channels: int = 32) -> onnx.ModelProto:
    """Convolutions with as many channels as a block has."""
    rng = np.random.default_rng(0)
    weights = {
        "A": rng.standard_normal((channels, 3, 3, 3)).astype(np.float32),
        "B": rng.standard_normal((channels, channels, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "A"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "B"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["b"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    return small.build(
        nodes, [("x", TensorProto.FLOAT, ["N", 3, 8, 8])], [("y", TensorProto.FLOAT, ["N", channels])], weights
    )


def test_a_model_is_differentiated_once(place: Path, builds: list[Any]) -> None:
    for _ in range(3):
        assert_right(Explainer(small.quadratic(), cache=place))
    assert len(builds) == 2  # with gradients, and for the scores alone
    assert len(entries(place)) == 2


def test_path_bytes_and_proto_are_the_same_model(place: Path, builds: list[Any], tmp_path: Path) -> None:
    onnx.save(small.quadratic(), tmp_path / "model.onnx")
    data = (tmp_path / "model.onnx").read_bytes()
    for source in (tmp_path / "model.onnx", str(tmp_path / "model.onnx"), data, onnx.load_model_from_string(data)):
        Explainer(source, cache=place)
    assert len(builds) == 1


def test_a_kept_model_says_the_same_of_itself(place: Path) -> None:
    model = small.quadratic(ending="Softmax", metadata=small.image_metadata())
    first, second = (Explainer(model, cache=place) for _ in range(2))
    assert first._model == second._model
    assert first.labels == second.labels and first.preprocessing == second.preprocessing
    assert Signature.from_dict(json.loads(json.dumps(first._model.to_dict()))) == first._model
    photo = small.picture()
    ones, others = first.explain([photo] * 3), second.explain([photo] * 3)
    for one, other in zip(ones, others):
        np.testing.assert_array_equal(one.saliency, other.saliency)
        assert one.to_dict() == other.to_dict()


def test_the_optimised_model_is_kept_in_its_layout(place: Path) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    maps = [Explainer(convolutions(), providers=CPU, cache=place).saliency(x, 3) for _ in range(2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    (entry,) = place.iterdir()
    kept = onnx.load(entry / "model.onnx")
    if "avx2" in onnxplain.native.available_instruction_sets():
        assert "com.microsoft.nchwc" in {node.domain for node in kept.graph.node}


def test_what_differs_is_made_anew(place: Path, builds: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.quadratic(ending="Softmax")
    for number, options in enumerate([{}, {"score": "probability"}, {"tensor": "logits"}, {"wrt": "x"}], 1):
        Explainer(model, cache=place, **options)
        assert len(builds) == number
    Explainer(small.quadratic(), cache=place)
    assert len(builds) == 5
    for function in ("software", "processor"):
        with monkeypatch.context() as patch:
            patch.setattr(model_entries, function, lambda: ["another"])
            Explainer(model, cache=place)
    assert len(builds) == 7
    Explainer(model, cache=place, threads=3, batch_size=2)
    assert len(builds) == 7
    Explainer(model, cache=place, threads=1)  # has another form, see test_passes_provider.py
    assert len(builds) == 8


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "flipped": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "missing": Path.unlink,
    "nonsense": lambda path: path.write_bytes(b"[1]"),
}


@pytest.mark.parametrize("file", ["model.onnx", "graph.onnx", "facts.json", "checksums.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew(place: Path, builds: list[Any], file: str, damage: str) -> None:
    Explainer(small.quadratic(), cache=place)
    (entry,) = place.iterdir()
    DAMAGES[damage](entry / file)
    explainer = Explainer(small.quadratic(), cache=place)
    assert len(builds) == 2
    np.testing.assert_allclose(explainer.attribute(X, TARGET), small.quadratic_gradient(X, TARGET), rtol=1e-5)
    Explainer(small.quadratic(), cache=place)
    assert len(builds) == 2


def test_what_another_release_wrote_differently_is_made_anew(place: Path, builds: list[Any]) -> None:
    Explainer(small.quadratic(), cache=place)
    (entry,) = place.iterdir()
    (entry / "facts.json").write_text("{}")
    ModelCache(place).keep(entry.name, entry)  # with the right checksums
    Explainer(small.quadratic(), cache=place)
    assert len(builds) == 2


@pytest.mark.parametrize("taken_in", [0, explainable.TAKEN_IN])
def test_weights_outside_of_the_file_are_looked_at(
    place: Path, builds: list[Any], tmp_path: Path, taken_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainable, "TAKEN_IN", taken_in)

    def save(folder: str, scale: float) -> Path:
        model = small.build(
            [helper.make_node("MatMul", ["x", "W"], ["y"])],
            [("x", TensorProto.FLOAT, ["N", 200])],
            [("y", TensorProto.FLOAT, ["N", 200])],
            {"W": np.full((200, 200), scale, np.float32)},
        )
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "model.onnx"
        onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
        return path

    def gradient(path: Path) -> float:
        x = np.ones((2, 200), np.float32)
        return float(Explainer(path, cache=place).attribute(x, 0)[0, 0])

    one = save("one", 2)
    assert [gradient(one), gradient(one)] == [2, 2] and len(builds) == 1
    assert gradient(save("two", 3)) == 3  # the same file with other weights beside it
    assert gradient(one) == 2
    os.utime(one.parent / "weights", ns=(0, 0))
    assert gradient(one) == 2 and len(builds) == 3
    state, weights = (one.parent / "weights").stat(), one.parent / "weights"
    weights.write_bytes(np.full((200, 200), 5, np.float32).tobytes())
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))  # as rsync -t does
    assert weights.stat().st_size == state.st_size and gradient(one) == 5
    shutil.copytree(one.parent, tmp_path / "elsewhere")
    count = len(builds)
    assert gradient(tmp_path / "elsewhere" / "model.onnx") == 5 and len(builds) == count
    if not taken_in:
        assert sum(path.stat().st_size for path in place.glob("*/*")) < 50_000


@pytest.mark.parametrize("less", [0, 1])
def test_weights_outside_of_the_file_cost_no_speed(less: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that an exporter split is prepared as one that it did not, up to a size."""
    model = convolutions(64)
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    monkeypatch.setattr(explainable, "TAKEN_IN", size - less)
    onnx.save(model, tmp_path / "one.onnx")
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    one, two = (Explainer(tmp_path / f"{name}.onnx", providers=CPU, cache=False) for name in ("one", "two"))
    assert one.operators.fused and two.operators.fused == ({} if less else one.operators.fused)
    if not less:
        np.testing.assert_array_equal(one.attribute(x, 3), two.attribute(x, 3))
    else:
        np.testing.assert_allclose(one.attribute(x, 3), two.attribute(x, 3), atol=1e-5)


def test_rules_of_users_are_never_kept(place: Path, builds: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    load = Explainer(small.quadratic(), cache=place)._attributor._loader.open
    assert len(entries(place)) == 1
    load("gradients", rules={"Mul": lambda emit, node, dy: [dy, dy]})
    assert len(entries(place)) == 1
    load("gradients", rules={"Mul": registry.newest("", "Mul").rule})  # type: ignore[union-attr]
    assert len(entries(place)) == 2
    monkeypatch.setattr(registry, "_REGISTRY", {key: dict(value) for key, value in registry._REGISTRY.items()})
    assert not registry.foreign()
    registry.vjp("Mine", domain="mine")(lambda emit, node, dy: dy)
    assert registry.foreign()
    count = len(builds)
    assert_right(Explainer(small.quadratic(), cache=place))
    assert len(builds) == count + 2 and len(entries(place)) == 2


def test_the_rules_of_the_package_are_its_own_wherever_they_stand() -> None:
    assert {one.rule.__module__.partition(".")[0] for one in registry.registrations()} == {"onnxplain"}
    assert registry.foreign() is False


def test_the_table_of_rules_is_asked_under_its_name() -> None:
    assert importlib.import_module(model_entries.REGISTRY) is registry
    program = (
        "import onnxplain\n"
        "from onnxplain.model.entries import _has_foreign_rules\n"
        "before = _has_foreign_rules()\n"
        "onnxplain.vjp('Mine', domain='mine')(lambda emit, node, dy: dy)\n"
        "print(before, _has_foreign_rules())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]


def test_the_least_recently_used_go_when_there_is_no_room(tmp_path: Path) -> None:
    def keep(store: ModelCache, key: str, size: int) -> None:
        with store.aside() as folder:
            assert folder is not None
            (folder / "model.onnx").write_bytes(bytes(size))
            store.keep(key, folder)

    store = ModelCache(tmp_path / "models", limit=3500)
    first, second, third, fourth = (character * 64 for character in "abcd")
    for time, key in enumerate((first, second, third)):
        keep(store, key, 1000)
        os.utime(store.folder / key / "checksums.json", (time, time))
    assert store.find(first) is not None  # used again
    keep(store, fourth, 1000)
    assert entries(store.folder) == [first, third, fourth]
    keep(store, second, 4000)
    assert entries(store.folder) == [first, third, fourth]  # larger than the limit
    assert store.count() == 3 and 3000 < store.size() <= 3500
    (store.folder / "mine.txt").write_text("not of the cache")
    assert store.clear() > 3000
    assert entries(store.folder) == ["mine.txt"]


def test_what_a_dead_process_left_is_removed(place: Path) -> None:
    left = place / f".{'0' * 16}.part"
    left.mkdir(mode=0o700, parents=True)
    with unfinished_folder(place) as living:
        files._SWEPT.clear()  # as another process, to which ``left`` is new
        left.mkdir(exist_ok=True)
        Explainer(small.quadratic(), cache=place)
        assert not left.exists() and living.exists()


def test_no_room_on_the_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert_right(Explainer(small.quadratic(), cache=tmp_path / "file"))

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert_right(Explainer(small.quadratic(), cache=tmp_path / "models"))
    assert entries(tmp_path / "models") == []


def test_a_model_that_cannot_be_written_optimised_is_loaded_all_the_same(
    place: Path, builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    init = Session.__init__

    def failing(self: Session, *args: Any, save_to: Path | None = None, **options: Any) -> None:
        if save_to is not None:
            raise onnxplain.ProviderError("no")
        init(self, *args, **options)

    monkeypatch.setattr(Session, "__init__", failing)
    for _ in range(2):
        np.testing.assert_allclose(
            Explainer(small.quadratic(), cache=place).attribute(X, TARGET),
            small.quadratic_gradient(X, TARGET),
            rtol=1e-5,
        )
    assert len(builds) == 2  # once more, because the first has given its weights away; the cache keeps it as it is


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "here"))
    Explainer(small.quadratic())
    assert len(entries(tmp_path / "here")) == 1
    Explainer(convolutions(), cache=False)
    assert len(entries(tmp_path / "here")) == 1
    for off in ("0", "off", "OFF"):
        monkeypatch.setenv("ONNXPLAIN_CACHE", off)
        assert open_cache() is None
        assert onnxplain.clear_cache() == 0
    assert open_cache(tmp_path) is not None  # asked for in so many words
    monkeypatch.delenv("ONNXPLAIN_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for platform, parts in {
        "linux": (".cache", "onnxplain"),
        "darwin": ("Library", "Caches", "onnxplain"),
        "win32": ("AppData", "Local", "onnxplain", "Cache"),
    }.items():
        monkeypatch.setattr(cache.sys, "platform", platform)
        found = open_cache()
        assert found is not None and found.folder == tmp_path.joinpath(*parts)
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found = open_cache()
    assert found is not None and found.folder == tmp_path / "xdg" / "onnxplain"
    with pytest.raises(InputError, match="cache is True, False or a folder; found 3"):
        Explainer(small.quadratic(), cache=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a folder; found 'a\\x00b'"):
        Explainer(small.quadratic(), cache="a\0b")


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "here"))
    Explainer(small.quadratic())
    runner = CliRunner()
    found = json.loads(runner.invoke(app, ["cache", "--json"]).stdout)
    assert found["folder"] == str(tmp_path / "here") and found["models"] == 1 and found["bytes"] > 1000
    onnx.save(small.quadratic(), tmp_path / "model.onnx")
    checked = json.loads(runner.invoke(app, ["check", str(tmp_path / "model.onnx"), "--json"]).stdout)
    assert checked["cache"] == found
    assert "0 models, 0 of" in runner.invoke(app, ["cache", "--clear"]).stdout
    assert entries(tmp_path / "here") == []
    monkeypatch.setenv("ONNXPLAIN_CACHE", "off")
    assert runner.invoke(app, ["cache"]).stdout == "off\n"


PROGRAM = """
import sys
import numpy as np, onnxplain
explainer = onnxplain.Explainer(sys.argv[1])
explanation = explainer.explain(sys.argv[2])
print([name for name in ("onnx", "onnx_ir", "onnxplain.autodiff", "tqdm", "torch") if name in sys.modules])
print(explanation.target, float(explanation.saliency.sum()))
"""


def test_processes_at_once_and_a_warm_start(place: Path) -> None:
    """All are right, one entry is there in the end; with it nothing is imported that would differentiate."""
    command = [sys.executable, "-c", PROGRAM, str(bundled_model()), str(bundled_photo())]
    environment = {**os.environ, "ONNXPLAIN_CACHE": str(place)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    at_once = [start() for _ in range(3)]
    results = [process.communicate(timeout=120)[0].splitlines() for process in at_once]
    assert [process.returncode for process in at_once] == [0, 0, 0]
    assert len(entries(place)) == 1 and entries(place)[0][0] != "."
    imported, result = start().communicate(timeout=120)[0].splitlines()
    assert imported == "[]"
    target, total = result.split()
    for _, other in results:
        assert other.split()[0] == target
        np.testing.assert_allclose(float(other.split()[1]), float(total), rtol=1e-5)


def test_small_weights_outside_count_too(place: Path, tmp_path: Path) -> None:
    """They are read into the differentiated model, which nothing of the file tells."""
    for scale in (2, 3):
        weight = numpy_helper.from_array(np.full((4, 4), scale, np.float32), "W")
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "W"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
            [weight],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        path = tmp_path / "model.onnx"
        (tmp_path / "weights").unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
        gradient = Explainer(path, cache=place).attribute(np.ones((1, 4), np.float32), 0)
        assert gradient.tolist() == [[scale] * 4]
