"""The models of a service as KServe's server knows them."""

from __future__ import annotations

import re
from typing import Any

from kserve import InferRequest, InferResponse, Model, ModelRepository
from kserve.errors import ModelNotReady
from kserve.protocol.dataplane import DataPlane

from .. import __version__
from . import v1, v2
from .admission import TICKET, Ticket
from .engine import Engine
from .log import ExplanationLog
from .models import Loaded, WatchedModel
from .work import Answer, Order

_LENGTH = re.compile("[0-9]{1,18}")
_DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class ServedModel(Model):
    """One model: KServe's server hands it what V1 and V2 requests hold, and gets what V1 and V2 answers hold."""

    def __init__(self, watched: WatchedModel, engine: Engine, log: ExplanationLog | None) -> None:
        super().__init__(watched.name)
        self._watched, self._engine, self._log = watched, engine, log

    def current(self) -> Loaded:
        """Return the model that answers now.

        Raises:
            ModelNotReady: it is not loaded yet.
        """
        if self._watched.loaded is None:
            raise ModelNotReady(self.name)
        return self._watched.loaded

    async def healthy(self) -> bool:
        """Whether it answers."""
        return self._watched.loaded is not None and not self._engine.gate.stopping

    def load(self) -> bool:
        """Refuse to wait: the model is loaded by a thread of its own.

        Raises:
            ModelNotReady: it is not loaded yet.
        """
        self.current()
        return True

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Answer a V2 request, or say what the model predicts of a V1 request's instances."""
        return await self._answered(payload, explain=False)

    async def explain(self, payload: Any, headers: dict[str, str] | None = None) -> dict[str, Any] | InferResponse:
        """Explain a V1 request's instances."""
        return await self._answered(payload, explain=True)

    async def _answered(self, payload: Any, *, explain: bool) -> dict[str, Any] | InferResponse:
        loaded, ticket = self.current(), TICKET.get()
        inputs, shared, limits = loaded.worker.explainer.inputs, loaded.worker.shared, loaded.worker.limits

        def read() -> Order:
            if isinstance(payload, InferRequest):
                return v2.read(payload, inputs, shared, limits)
            return v1.read(payload, inputs, shared, limits, explain=explain)

        def written() -> dict[str, Any] | InferResponse:
            if isinstance(payload, InferRequest):
                return v2.written(payload, order, answers)
            return v1.written(order, answers, explain=explain)

        order = await self._engine.by_hand(ticket, read)
        answers = await self._engine.answer(loaded, order, ticket)
        await self._logged(ticket, loaded, order, answers)
        return await self._engine.by_hand(ticket, written)

    async def _logged(self, ticket: Ticket, loaded: Loaded, order: Order, answers: list[list[Answer]]) -> None:
        if self._log is not None and self._log.chosen():
            await self._engine.by_hand(ticket, self._log.write, ticket.id, loaded, order, answers)

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the inputs of the model, and those that take their place or go with them."""
        own = [
            {"name": one.name, "datatype": _DATATYPES.get(one.dtype, "BYTES"), "shape": _shape(one.shape)}
            for one in self.current().worker.explainer.inputs
        ]
        taken = {one["name"] for one in own}
        ours = [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in (v2.PHOTO, v2.TARGET)]
        return [*own, *(one for one in ours if one["name"] not in taken)]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return what may be asked for."""
        inputs = self.current().worker.explainer.inputs
        facts = {"score": "FP32", "class": "INT64", "label": "BYTES", "probability": "FP32", "png": "BYTES"}
        found = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in facts.items()]
        for one in inputs:
            end = "" if len(inputs) == 1 else f"_{one.name}"
            flat = [extent for axis, extent in enumerate(one.shape) if axis != one.channel_axis]
            found.append({"name": f"saliency{end}", "datatype": "FP32", "shape": _shape(flat)})
            kind = _DATATYPES.get(one.dtype, "FP32") if one.dtype.startswith("float") else "FP32"
            found.append({"name": f"gradient{end}", "datatype": kind, "shape": _shape(one.shape)})
        return found


class Plane(DataPlane):
    """KServe's data plane, which reads V2 bodies without making lists of binary tensors."""

    def __init__(self, models: list[ServedModel], engine: Engine) -> None:
        repository = ModelRepository()
        for model in models:
            repository.update(model)
        super().__init__(repository)
        self._models, self._engine = models, engine

    def metadata(self) -> dict[str, Any]:
        """Return what answers here."""
        return {"name": "onnxplain", "version": __version__, "extensions": ["binary_tensor_data"]}

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """Return the inputs and outputs of a model."""
        return {**await super().model_metadata(model_name), "platform": "onnxplain_onnx"}

    async def ready(self) -> bool:
        """Whether all models are loaded, and the service does not stop."""
        return all([await one.healthy() for one in self._models])

    def decode_inference_request(self, body: bytes, headers: dict[str, str], model_name: str) -> InferRequest:
        """Return a V2 body as a request.

        Raises:
            InputError: it makes none.
        """
        length = headers.get("inference-header-content-length")
        stated = None if length is None else int(length) if _LENGTH.fullmatch(length) else -1
        return v2.decode(body, stated if stated is None or 0 <= stated <= len(body) else 0, model_name)


def _shape(extents: Any) -> list[int]:
    return [one if isinstance(one, int) else -1 for one in extents]
