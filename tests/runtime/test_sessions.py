"""Sessions, providers and micro-batches over ONNX Runtime."""

from __future__ import annotations

import json
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from onnxplain import Explainer, InputError, ProviderError, RuntimeMissingError
from onnxplain.runtime import BatchedSession, ProviderWarning, Session, batching, side_by_side
from onnxplain.runtime.batching import _ARENA as ARENA
from onnxplain.runtime.batching import Plan
from onnxplain.runtime.memory import available_memory, bytes_per_sample, without_weights
from onnxplain.runtime.providers import CUDA, full_name, load_cuda_libraries, named, requested
from onnxplain.runtime.workers import in_worker

from support import small_models as small

CPU = "CPUExecutionProvider"
AVAILABLE = onnxruntime.get_available_providers()
ABSENT = next(name for name in onnxruntime.get_all_providers() if name not in AVAILABLE)


def batched(model: onnx.ModelProto, **options: Any) -> BatchedSession:
    session = Session(model, providers=[CPU])
    return BatchedSession(session, without_weights(model), batched={"x"}, **{"fixed": None, **options})


def run_all(session: BatchedSession, x: np.ndarray) -> np.ndarray:
    return np.concatenate([session.run(part, ["logits"])[0] for _, part in session.split({"x": x})])


class Counter:
    """Counts the samples of every run of a session."""

    def __init__(self, session: BatchedSession, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        run = session.session.run

        def counted(feeds: Any, outputs: Any) -> Any:
            self.sizes.append(len(feeds["x"]))
            return run(feeds, outputs)

        monkeypatch.setattr(session.session, "run", counted)


def test_outputs_equal_those_of_a_plain_session() -> None:
    model, x = small.quadratic(), small.inputs(3)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU]).run(["logits"], {"x": x})[0]
    np.testing.assert_array_equal(Session(model, providers=[CPU], threads=1).run({"x": x}, ["logits"])[0], plain)


def order_of_run(model: Path, options: dict[str, Any]) -> list[str]:
    """The nodes of an optimised file in the order in which a session runs them."""
    profile = {"enable_profiling": True, "profile_file_prefix": str(model.with_suffix(""))}
    session = Session(model, providers=[CPU], threads=1, optimised=True, options={**profile, **options})
    session.run({"x": np.ones(2, np.float32)}, ["y"])
    events = json.loads(Path(session._session.end_profiling()).read_text())
    return [e["name"].removesuffix("_kernel_time") for e in events if e["name"].endswith("_kernel_time")]


def test_an_optimised_file_runs_in_the_order_of_its_nodes(tmp_path: Path) -> None:
    steps = [("Sqrt", ["x"], "a"), ("Neg", ["x"], "b"), ("Abs", ["a"], "c"), ("Add", ["c", "b"], "y")]
    nodes = [helper.make_node(kind, inputs, [output], kind) for kind, inputs, output in steps]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph(nodes, "steps", values[:1], values[1:])
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    assert order_of_run(file, {}) == [node.name for node in nodes]
    assert order_of_run(file, {"execution_order": "DEFAULT"}) != [node.name for node in nodes]


def test_no_providers_means_cuda_if_present_else_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU])
    assert requested(None) == [(CPU, {})]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    assert requested(None) == [("CUDAExecutionProvider", {}), (CPU, {})]


def test_providers_are_as_in_onnx_runtime() -> None:
    options = {"arena_extend_strategy": "kSameAsRequested"}
    assert requested([("CUDAExecutionProvider", options), CPU]) == [("CUDAExecutionProvider", options), (CPU, {})]
    assert requested(CPU) == [(CPU, {})]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = Session(small.quadratic(), providers=[(CPU, {})])
    assert session.provider == CPU
    assert session.node_counts in ({}, {CPU: sum(session.node_counts.values())})


def test_short_names_of_providers() -> None:
    assert full_name("cuda") == "CUDAExecutionProvider"
    assert full_name("CPU") == CPU
    assert full_name("nonsense") == "nonsense"


def test_providers_with_the_number_of_a_device() -> None:
    assert named("cuda:1") == ("CUDAExecutionProvider", {"device_id": "1"})
    assert named("TensorrtExecutionProvider:0") == ("TensorrtExecutionProvider", {"device_id": "0"})
    assert (named("cuda"), named("cpu")) == ("CUDAExecutionProvider", CPU)
    for text in ("cuda:", "cuda:-1", "cuda:one", "cuda:1:2", "cpu:0", "cuda:\u0661"):
        with pytest.raises(ProviderError, match="the number of a GPU"):
            named(text)


