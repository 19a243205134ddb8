"""One loaded model in OpenVINO, on the CPU.

OpenVINO is fastest for shapes that it knows when it compiles a model: the shapes of the first few kinds of runs get a
compiled model each, all others share one that takes any shape.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, ProviderError, RuntimeMissingError, StoppedError
from .operators.report import Report
from .session import Array
from .stopping import ended_by

if TYPE_CHECKING:
    import onnx

#: What :attr:`OpenVinoSession.provider` is.
OPENVINO = "OpenVINO"
#: Shapes with a compiled model of their own. Those of a batch are one photo, many, and what is left at the end.
_SHAPES = 3

#: How lines of OpenVINO's messages begin that say nothing of the reason.
_NOT_TELLING = (
    "Exception from",
    "Check '",
    "FrontEnd API",
    "Model wasn't",
    "Summary:",
    "To facilitate",
    "Loading input",
)
_LONGEST_REASON = 300

#: The shapes of all inputs, in the order of the model's.
Shapes = tuple[tuple[int, ...], ...]


class Blobs:
    """Where compiled models are kept, by the shapes they were compiled for; this one keeps nothing."""

    def find(self, shapes: Shapes | None) -> bytes | None:
        """Return what OpenVINO exported for some shapes, or for any (None)."""
        return None

    def keep(self, shapes: Shapes | None, blob: Callable[[], bytes]) -> None:
        """Keep what ``blob`` exports."""


class OpenVinoSession:
    """A model loaded once and run often; safe to run from several threads."""

    provider = OPENVINO
    on_cpu = compiles = True

    def __init__(
        self,
        model: Callable[[], onnx.ModelProto],
        *,
        folder: Path | None = None,
        threads: int = 0,
        options: Mapping[str, Any] | None = None,
        blobs: Blobs | None = None,
        read: bool = True,
    ) -> None:
        """Take a model.

        Args:
            model: returns it; asked once at most.
            folder: where its large weights are, if it keeps them in files.
            threads: threads on the CPU; 0 leaves the number to OpenVINO.
            options: properties of OpenVINO by name, in the place of those chosen here.
            blobs: compiled models that were kept.
            read: whether to read the model now; else with the first shapes that ``blobs`` does not have.

        Raises:
            RuntimeMissingError: OpenVINO is not installed.
            ProviderError: OpenVINO cannot read the model.
        """
        import_openvino()
        self.operators = Report()
        self._proto, self._folder, self._blobs = model, folder, blobs or Blobs()
        self._settings = {**_settings(threads), **(options or {})}
        self._lock = threading.Lock()
        self._model: Any = None
        self._compiled: dict[Shapes | None, _Compiled] = {}
        if read:
            self._read()

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Return the named outputs, in order.

        Raises:
            InputError: a property that OpenVINO does not have, or a value that it does not take.
            ProviderError: OpenVINO cannot compile the model for these shapes, or failed; the message has its reason.
            StoppedError: a :class:`~.stopping.Stop` ended it.
        """
        compiled = self._compiled_for(tuple(feeds[name].shape for name in sorted(feeds)), feeds)
        try:
            return compiled.run(feeds, outputs)
        except StoppedError:
            raise
        except Exception as error:  # OpenVINO raises RuntimeError and others
            raise ProviderError(f"OpenVINO failed on {_described(feeds)}: {_reason(error)}") from error

    def _compiled_for(self, shapes: Shapes, feeds: Mapping[str, Array]) -> _Compiled:
        with self._lock:
            found = self._compiled.get(shapes)
            if found is None and len(self._compiled) >= _SHAPES:
                found, shapes_or_any = self._compiled.get(None), None
            else:
                shapes_or_any = shapes
            if found is None:
                found = self._compiled[shapes_or_any] = self._compile(shapes_or_any, feeds)
            return found

    def _compile(self, shapes: Shapes | None, feeds: Mapping[str, Array]) -> _Compiled:
        """Compile the model for the shapes of ``feeds``, or for any (None); or take what is kept."""
        core = _core()
        kept = self._blobs.find(shapes)
        if kept is not None:
            with suppress(Exception):  # of another build, or damaged: it is compiled anew
                return _Compiled(core.import_model(kept, "CPU", self._settings))
        model = self._read()
        try:
            fixed = model.clone()
            if shapes is not None:
                fixed.reshape({name: list(feeds[name].shape) for name in _names(model.inputs) if name in feeds})
            compiled = core.compile_model(fixed, "CPU", self._settings)
        except Exception as error:
            if "property" in str(error) or "option" in str(error).lower():
                raise InputError(f"OpenVINO does not take a property: {_reason(error)}") from error
            raise ProviderError(
                f"OpenVINO cannot compile the model for {_described(feeds)}: {_reason(error)}"
            ) from error
        self._blobs.keep(shapes, lambda: compiled.export_model().getvalue())
        return _Compiled(compiled)

    def _read(self) -> Any:
        """The model as OpenVINO reads it."""
        if self._model is None:
            proto = self._proto()
            try:
                self._model = _read_from(proto, self._folder)
            except Exception as error:
                raise ProviderError(f"OpenVINO cannot read the model: {_reason(error)}") from error
        return self._model


class _Compiled:
    """A compiled model, and what has run it: a request serves one run at a time."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._inputs = [_names([port])[0] for port in compiled.inputs]
        self._outputs = {name: index for index, port in enumerate(compiled.outputs) for name in port.names}
        self._free: list[Any] = []
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        with self._lock:
            request = self._free.pop() if self._free else self._compiled.create_infer_request()
        given = {name: np.asarray(feeds[name], order="C") for name in self._inputs}
        with ended_by(request.cancel):
            request.start_async(given, share_inputs=True)
            request.wait()
        found = [np.array(request.get_output_tensor(self._outputs[name]).data) for name in outputs]
        with self._lock:
            self._free.append(request)
        return found


def import_openvino() -> ModuleType:
    """Return the module ``openvino``.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise RuntimeMissingError(
            f'OpenVINO is missing; install it with pip install "onnxplain[openvino]" ({error}).'
        ) from error
    module: ModuleType = openvino
    return module


def version() -> str:
    """Return the version of OpenVINO, with its build."""
    found: str = import_openvino().__version__
    return found


@lru_cache(maxsize=1)
def _core() -> Any:
    return import_openvino().Core()


def _settings(threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        # On processors with half precision OpenVINO would compute in it.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # A pinned thread waits for its core, however many others are idle.
        "ENABLE_CPU_PINNING": False,
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def _read_from(proto: onnx.ModelProto, folder: Path | None) -> Any:
    """Read a model, with the weights that it keeps in files in ``folder``.

    OpenVINO looks for these beside a model's file, and follows no links out of there: both are written anew.
    """
    core = _core()
    if folder is None:
        return core.read_model(proto.SerializeToString(), b"")
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    onnx.load_external_data_for_model(whole, str(folder))
    with TemporaryDirectory(prefix="onnxplain-", ignore_cleanup_errors=True) as name:
        path = Path(name) / "model.onnx"
        onnx.save_model(whole, path, save_as_external_data=True, location="weights")
        return core.read_model(str(path))


def _names(ports: Sequence[Any]) -> list[str]:
    return [port.any_name for port in ports]


def _described(feeds: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())


def _reason(error: Exception) -> str:
    """OpenVINO's message without places in its sources, and without what it says of every failure."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_NOT_TELLING)]
    telling.sort(key=lambda line: "No conversion rule" not in line)  # the others may follow from that one
    return " ".join(telling or lines or [type(error).__name__])[:_LONGEST_REASON]
