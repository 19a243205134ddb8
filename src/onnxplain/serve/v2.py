"""The Open Inference Protocol V2: tensors in, and explanations out as outputs by their names."""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from kserve.errors import InferenceError, InvalidInput
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import from_np_dtype

from ..errors import InputError
from .orders import PARAMETERS, order_of
from .targets import decode_base64
from .work import Answer, Entry, Limits, Order

if TYPE_CHECKING:
    from ..signature import InputTensor

Array = np.ndarray[Any, Any]

#: The input that holds photos as files, and the one that holds a target for each sample.
PHOTO, TARGET = "photo", "target"
#: Outputs that come with every answer, besides those of :data:`~.work.OUTPUTS` that cost more.
FACTS = ("score", "class", "label", "probability")
_COSTLY = ("saliency", "gradient", "png")
_TRANSPORT = ("binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout")


def decode(body: bytes, json_length: int | None, name: str) -> InferRequest:
    """Return a REST body as KServe's request, binary tensors behind the JSON as they are.

    Raises:
        InputError: it makes no request.
    """
    try:
        found = orjson.loads(body if json_length is None else body[:json_length])
    except orjson.JSONDecodeError as error:
        raise InputError(f"the body is no JSON: {error}.") from None
    if not isinstance(found, dict) or not isinstance(found.get("inputs"), list):
        raise InputError('a request is {"inputs": [...]}.')
    rest = b"" if json_length is None else body[json_length:]
    inputs = []
    for one in found["inputs"]:
        tensor, rest = _tensor(one, rest)
        inputs.append(tensor)
    if rest:
        raise InputError(f"{len(rest)} bytes are left behind the last binary tensor; state binary_data_size of each.")
    outputs = found.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise InputError("outputs is a list of objects with a name.")
    return InferRequest(
        name,
        inputs,
        request_id=_stated(found, "id", str, None),
        parameters=_stated(found, "parameters", dict, {}),
        request_outputs=[
            RequestedOutput(_stated(one, "name", str), _stated(one, "parameters", dict, {})) for one in outputs
        ],
    )


def _tensor(one: object, rest: bytes) -> tuple[InferInput, bytes]:
    if not isinstance(one, dict):
        raise InputError("an input is an object with name, shape, datatype and data.")
    shape = _stated(one, "shape", list)
    if not all(type(extent) is int and extent >= 0 for extent in shape):
        raise InputError("shape is a list of whole numbers, 0 or more.")
    parameters = _stated(one, "parameters", dict, {})
    tensor = InferInput(_stated(one, "name", str), shape, _stated(one, "datatype", str), parameters=parameters)
    size = parameters.get("binary_data_size")
    if size is None:
        tensor.data = _stated(one, "data", list)
        return tensor, rest
    if type(size) is not int or not 0 <= size <= len(rest):
        raise InputError(f"binary_data_size of {tensor.name[:40]!r} is a number of bytes behind the JSON.")
    tensor._raw_data = rest[:size]
    return tensor, rest[size:]