def test_cuda_gets_its_options_and_its_libraries_are_loaded_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ONNX Runtime is handed where it has CUDA; here the CPU stands in for it, so that CUDA does not start."""
    happened: list[Any] = []
    session = onnxruntime.InferenceSession

    def load(model: Any, options: Any, providers: Any, settings: Any) -> Any:
        happened.append(list(zip(providers, settings)))
        return session(model, options, [CPU])

    def preload() -> None:
        print("Failed to load libcudart.so")
        happened.append("libraries")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", load)
    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    load_cuda_libraries.cache_clear()
    with pytest.warns(ProviderWarning, match=rf'{CUDA} was requested but not given.*"onnxruntime-gpu.*{CPU} runs'):
        assert Session(small.quadratic(), providers=[named("cuda:1"), named("cpu")]).provider == CPU
    Session(small.quadratic())
    Session(small.quadratic(), providers=[CPU])
    handed = [(CUDA, {"device_id": "1"}), (CPU, {})]
    assert happened == ["libraries", handed, [(CUDA, {}), (CPU, {})], [(CPU, {})]]
    assert capsys.readouterr().out == ""


def test_a_requested_provider_that_is_not_given_warns_and_the_next_one_runs() -> None:
    with pytest.warns(ProviderWarning, match=rf"{ABSENT} was requested but not given.*{CPU} runs"):
        session = Session(small.quadratic(), providers=[ABSENT, CPU])
    assert session.provider == CPU
    with pytest.warns(ProviderWarning, match=ABSENT):
        assert Explainer(small.quadratic(), providers=[ABSENT]).provider == CPU


@pytest.mark.skipif("AzureExecutionProvider" not in AVAILABLE, reason="needs a provider that takes no nodes")
def test_a_provider_that_runs_nothing_did_not_run() -> None:
    with pytest.warns(ProviderWarning, match="takes none of the model's nodes"):
        session = Session(small.quadratic(), providers=["AzureExecutionProvider", CPU])
    assert session.provider == CPU


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        (["FooExecutionProvider"], f"'FooExecutionProvider'; available here: .*{CPU}"),
        ([], "empty"),
        ([3], "found 3"),
        ([(CPU, {}, 1)], "pair"),
        ([(CPU, "x")], "pair"),
    ],
)
def test_wrong_providers_are_refused(providers: Any, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        Session(small.quadratic(), providers=providers)


def test_missing_runtime_names_the_pip_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "onnxplain\[cpu\]"') as caught:
        Session(small.quadratic())
    assert 'pip install "onnxplain[gpu]"' in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_a_model_that_onnx_runtime_cannot_load_is_one_line() -> None:
    with pytest.raises(ProviderError, match="cannot load the model") as caught:
        Session(small.unsupported(), providers=[CPU])
    assert "\n" not in str(caught.value)


def reshapes_wrongly() -> onnx.ModelProto:
    """Runs with one sample only."""
    return small.build(
        [helper.make_node("Reshape", ["x", "shape"], ["logits"])],
        [("x", small.FLOAT, ["N", 3, 4, 4])],
        [("logits", small.FLOAT, ["N", 48])],
        {"shape": np.array([1, 48])},
    )


def test_a_failing_run_says_so_in_one_line_and_what_to_try() -> None:
    session = batched(reshapes_wrongly())
    with pytest.raises(ProviderError, match=r"failed on x \[2, 3, 4, 4\].*pass batch_size=1") as caught:
        run_all(session, small.inputs(2))
    assert "\n" not in str(caught.value)
    assert run_all(batched(reshapes_wrongly(), batch_size=1), small.inputs(3)).shape == (3, 48)


def quantized() -> onnx.ModelProto:
    """A matrix product whose int8 weights pass through DequantizeLinear."""
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["W"], axis=1),
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "W"], ["logits"]),
    ]
    constants = {
        "q": rng.integers(-127, 128, (48, 5)).astype(np.int8),
        "scale": rng.uniform(0.01, 0.1, 5).astype(np.float32),
    }
    return small.build(nodes, [("x", small.FLOAT, ["N", 3, 4, 4])], [("logits", small.FLOAT, ["N", 5])], constants)


def test_dequantized_weights_are_folded_at_load_and_change_nothing() -> None:
    model, x = quantized(), small.inputs(4)
    session = Session(model, providers=[CPU])
    exact = x.reshape(4, -1).astype(np.float64) @ (
        onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
        * onnx.numpy_helper.to_array(model.graph.initializer[1])
    )
    np.testing.assert_allclose(session.run({"x": x}, ["logits"])[0], exact, rtol=1e-5, atol=1e-5)
    options = session._session.get_session_options()
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_dequantize_is_gone_from_the_optimized_graph(tmp_path: Any) -> None:
    """The option does what it is set for; without it the conversion stays in the graph."""
    left = {}
    for value in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", value)
        options.optimized_model_filepath = str(tmp_path / f"{value}.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(quantized().SerializeToString(), options, [CPU])
        left[value] = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert "DequantizeLinear" not in left["1"]
    assert left["0"] & {"DequantizeLinear", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits"}


@pytest.mark.parametrize(("size", "expected"), [(None, [17]), (3, [3, 3, 3, 3, 3, 2]), (100, [17])])
def test_micro_batches(size: int | None, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    session, x = batched(small.quadratic(), batch_size=size), small.inputs(17)
    counter = Counter(session, monkeypatch)
    np.testing.assert_allclose(run_all(session, x), small.quadratic_scores(x), rtol=1e-5, atol=1e-5)
    assert counter.sizes == expected


def test_a_fixed_batch_is_filled_up_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    session, x = batched(small.quadratic(batch=4), fixed=4), small.inputs(6)
    counter = Counter(session, monkeypatch)
    np.testing.assert_allclose(run_all(session, x), small.quadratic_scores(x), rtol=1e-5, atol=1e-5)
    assert counter.sizes == [4, 4]


def test_memory_limits_the_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = small.inputs(5)
    need = 4 * (48 + 48 + 48)  # x, its squares, and the flattened squares, while Flatten runs
    session = batched(small.quadratic(), memory_limit=2 * ARENA * need)
    counter = Counter(session, monkeypatch)
    run_all(session, x)
    assert counter.sizes == [2, 2, 1]
    assert batched(small.quadratic(), memory_limit=1).size({"x": x}) == 1


@pytest.mark.parametrize("option", ["batch_size", "memory_limit"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_wrong_sizes_are_refused(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=option):
        batched(small.quadratic(), **{option: value})


def test_a_batch_size_beside_a_fixed_batch_is_refused() -> None:
    with pytest.raises(InputError, match="fixes the batch at 3, so batch_size=2"):
        Explainer(small.quadratic(batch=3), batch_size=2)


def test_bytes_per_sample_follow_the_input_size() -> None:
    """x, a 1x1 convolution to 4 channels, squares; the convolution's result is dead when the pool runs."""
    model = without_weights(small.any_size())
    for height, width in ((5, 7), (50, 70)):
        pixels = height * width
        assert bytes_per_sample(model, {"x": (9, 3, height, width)}, frozenset({"x"})) == 4 * (3 + 4 + 4) * pixels


