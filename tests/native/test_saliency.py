"""The saliency kernel against its NumPy twin, over layouts, types, threads and instruction sets."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import GradientError, InputError, native
from onnxplain import native_reference as numpy_twins

from support.native_arrays import FLOATS, Layout, gradients, layouts

SETS = native.available_instruction_sets()
NORMALIZATIONS: tuple[native.Normalization, ...] = ("max", "minmax", "percentile", "none")


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("ONNXPLAIN_ISA", name)
    return name


def assert_like_twin(
    found: npt.NDArray[np.float32], gradient: npt.NDArray[Any], axis: int | None, **options: Any
) -> None:
    expected = numpy_twins.saliency(gradient, channel_axis=axis, **options)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    if options["normalize"] == "none":
        np.testing.assert_array_max_ulp(found, expected, maxulp=1)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@given(
    layout=layouts(rank=st.integers(2, 5)),
    dtype=st.sampled_from(FLOATS),
    axis=st.none() | st.integers(1, 4),
    normalize=st.sampled_from(NORMALIZATIONS),
    percentile=st.sampled_from((0.0, 50.0, 99.0, 99.9, 100.0)) | st.floats(0, 100),
    seed=st.integers(0, 2**32 - 1),
    given_out=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_any_layout_agrees_with_the_twin_on_every_instruction_set(
    layout: Layout,
    dtype: type,
    axis: int | None,
    normalize: native.Normalization,
    percentile: float,
    seed: int,
    given_out: bool,
) -> None:
    gradient = layout.view(dtype, gradients(layout.shape, dtype, seed))
    before = gradient.copy()
    if axis is not None:
        axis = 1 + (axis - 1) % (gradient.ndim - 1)
        axis -= gradient.ndim * (seed % 2)
    results = []
    for name in SETS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNXPLAIN_ISA", name)
            out = None
            if given_out:
                shape = list(gradient.shape)
                if axis is not None:
                    del shape[axis]
                out = np.full(shape, np.nan, np.float32)
            found = native.saliency(gradient, channel_axis=axis, normalize=normalize, percentile=percentile, out=out)
        assert out is None or found is out
        assert_like_twin(found, before, axis, normalize=normalize, percentile=percentile)
        results.append(found)
    assert all(np.array_equal(result, results[0]) for result in results)
    assert np.array_equal(gradient, before)


# Large enough for threads: whole images; images beyond the cache's size written past it; one image in blocks;
# blocks of rows that do not lie end to end; few images with many channels.
LARGE: dict[str, tuple[tuple[int, ...], int | None, Any]] = {
    "images": ((7, 3, 211, 307), 1, np.s_[:]),
    "streamed": ((91, 1, 211, 223), 1, np.s_[:]),
    "one image": ((1, 3, 701, 903), 1, np.s_[:]),
    "one image, channels last": ((1, 701, 903, 3), 3, np.s_[:]),
    "rows apart": ((2, 3, 650, 900), 1, np.s_[:, :, 3:-2, 5:-1]),
    "upside down": ((2, 3, 650, 900), 1, np.s_[:, ::-1, ::-1, ::-2]),
    "many channels": ((2, 67, 150, 151), 1, np.s_[:]),
    "many channels last": ((2, 150, 151, 67), 3, np.s_[:]),
    "table": ((3, 400_000), None, np.s_[:]),
}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("case", LARGE)
def test_threads_change_nothing(case: str, threads: int, isa: str) -> None:
    shape, axis, window = LARGE[case]
    gradient = np.random.default_rng(5).standard_normal(shape, np.float32)[window]
    for normalize in NORMALIZATIONS:
        found = native.saliency(gradient, channel_axis=axis, normalize=normalize, threads=threads)
        assert_like_twin(found, gradient, axis, normalize=normalize)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8, 9, 16, 33])
@pytest.mark.parametrize("last", [False, True])
def test_each_channel_count(channels: int, last: bool, dtype: type, isa: str) -> None:
    shape = (2, 13, 29, channels) if last else (2, channels, 13, 29)
    gradient = gradients(shape, dtype, channels)
    found = native.saliency(gradient, channel_axis=-1 if last else 1, normalize="none")
    assert_like_twin(found, gradient, -1 if last else 1, normalize="none")


def test_channels_last_view_equals_channels_first(isa: str) -> None:
    planar = gradients((3, 3, 20, 31), np.float32, 1)
    view = planar.transpose(0, 2, 3, 1)
    copied = np.ascontiguousarray(view)
    assert np.array_equal(native.saliency(view, channel_axis=3), native.saliency(planar))
    assert np.array_equal(native.saliency(copied, channel_axis=3), native.saliency(planar))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_not_finite_names_the_image(
    value: float, dtype: type, axis: int, normalize: native.Normalization, isa: str
) -> None:
    for position in range(0, 17 * 19 * 3, 41):
        gradient = gradients((5, 17, 19, 3), dtype, 3)
        gradient[2].flat[position] = value
        gradient[4].flat[-1] = value
        with pytest.raises(GradientError, match=r"image 2 holds NaN or infinity \(2 of 5 images do\)"):
            native.saliency(gradient, channel_axis=axis, normalize=normalize)


def test_not_finite_is_found_in_blocks_and_by_threads(isa: str) -> None:
    for shape, image in (((1, 3, 701, 903), 0), ((6, 3, 400, 401), 5), ((91, 1, 211, 223), 88)):
        gradient = np.ones(shape, np.float32)
        gradient[image].flat[-1] = np.nan
        with pytest.raises(GradientError, match=rf"image {image} holds NaN or infinity \(1 of {shape[0]} "):
            native.saliency(gradient, threads=2)


def test_double_beyond_single_is_refused(isa: str) -> None:
    gradient = np.ones((2, 3, 4, 4))
    gradient[1, 0, 0, 0] = 1e39
    with pytest.raises(GradientError, match="image 1"):
        native.saliency(gradient)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_flat_zero_map_stays_zero(normalize: native.Normalization, isa: str) -> None:
    gradient = np.zeros((2, 3, 9, 21), np.float32)
    gradient[:, 1] = -0.0
    found = native.saliency(gradient, normalize=normalize)
    assert not found.any()
    assert not np.signbit(found).any()


def test_constant_map(isa: str) -> None:
    gradient = np.full((1, 3, 9, 21), -2.5, np.float32)
    assert (native.saliency(gradient, normalize="max") == 1).all()
    assert (native.saliency(gradient, normalize="percentile") == 1).all()
    assert (native.saliency(gradient, normalize="minmax") == 0).all()


def test_each_image_is_normalised_alone(isa: str) -> None:
    gradient = np.ones((3, 2, 8, 8), np.float32) * np.array([1, 1e-30, 1e30], np.float32)[:, None, None, None]
    gradient[:, :, 0, 0] /= 2
    found = native.saliency(gradient)
    assert (found.max(axis=(1, 2)) == 1).all()
    assert (found[:, 0, 0] == 0.5).all()


def test_zero_percentile_of_a_sparse_map_keeps_what_is_not_zero(isa: str) -> None:
    gradient = np.zeros((1, 1, 10, 10), np.float32)
    gradient[0, 0, 3, 4] = 1e-3
    found = native.saliency(gradient, normalize="percentile", percentile=50)
    assert np.array_equal(found[0] > 0, gradient[0, 0] > 0)
    assert found[0, 3, 4] == 1


def test_subnormal_maximum_is_divided_right(isa: str) -> None:
    tiny = np.float32(2) ** -149
    gradient = (tiny * np.arange(20, dtype=np.float32)).reshape(1, 1, 4, 5)
    assert np.array_equal(native.saliency(gradient)[0].ravel(), np.arange(20, dtype=np.float32) / np.float32(19))


@pytest.mark.parametrize(
    ("shape", "axis"), [((0, 3, 8, 8), 1), ((2, 3, 0, 8), 1), ((2, 0, 4, 5), 1), ((2, 4, 5, 0), 3), ((0, 0), None)]
)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_empty_extents(shape: tuple[int, ...], axis: int | None, normalize: native.Normalization, isa: str) -> None:
    found = native.saliency(np.empty(shape, np.float32), channel_axis=axis, normalize=normalize, threads=2)
    assert found.shape == tuple(extent for i, extent in enumerate(shape) if i != axis)
    assert not found.any()


@pytest.mark.parametrize(
    ("shape", "axis", "result"), [((4, 6), 1, (4,)), ((4, 6), None, (4, 6)), ((4, 2, 6), 1, (4, 6)), ((1, 1), -1, (1,))]
)
def test_low_ranks(shape: tuple[int, ...], axis: int | None, result: tuple[int, ...], isa: str) -> None:
    gradient = gradients(shape, np.float32, 8)
    found = native.saliency(gradient, channel_axis=axis)
    assert found.shape == result
    assert_like_twin(found, gradient, axis, normalize="max")


def test_many_axes() -> None:
    gradient = gradients((2, 1, 2, 1, 2, 3, 1, 2, 2, 1, 2, 2, 1, 2), np.float32, 8).transpose(
        0, 5, 3, 1, 2, 4, 12, 6, 11, 8, 9, 10, 7, 13
    )
    assert_like_twin(native.saliency(gradient, channel_axis=-1), gradient, -1, normalize="max")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradient": [[1.0]]}, "found list"),
        ({"gradient": np.zeros((2, 3), np.int64)}, "found int64"),
        ({"gradient": np.zeros((2, 3), ">f4")}, "native byte order; found >f4"),
        ({"gradient": np.zeros(3, np.float32)}, r"found shape \(3,\)"),
        ({"channel_axis": 0}, "found 0; axis 0 is the image"),
        ({"channel_axis": 4}, "channel_axis must be 1..3"),
        ({"channel_axis": -4}, "found -4"),
        ({"normalize": "mean"}, "one of max, minmax, percentile, none; found 'mean'"),
        ({"percentile": 100.5}, "found 100.5"),
        ({"percentile": float("nan")}, "found nan"),
        ({"threads": -1}, "found -1"),
        ({"out": np.zeros((2, 4, 5), np.float64)}, "out must be a NumPy array of float32; found float64"),
        ({"out": [0.0]}, "found list"),
        ({"out": np.zeros((2, 3, 4, 5), np.float32)}, r"shape \(2, 4, 5\); found \(2, 3, 4, 5\)"),
        ({"out": np.zeros((2, 5, 4), np.float32).swapaxes(1, 2)}, "C-contiguous"),
        ({"out": np.zeros(161, np.uint8)[1:].view(np.float32).reshape(2, 4, 5)}, "aligned"),
        ({"out": np.broadcast_to(np.float32(0), (2, 4, 5))}, "C-contiguous"),
        ({"out": np.frombuffer(bytes(160), np.float32).reshape(2, 4, 5)}, "read-only"),
    ],
)
def test_argument_errors(change: dict[str, Any], message: str) -> None:
    arguments = {"gradient": np.ones((2, 3, 4, 5), np.float32), **change}
    with pytest.raises(InputError, match=message):
        native.saliency(**arguments)


def test_out_may_not_overlap_the_gradient() -> None:
    memory = np.zeros(2 * 3 * 4 * 5 + 40, np.float32)
    gradient = memory[:120].reshape(2, 3, 4, 5)
    with pytest.raises(InputError, match="out overlaps gradient"):
        native.saliency(gradient, out=memory[100:140].reshape(2, 4, 5))
    beside = memory[120:160].reshape(2, 4, 5)
    assert native.saliency(gradient, out=beside) is beside


def test_instruction_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SETS[0] == "portable"
    assert set(SETS) <= {"portable", "avx2", "avx512"}
    monkeypatch.delenv("ONNXPLAIN_ISA", raising=False)
    assert native.instruction_set() == SETS[-1]
    for name in SETS:
        monkeypatch.setenv("ONNXPLAIN_ISA", name)
        assert native.instruction_set() == name


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 "])
def test_unknown_instruction_set_is_refused_by_every_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_ISA", name)
    message = f"ONNXPLAIN_ISA is '{name}', .* use one of portable"
    with pytest.raises(InputError, match=message):
        native.instruction_set()
    with pytest.raises(InputError, match=message):
        native.saliency(np.ones((1, 3, 2, 2), np.float32))
    with pytest.raises(InputError, match=message):
        native.overlay(np.ones((2, 2), np.float32), None, np.zeros((256, 3), np.uint8))


def test_kernels_of_several_python_threads_do_not_disturb_each_other() -> None:
    arrays = [np.random.default_rng(i).standard_normal((6, 3, 300, 301), np.float32) for i in range(4)]
    expected = [numpy_twins.saliency(array) for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, twin in zip(pool.map(lambda a: native.saliency(a, threads=3), arrays), expected):
                np.testing.assert_allclose(found, twin, rtol=0, atol=1e-6)


def test_gil_is_released_while_a_kernel_runs() -> None:
    gradient = np.random.default_rng(0).standard_normal((64, 3, 224, 224), np.float32)
    spans = []

    def work() -> None:
        begin = time.perf_counter()
        native.saliency(gradient, normalize="percentile", threads=1)
        spans.append((begin, time.perf_counter()))

    for _ in range(20):  # a busy machine may let this thread wait through one call, not through all
        worker = threading.Thread(target=work)
        ticks = []
        worker.start()
        while worker.is_alive():
            ticks.append(time.perf_counter())
        worker.join()
        begin, end = spans[-1]
        third = (end - begin) / 3
        if any(begin + third < tick < end - third for tick in ticks):
            return
    pytest.fail("no other Python thread ran in the middle of any of the calls")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_can_use_threads() -> None:
    program = """