def _stated(found: Mapping[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """The value of a field of this type; the default where it is missing or null.

    Raises:
        InputError: it is missing, or of another type.
    """
    value = found.get(name)
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind):
        raise InputError(f"{name} is missing, or no {kind.__name__}.")
    return value


def read(request: InferRequest, inputs: Sequence[InputTensor], shared: Collection[str], limits: Limits) -> Order:
    """Return the order that a request makes: inputs of the model [N, ...], or "photo" [N] with files.

    "target" [N], int64 or text (a label, or JSON), has one for each sample. Parameters are those of
    :data:`~.orders.PARAMETERS`, lists and objects among them as JSON.

    Raises:
        InputError: it makes none, or holds more samples than ``limits`` allow.
    """
    known = [one.name for one in inputs]
    given = _given(request, known)
    photos = PHOTO in given and PHOTO not in known
    targets = given.pop(TARGET) if TARGET in given and TARGET not in known else None
    parameters = _parameters(request)
    if photos and len(given) > 1:
        raise InputError("a request has photos or input tensors, not both.")
    arrays = {name: array_of(one) for name, one in given.items()}
    entries = _photos(given[PHOTO], arrays[PHOTO], limits) if photos else _arrays(arrays, shared, limits)
    if targets is not None:
        listed = array_of(targets).reshape(-1).tolist()
        if len(listed) != len(entries):
            raise InputError(f"there are {len(listed)} targets, but {len(entries)} samples.")
        entries = [Entry(one.photo, one.inputs, _target(value)) for one, value in zip(entries, listed)]
    return order_of(entries, parameters, ["score", *_costly(request)], _TRANSPORT)


def _given(request: InferRequest, known: Sequence[str]) -> dict[str, InferInput]:
    """The inputs of a request by their names."""
    found = {one.name: one for one in request.inputs}
    if len(found) != len(request.inputs):
        raise InputError("two inputs have the same name.")
    for name in found:
        if name not in (*known, PHOTO, TARGET):
            raise InputError(f"there is no input {name[:40]!r}; there are {', '.join((*known, PHOTO, TARGET))}.")
    return found


def _costly(request: InferRequest) -> list[str]:
    """Which outputs that cost more than scores a request asks for; those of several inputs are called NAME_INPUT."""
    asked = [one.name for one in request.request_outputs or []] or ["score", "saliency"]
    for name in asked:
        if not any(name == one or name.startswith(f"{one}_") for one in (*FACTS, *_COSTLY)):
            raise InputError(f"there is no output {name[:40]!r}; there are {', '.join((*FACTS, *_COSTLY))}.")
    return [one for one in _COSTLY if any(name == one or name.startswith(f"{one}_") for name in asked)]


def _parameters(request: InferRequest) -> dict[str, Any]:
    """The parameters of a request, those that are lists, objects and targets out of their JSON."""
    found: dict[str, Any] = {}
    for name, value in dict(request.parameters or {}).items():
        if hasattr(value, "WhichOneof"):
            kind = value.WhichOneof("parameter_choice")
            value = None if kind is None else getattr(value, kind)
        found[name] = value
    if "outputs" in found:
        raise InputError("outputs are named in the request's outputs.")
    for name in ("options", "target", "alpha"):
        if name in found and isinstance(found[name], str):
            found[name] = _target(found[name]) if name == "target" else _json(name, found[name])
    return {name: value for name, value in found.items() if name not in _TRANSPORT or name in PARAMETERS}


def _target(value: object) -> object:
    """A target: a text that begins like a list or an object in JSON is one."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return _json("target", text) if isinstance(text, str) and text.lstrip()[:1] in ("{", "[") else text


def _json(name: str, text: str) -> object:
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{name} is no JSON: {error}.") from None
    return found


def array_of(tensor: InferInput) -> Array:
    """Return the array that a tensor is.

    Raises:
        InputError: its shape, type or data make none.
    """
    try:
        with np.errstate(all="ignore"):
            found: Array = tensor.as_numpy()
        if list(found.shape) != list(tensor.shape):  # -1 in gRPC, which NumPy fills
            raise ValueError
    except (ValueError, TypeError, OverflowError, struct.error, InvalidInput, InferenceError):
        raise InputError(
            f"input {tensor.name[:40]!r}: its data make no {tensor.datatype[:10]} of shape {tensor.shape[:8]}."
        ) from None
    return found


def _photos(tensor: InferInput, array: Array, limits: Limits) -> list[Entry]:
    if tensor.datatype != "BYTES":
        raise InputError(f"input {PHOTO!r} holds files as BYTES; found {tensor.datatype[:10]}.")
    limits.check_samples(array.size)
    files = array.reshape(-1).tolist()
    return [Entry(photo=one if isinstance(one, bytes) else decode_base64(PHOTO, str(one))) for one in files]


def _arrays(arrays: Mapping[str, Array], shared: Collection[str], limits: Limits) -> list[Entry]:
    counts = {len(array) if array.ndim else 0 for name, array in arrays.items() if name not in shared}
    if len(counts) != 1:
        raise InputError("the inputs have different numbers of samples, or there are none.")
    [count] = counts
    limits.check_samples(count)
    return [
        Entry(inputs={name: a if name in shared else a[row : row + 1] for name, a in arrays.items()})
        for row in range(count)
    ]


def written(request: InferRequest, order: Order, answers: Sequence[Sequence[Answer]]) -> InferResponse:
    """Return the outputs that a request asked for, each [N, ...], or [N, targets, ...] for several of each sample.

    Raises:
        InputError: the samples have different numbers of answers or maps of different shapes; ask for each alone.
    """
    binary = request.use_binary_outputs
    tensors = _tensors(order, answers)
    requested = request.request_outputs or [
        RequestedOutput(name) for name in ("score", *(name for name in tensors if name not in FACTS))
    ]
    outputs = []
    for one in requested:
        if one.name not in tensors:
            raise InputError(f"there is no output {one.name[:40]!r}; there are {', '.join(tensors)}.")
        one.parameters = {"binary_data": binary, **(one.parameters or {})}
        outputs.append(_output(one, tensors[one.name], request.from_grpc))
    return InferResponse(
        request.id or str(uuid.uuid4()),
        request.model_name,
        outputs,
        from_grpc=request.from_grpc,
        use_binary_outputs=binary or request.from_grpc,
        requested_outputs=None if request.from_grpc else requested,
    )


def _output(wanted: RequestedOutput, array: Array, from_grpc: bool) -> InferOutput:
    if array.dtype == object and not wanted.binary_data and not from_grpc:
        array = _texts(array, files=wanted.name == "png")
    output = InferOutput(wanted.name, list(array.shape), from_np_dtype(array.dtype), np.ascontiguousarray(array))
    if from_grpc:
        output.set_data_from_numpy(output.data, binary_data=True)
    return output


#: What the outputs that come with every answer hold of it.
_VALUES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "score": ("float32", lambda facts: facts["score"]),
    "class": ("int64", lambda facts: facts["target"]),
    "label": ("object", lambda facts: (facts["label"] or "").encode()),
    "probability": ("float32", lambda facts: np.nan if facts["probability"] is None else facts["probability"]),
}


def _tensors(order: Order, answers: Sequence[Sequence[Answer]]) -> dict[str, Array]:
    """All outputs by their names."""
    single = all(len(several) == 1 for several in answers) and not isinstance(order.entries[0].target, list)

    def stacked(value: Callable[[Answer], Any], kind: str | None = None) -> Array:
        values = [[value(one) for one in several] for several in answers]
        found = np.empty((len(values), len(values[0])), object) if kind == "object" else np.asarray(values, kind)
        for row, several in enumerate(values if kind == "object" else ()):
            found[row] = several
        return found[:, 0] if single else found

    try:
        tensors = {
            name: stacked(lambda one, value=value: value(one.found.facts), kind)  # type: ignore[misc]
            for name, (kind, value) in _VALUES.items()
        }
        for name, field in (("saliency", "maps"), ("gradient", "gradients")):
            first: Mapping[str, Array] = getattr(answers[0][0].found, field)
            for tensor in first if name in order.outputs else ():
                key = name if len(first) == 1 else f"{name}_{tensor}"
                tensors[key] = stacked(lambda one, field=field, tensor=tensor: getattr(one.found, field)[tensor])  # type: ignore[misc]
        if "png" in order.outputs:
            tensors["png"] = stacked(lambda one: one.png, "object")
    except ValueError:
        raise InputError("the answers have different shapes; ask for each sample in a request of its own.") from None
    return tensors


def _texts(array: Array, *, files: bool) -> Array:
    """Bytes as texts for JSON: files in base64, others as they are."""
    found = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        found[place] = base64.b64encode(array[place]).decode() if files else array[place].decode()
    return found