def test_available_memory_is_a_plausible_number_of_bytes() -> None:
    assert 1 << 24 < available_memory() < 1 << 50


def test_an_explainer_never_makes_a_session_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = onnxruntime.InferenceSession

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()))
    counts = []
    for _ in range(4):
        explainer.attribute(small.inputs(2))
        explainer.saliency(small.inputs(2), "top2")
        explainer.explain(small.picture())
        counts.append(len(made))
    # One that writes the optimised model, one that has it, two halves from the second "top2" on.
    assert counts[0] <= 2 and counts[1:] == [counts[0] + 2] * 3
    for _ in range(3):
        explainer.scores(small.inputs(2))
    assert len(made) == counts[-1] + 2


def test_threads_share_a_session() -> None:
    explainer, x = Explainer(small.quadratic()), small.inputs(16)
    expected = explainer.attribute(x)
    found: list[Any] = [None] * 4

    def work(index: int) -> None:
        found[index] = explainer.attribute(x)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for one in found:
        np.testing.assert_array_equal(one, expected)


class Cores:
    """A model on four cores, and the sizes of all runs: on one core each, and on all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: onnx.ModelProto | None = None, **options: Any) -> None:
        model = small.quadratic() if model is None else model
        monkeypatch.setattr(batching, "_WORKING_SET", 1)
        self.alone: list[int] = []
        self.together: list[int] = []
        self.loaded = 0
        self._model, self._patch = model, monkeypatch
        self.session = BatchedSession(
            self._watched(Session(model, providers=CPU), self.together),
            without_weights(model),
            **{"batched": {"x"}, "fixed": None, "single": self._single, "threads": 4, **options},
        )

    def _single(self) -> Session:
        self.loaded += 1
        return self._watched(Session(self._model, providers=CPU, threads=1), self.alone)

    def _watched(self, session: Session, sizes: list[int]) -> Session:
        run = session.run

        def counted(feeds: Any, outputs: Any) -> Any:
            sizes.append(len(feeds["x"]))
            return run(feeds, outputs)

        self._patch.setattr(session, "run", counted)
        return session

    def check(self, count: int) -> None:
        x = small.inputs(count)
        found = self.session.run({"x": x}, ["logits"])[0]
        np.testing.assert_allclose(found, small.quadratic_scores(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "alone", "together"),
    [
        (1, [], [1]),
        (2, [], [2]),
        (3, [], [3]),  # not one for each core
        (4, [1, 1, 1, 1], []),
        (6, [1, 1, 2, 2], []),
        (8, [2, 2, 2, 2], []),
        (9, [1, 1, 1, 1, 1, 1, 1, 2], []),
        (17, [1] * 7 + [2] * 5, []),
    ],
)
def test_a_run_for_each_core(
    count: int, alone: list[int], together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = Cores(monkeypatch)
    cores.check(count)
    assert (sorted(cores.alone), cores.together) == (alone, together)
    assert cores.loaded == bool(alone)
    cores.check(8)
    assert cores.loaded == 1  # when first needed, and once


def test_a_run_for_each_core_with_a_fixed_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(monkeypatch, small.quadratic(batch=2), fixed=2)
    cores.check(7)
    assert (cores.alone, cores.together) == ([], [2, 2, 2, 2])
    cores.check(9)
    assert cores.alone == [2, 2, 2, 2, 2]


def test_the_sizes_that_users_choose_are_what_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": small.inputs(50)}
    for size, plan in {1: Plan(1, 1), 2: Plan(2, 1), 4: Plan(4, 1), 7: Plan(4, 1), 12: Plan(4, 3)}.items():
        cores = Cores(monkeypatch, batch_size=size)
        assert cores.session.plan(feeds) == plan
        assert cores.session.size(feeds) == plan.runs * plan.samples
        assert (cores.session.workers, cores.session.share) == (plan.runs, plan.samples)
    need = 4 * (48 + 48 + 48)
    for limit, plan in {1: Plan(1, 1), 3: Plan(1, 3), 4: Plan(4, 1), 8: Plan(4, 2), 100: Plan(4, 2)}.items():
        assert Cores(monkeypatch, memory_limit=limit * ARENA * need).session.plan(feeds) == plan
    assert Cores(monkeypatch, threads=1).session.plan(feeds) == Plan(1, 8)
    assert batched(small.quadratic(), threads=4).plan(feeds).runs == 1  # nothing to load for one core


def test_small_samples_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": small.inputs(1)}
    need = 4 * (48 + 48 + 48)
    for working_set, samples in {1: 2, 10 * need: 10, 1 << 40: 256}.items():
        session = Cores(monkeypatch).session
        monkeypatch.setattr(batching, "_WORKING_SET", working_set)
        assert session.plan(feeds) == Plan(4, samples)


def test_within_a_worker_a_run_stays_on_its_core(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(monkeypatch)
    list(side_by_side(cores.check, [5, 1, 4], 3))
    assert sorted(cores.alone) == [1, 1, 2, 2, 2, 2]
    assert cores.together == [] and cores.loaded == 1


def test_side_by_side_keeps_order_and_few_ahead() -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> tuple[int, bool]:
        time.sleep(0.01 * (number % 3 == 0))
        return number, in_worker()

    found = side_by_side(work, items(), 3)
    assert [next(found) for _ in range(5)] == [(number, True) for number in range(5)]
    assert len(taken) <= 5 + 3
    assert any(thread.name.startswith("onnxplain") for thread in threading.enumerate())
    found.close()
    assert not any(thread.name.startswith("onnxplain") for thread in threading.enumerate())
    assert list(side_by_side(work, range(3), 1)) == [(0, False), (1, False), (2, False)]


def test_side_by_side_raises_in_the_place_of_the_result() -> None:
    found = side_by_side(lambda number: 1 // number, [1, 2, 0, 3], 2)
    assert [next(found), next(found)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert not any(thread.name.startswith("onnxplain") for thread in threading.enumerate())