import os, warnings
import numpy as np
from onnxplain import native
warnings.simplefilter("ignore")
gradient = np.random.default_rng(0).standard_normal((8, 3, 300, 301), np.float32)
expected = native.saliency(gradient, threads=3)
child = os.fork()
found = native.saliency(gradient, threads=3)
same = np.array_equal(found, expected)
if child == 0:
    tasks = "/proc/self/task"
    started = not os.path.isdir(tasks) or len(os.listdir(tasks)) == 3
    os._exit(0 if same and started else 1)
print(same, os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "0"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's affinities")
def test_threads_run_where_the_caller_may_but_not_on_its_core() -> None:
    program = """
import os
import numpy as np
from onnxplain import native
gradient = np.ones((8, 3, 300, 301), np.float32)
before = set(os.listdir("/proc/self/task"))
allowed = os.sched_getaffinity(0)
expected = native.saliency(gradient, threads=3)
started = [int(task) for task in set(os.listdir("/proc/self/task")) - before]
assert len(started) == 2, started
for task in started:
    there = os.sched_getaffinity(task)
    assert there < allowed and len(there) == len(allowed) - 1 or len(allowed) == 1, (there, allowed)
core = max(allowed)
os.sched_setaffinity(0, {core})
assert np.array_equal(native.saliency(gradient, threads=3), expected)
for task in started:
    assert os.sched_getaffinity(task) == {core}, os.sched_getaffinity(task)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mmap with a page that cannot be read")
def test_nothing_beyond_the_arrays_is_touched() -> None:
    program = """
import ctypes, mmap, os
import numpy as np
from onnxplain import native

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def fenced(shape, dtype, at_end):
    # An array that begins right after, or ends right before, a page without any permission.
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (address, address + (pages + 1) * PAGE):
        assert libc.mprotect(fence, PAGE, 0) == 0
    start = PAGE + (pages * PAGE - size if at_end else 0)
    array = np.frombuffer(memory, np.uint8)[start : start + size].view(dtype).reshape(shape)
    array[...] = 1
    return array

for name in native.available_instruction_sets():
    os.environ["ONNXPLAIN_ISA"] = name
    for at_end in (False, True):
        for width in (1, 15, 16, 17, 48, 51):
            for channels in (1, 2, 3, 4, 5, 17):
                for dtype in (np.float16, np.float32, np.float64):
                    for axis, shape in ((1, (1, channels, 2, width)), (3, (1, 2, width, channels))):
                        gradient = fenced(shape, dtype, at_end)
                        out = fenced((1, 2, width), np.float32, at_end)
                        for reduction in ("max_abs", "sum"):
                            found = native.saliency(gradient, channel_axis=axis, reduction=reduction, out=out)
                            assert (found == 1).all()
                        total, squares = (fenced(shape[1:], np.float64, at_end) for _ in range(2))
                        native.accumulate(gradient, total, squares)
                        assert (total == 2).all() and (squares == 2).all()
            noisy = fenced((2, width), np.float32, at_end)
            native.add_noise(fenced((2, width), np.float32, at_end), 1, 0, out=noisy)
            maps, photo = fenced((2, width), np.float32, at_end), fenced((2, width, 3), np.uint8, at_end)
            colormap = fenced((256, 3), np.uint8, at_end)
            native.overlay(maps, photo, colormap, out=fenced((2, width, 3), np.uint8, at_end))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
