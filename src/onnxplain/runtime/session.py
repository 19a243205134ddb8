"""One loaded model in ONNX Runtime."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import InputError, ProviderError, StoppedError
from .bound import BoundRuns
from .operators.library import library
from .operators.report import Report
from .providers import CPU, CUDA, Provider, ProviderWarning, import_runtime, load_cuda_libraries, requested, usable
from .stopping import run_options
from .weights import LARGE, weights_beside

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]


class Value(Protocol):
    """A value where ONNX Runtime put it: its OrtValue."""

    def numpy(self) -> Array:
        """Return it as an array."""


#: 0 verbose ... 3 errors, 4 fatal. ONNX Runtime's errors arrive as exceptions, so its log stays silent.
_FATAL_ONLY = 4


class Session:
    """A model loaded once and run often; safe to run from several threads.

    ``provider`` is the execution provider that runs the model: the first of those asked for that ONNX
    Runtime gave nodes to; ``node_counts`` says how many nodes each got (empty where ONNX Runtime is too
    old to tell). ``operators`` says which operators of ours the model has.
    """

    def __init__(
        self,
        model: onnx.ModelProto | bytes | Path,
        *,
        providers: str | Sequence[Provider] | None = None,
        threads: int = 0,
        folder: Path | None = None,
        save_to: Path | None = None,
        optimised: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Load ``model``.

        Args:
            model: a model, its bytes or its file; smaller than 2 GB without the weights that it keeps in files.
            folder: where those files are; ONNX Runtime reads them by itself (1.21 and later).
            providers: as in ONNX Runtime, names or (name, options) pairs in order of preference; None is
                CUDA if present, then CPU.
            threads: threads within an operator on the CPU; 0 leaves the number to ONNX Runtime.
            save_to: where ONNX Runtime writes the model as it optimised it, for this processor and its own version,
                with large weights in :func:`weights_beside` it. That is all the session is for: it is not fast.
            optimised: whether ``model`` was written so, and is to be taken as it is, in the order of its nodes; it may
                have operators of ours.
            options: settings of ONNX Runtime that replace those made here: attributes of its SessionOptions by name
                (``enable_mem_pattern``), configuration entries by key (``session.intra_op.allow_spinning``).

        Raises:
            RuntimeMissingError: ONNX Runtime is not installed.
            InputError: an option that ONNX Runtime does not have, or a value that it does not take.
            ProviderError: a provider is unknown, or ONNX Runtime cannot load the model with them.

        Warns:
            ProviderWarning: a requested provider is not available, failed to start, or got no node.
        """
        self.operators = Report()
        runtime = import_runtime()
        available = runtime.get_available_providers()
        pairs = usable(providers)
        saving = {} if save_to is None else _saving(save_to)
        settings = _options(runtime, threads, folder, {**(options or {}), **saving})
        if save_to is not None:
            try:
                settings.optimized_model_filepath = str(save_to)
            except TypeError as error:  # the name is no UTF-8
                raise ProviderError(f"ONNX Runtime cannot write to {str(save_to)!r}: {_first_line(error)}") from error
        if optimised:
            settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            if "execution_order" not in (options or {}):
                settings.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
            operators = library()
            if operators is not None:
                settings.register_custom_ops_library(str(operators))
        if CUDA in (name for name, _ in pairs):
            load_cuda_libraries()
        try:
            self._session = runtime.InferenceSession(
                _loadable(model), settings, [name for name, _ in pairs], [given for _, given in pairs]
            )
        except ProviderError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            names = ", ".join(name for name, _ in pairs)
            raise ProviderError(f"ONNX Runtime cannot load the model with {names}: {_first_line(error)}") from error
        started: list[str] = self._session.get_providers()
        self.node_counts = _node_counts(self._session)
        self.provider = next((n for n in started if not self.node_counts or self.node_counts.get(n)), started[0])
        self._bound = _bound_runs(self._session, dict(pairs).get(CUDA, {})) if self.provider == CUDA else None
        if providers is not None:
            for name, _ in requested(providers):
                self._warn_unless_given(name, available, started)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Return the named outputs, in order.

        Raises:
            ProviderError: ONNX Runtime failed; the message has its first line.
            StoppedError: a :class:`~.stopping.Stop` ended it.
        """
        try:
            with run_options() as options:
                if self._bound is not None:
                    return self._bound.run(feeds, outputs, options)
                results: list[Array] = self._session.run(list(outputs), dict(feeds), options)
        except StoppedError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            raise ProviderError(f"ONNX Runtime failed on {shapes}: {_first_line(error)}") from error
        return results

    @property
    def output_types(self) -> dict[str, str]:
        """The outputs, each with its type as ONNX Runtime writes it: "tensor(float)"."""
        return {output.name: output.type for output in self._session.get_outputs()}

    def run_values(self, feeds: Mapping[str, Array | Value], outputs: Sequence[str]) -> dict[str, Value]:
        """Return the named outputs by name, without copies; of ``feeds`` only the inputs of the model are taken.

        Raises:
            ProviderError: ONNX Runtime failed; the message has its first line.
        """
        runtime = import_runtime()
        taken = {name: feeds[name] for name in (one.name for one in self._session.get_inputs())}
        values = {
            name: runtime.OrtValue.ortvalue_from_numpy(np.asarray(one, order="C"))
            if isinstance(one, np.ndarray)
            else one
            for name, one in taken.items()
        }
        try:
            found = self._session.run_with_ort_values(list(outputs), values)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            shapes = ", ".join(
                f"{name} {list(one.shape)}" for name, one in taken.items() if isinstance(one, np.ndarray)
            )
            raise ProviderError(f"ONNX Runtime failed on {shapes}: {_first_line(error)}") from error
        return dict(zip(outputs, found))

    @property
    def compiles(self) -> bool:
        """Shapes need no preparation."""
        return False

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the processor's cores."""
        return self.provider == CPU

    def _warn_unless_given(self, name: str, available: Sequence[str], started: Sequence[str]) -> None:
        if name not in available:
            reason = f"this build of ONNX Runtime has only {', '.join(available)}"
        elif name == CUDA and name not in started:
            reason = 'it could not be started; its libraries come with pip install "onnxruntime-gpu[cuda,cudnn]"'
        elif name not in started:
            reason = "it could not be started"
        elif name != CPU and self.node_counts and not self.node_counts.get(name):
            reason = "it takes none of the model's nodes"
        else:
            return
        message = f"{name} was requested but not given: {reason}. {self.provider} runs."
        warnings.warn(message, ProviderWarning, frames_of_the_package())


