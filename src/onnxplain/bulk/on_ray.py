"""Shards on a Ray cluster: Ray Data hands them to actors, each with a model of its own, and replaces those that die.

The actors write the shards themselves, so the folder (like the photos and the model) is one that all machines see, and
the maps keep their shape. A shard that is written twice has one name, and so one file.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

from ..checks import install_hint
from ..errors import InputError, OnnxplainError, ProviderError, RuntimeMissingError
from .job import Job, Shard
from .meter import Meter
from .worker import BulkExplainer, Worker, Written


@dataclass(frozen=True)
class RayEngine:
    """Has shards written by actors of Ray.

    - ``address``: of a cluster, as Ray takes it ("auto", "host:6379"); None starts one on this machine.
    - ``actors``: how many; None is one for each GPU that is asked for, else one for each machine.
    - ``gpus``: GPUs of an actor, also fractions (0.5: two actors share one); None is 1 with a provider that needs one.
    """

    address: str | None = None
    actors: int | None = None
    gpus: float | None = None

    def __call__(self, job: Job, shards: Sequence[Shard], explainer: BulkExplainer, meter: Meter) -> Iterator[Written]:
        """Yield each shard when it is written.

        Raises:
            RuntimeMissingError: Ray is not installed.
            ProviderError: Ray cannot be started, or gave up.
            OnnxplainError: what an actor raised.
        """
        gpus = self.gpus if self.gpus is not None else float(explainer.provider != "CPUExecutionProvider")
        ray = _import_ray()
        mine = not ray.is_initialized()
        try:
            with redirect_stdout(sys.stderr):  # where Ray says what it does
                if mine:
                    ray.init(address=self.address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                for written in self._written(ray, job, shards, gpus):
                    meter.add(written.photos, list(written.failures), written.errors)
                    yield written
        except OnnxplainError:
            raise
        except Exception as error:  # Ray's exceptions share no base class
            raise ProviderError(f"Ray failed: {_last_line(error)}") from error
        finally:
            if mine:
                with redirect_stdout(sys.stderr):
                    ray.shutdown()

    def _written(self, ray: Any, job: Job, shards: Sequence[Shard], gpus: float) -> Iterator[Written]:
        actors, cpus = self._actors(ray.cluster_resources(), len(ray.nodes()), gpus)
        threads = int(job.options.get("threads") or 0) or cpus
        job = replace(job, options={**job.options, "threads": threads})
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = [{"shard": pickle.dumps(shard)} for shard in shards]
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Actor,
            fn_constructor_args=(pickle.dumps(job),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
            num_cpus=cpus,
            num_gpus=gpus or None,
        )
        for row in found.iter_rows():
            outcome = pickle.loads(row["outcome"])
            if isinstance(outcome, OnnxplainError):
                raise outcome
            yield outcome

    def _actors(self, resources: dict[str, float], machines: int, gpus: float) -> tuple[int, int]:
        """Return how many actors there are, and the CPUs of each.

        Raises:
            InputError: the cluster has no GPU, and one is asked for.
        """
        if gpus and not resources.get("GPU"):
            raise InputError(f"--gpus {gpus:g}: the cluster has no GPU; leave the option out, or take --provider cpu.")
        usual = int(resources["GPU"] / gpus) if gpus else max(machines, 1)
        actors = self.actors or usual
        return actors, max(1, int(resources.get("CPU", 1)) // actors)


class _Actor:
    """A worker in a process of Ray's."""

    def __init__(self, job: bytes) -> None:
        self._job: Job = pickle.loads(job)
        self._worker: Worker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Write the shards of a batch; what comes of each, an error as it was raised."""
        outcomes: list[Written | OnnxplainError] = []
        try:
            self._worker = self._worker or Worker(self._job)
            outcomes += self._worker.write([pickle.loads(shard) for shard in batch["shard"]])
        except OnnxplainError as error:
            outcomes = [type(error)(str(error))]
        return {"outcome": [pickle.dumps(outcome) for outcome in outcomes]}


def _import_ray() -> Any:
    """Return the module ray, with ray.data.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise RuntimeMissingError(f"this engine needs Ray: {install_hint('ray')} on all machines.") from None
    return ray


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if text.endswith(".") else f"{text}."
