"""Samples that wait run together where they are of one kind, and nobody waits for those who have left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from onnxplain import InputError, StoppedError
from onnxplain.serve.batching import Lane, Task


class Runner:
    """Doubles numbers, notes the batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, samples: Sequence[int]) -> list[int | InputError]:
        self.batches.append(list(samples))
        assert self.go.wait(20)
        return [InputError("odd.") if one == 13 else 2 * one for one in samples]

    def task(self, number: int, key: object = "a", most: int = 4) -> Task[int, int]:
        return Task(key, number, self, most, lambda: None)


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def lane() -> Iterator[Lane[int, int]]:
    found: Lane[int, int] = Lane("test", patience=0.2, expecting=lambda: 0, observe=lambda _: None)
    yield found
    found.close()


def _until(done: object) -> None:
    end = time.monotonic() + 20
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def test_those_of_one_kind_run_together_oldest_first(lane: Lane[int, int], runner: Runner) -> None:
    first = runner.task(0)
    lane.submit([first])
    _until(lambda: runner.batches)
    waiting = [runner.task(number, "b" if number in (2, 5) else "a") for number in range(1, 9)]
    lane.submit(waiting)
    runner.go.set()
    assert [one.future.result(20) for one in waiting] == [2 * number for number in range(1, 9)]
    assert runner.batches == [[0], [1, 3, 4, 6], [2, 5], [7, 8]]


def test_an_error_is_that_of_its_sample(lane: Lane[int, int], runner: Runner) -> None:
    tasks = [runner.task(number) for number in (1, 13, 2)]
    runner.go.set()
    lane.submit(tasks)
    assert (tasks[0].future.result(20), tasks[2].future.result(20)) == (2, 4)
    with pytest.raises(InputError, match="odd"):
        tasks[1].future.result(20)


def test_those_who_left_never_run(lane: Lane[int, int], runner: Runner) -> None:
    lane.submit([runner.task(0)])
    _until(lambda: runner.batches)
    gone, stays = runner.task(1), runner.task(2)
    lane.submit([gone, stays])
    gone.leave()
    runner.go.set()
    assert stays.future.result(20) == 4
    assert runner.batches == [[0], [2]]


def test_a_run_ends_once_nobody_waits_for_it(lane: Lane[int, int], runner: Runner) -> None:
    tasks = [runner.task(1), runner.task(2)]
    lane.submit(tasks)
    _until(lambda: runner.batches)
    audience = tasks[0].audience
    assert audience is not None and not audience.stop.stopped
    tasks[0].leave()
    assert not audience.stop.stopped
    tasks[1].leave()
    assert audience.stop.stopped
    runner.go.set()


def test_a_batch_waits_for_those_that_are_read_and_not_longer(runner: Runner) -> None:
    reading = 1
    lane: Lane[int, int] = Lane("test", patience=0.3, expecting=lambda: reading, observe=lambda _: None)
    runner.go.set()
    began = time.monotonic()
    first, second = runner.task(1), runner.task(2)
    lane.submit([first])
    time.sleep(0.05)
    lane.submit([second])
    assert first.future.result(20) == 2 and second.future.result(20) == 4
    assert runner.batches == [[1, 2]]
    assert 0.25 < time.monotonic() - began < 5
    reading = 0
    lane.close()


def test_stopped_runs_are_errors(lane: Lane[int, int]) -> None:
    def stopped(samples: Sequence[int]) -> list[int | InputError]:
        raise StoppedError("stopped.")

    task: Task[int, int] = Task("a", 1, stopped, 4, lambda: None)
    lane.submit([task])
    with pytest.raises(StoppedError):
        task.future.result(20)