def _loadable(model: onnx.ModelProto | bytes | Path) -> bytes | str:
    if isinstance(model, Path):
        return str(model)
    if isinstance(model, bytes):
        return model
    try:
        data: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's error for messages over 2 GB is a ValueError or an EncodeError
        raise ProviderError(f"the model cannot be handed to ONNX Runtime: {error}") from error
    return data


def frames_of_the_package() -> int:
    """Return how many callers, from the one of this function on, are in this package: a warning names the next one."""
    package, depth = __name__.partition(".")[0], 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, depth = frame.f_back, depth + 1
    return depth


def _options(runtime: Any, threads: int, folder: Path | None, chosen: Mapping[str, Any]) -> Any:
    """Return what was measured to be best, see ``docs/decisions``, with what the user chose in its place."""
    entries: dict[str, Any] = {
        # Worker threads that keep spinning after a run slow down whatever runs next.
        "session.force_spinning_stop": 1,
        # Weights stored as int8 behind DequantizeLinear are converted once at load instead of on every run.
        "session.disable_quant_qdq": 1,
        "session.record_ep_graph_assignment_info": 1,
    }
    if folder is not None:
        entries["session.model_external_initializers_file_folder_path"] = folder
        # Repacked weights are a second copy; without, those of the forward part stay mapped to the file.
        entries["session.disable_prepacking"] = 1
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads
    for name, value in chosen.items():
        if "." in name:
            entries[name] = value
        else:
            _set(options, runtime, name, value)
    for key, value in entries.items():
        options.add_session_config_entry(key, str(int(value)) if isinstance(value, bool) else str(value))
    return options


def _saving(file: Path) -> dict[str, object]:
    """Return the options of a session that is there to write its model: large weights beside it, none repacked."""
    beside = "session.optimized_model_external_initializers_"
    return {
        "enable_profiling": False,
        "session.disable_prepacking": 1,
        f"{beside}file_name": weights_beside(file).name,
        f"{beside}min_size_in_bytes": LARGE,
    }


def _set(options: Any, runtime: Any, name: str, value: Any) -> None:
    """Set an attribute; values of ONNX Runtime's enumerations are given by name ("ORT_ENABLE_BASIC")."""
    if name.startswith("_") or callable(getattr(options, name, print)):
        raise InputError(f"ONNX Runtime's SessionOptions have no {name!r}; keys of configuration entries have a dot.")
    enumeration = type(getattr(options, name))
    try:
        setattr(
            options,
            name,
            getattr(enumeration, value) if isinstance(value, str) and value in dir(enumeration) else value,
        )
    except TypeError as error:
        raise InputError(f"ONNX Runtime's option {name!r} cannot be {value!r}: {_first_line(error)}") from error


def _bound_runs(session: Any, options: Mapping[str, Any]) -> BoundRuns | None:
    """Runs on buffers that stay where they are, if CUDA's options ask for graphs; else None."""
    if str(options.get("enable_cuda_graph", 0)).lower() not in ("1", "true"):
        return None
    return BoundRuns(session, "cuda", int(options.get("device_id", 0)))


def _node_counts(session: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    if hasattr(session, "get_provider_graph_assignment_info"):
        for part in session.get_provider_graph_assignment_info():
            counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
