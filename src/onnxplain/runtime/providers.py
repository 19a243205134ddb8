"""Execution providers: which are asked for, which ONNX Runtime has, which ones run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from types import ModuleType
from typing import Any

from ..checks import install_hint
from ..errors import ProviderError, RuntimeMissingError

#: A provider as ONNX Runtime takes it: its name, or its name and its options.
Provider = str | tuple[str, Mapping[str, Any]]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class ProviderWarning(UserWarning):
    """A requested execution provider was not given."""


def import_runtime() -> ModuleType:
    """Return the module ``onnxruntime``.

    Raises:
        RuntimeMissingError: neither onnxruntime nor onnxruntime-gpu is installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissingError(
            f"ONNX Runtime is missing; take exactly one of {install_hint('cpu')} and {install_hint('gpu')} ({error})."
        ) from error
    module: ModuleType = onnxruntime
    return module


def full_name(name: str) -> str:
    """Return the provider that a short name means ("cuda" is CUDAExecutionProvider); any other name unchanged."""
    known: list[str] = import_runtime().get_all_providers()
    return next((full for full in known if full.lower() == f"{name.lower()}executionprovider"), name)


def named(text: str) -> Provider:
    """Return the provider that a text names: "cuda", "CUDAExecutionProvider", or "cuda:1" for the device of a number.

    Raises:
        ProviderError: there is no such number.
    """
    name, colon, number = text.partition(":")
    full = full_name(name)
    if not colon:
        return full
    if full == CPU or not (number.isascii() and number.isdecimal()):
        raise ProviderError(
            f"provider {text!r}: behind a colon stands the number of a GPU, 0 or more, as in cuda:1; the CPU has none."
        )
    return full, {"device_id": number}


@cache
def load_cuda_libraries() -> None:
    """Load the CUDA libraries that pip installed, once: ONNX Runtime itself looks only where the system keeps its own.

    ONNX Runtime before 1.21 cannot. It prints what it does not find; that CUDA does not start is a warning anyway.
    """
    preload = getattr(import_runtime(), "preload_dlls", None)
    if preload is not None:
        with redirect_stdout(io.StringIO()):
            preload()


def requested(providers: str | Sequence[Provider] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return ``providers`` as (name, options) pairs in order of preference; None is CUDA if present, then CPU.

    Raises:
        ProviderError: not a list of names or (name, options) pairs, or a name that ONNX Runtime does not know.
    """
    runtime = import_runtime()
    available: list[str] = runtime.get_available_providers()
    if providers is None:
        return [(name, {}) for name in (CUDA, CPU) if name in available]
    listed = [providers] if isinstance(providers, str) else list(providers)
    if not listed:
        raise ProviderError(f"providers is empty; name at least one of {', '.join(available)}, or pass None.")
    pairs = [_pair(provider) for provider in listed]
    known = {*runtime.get_all_providers(), *available}
    for name, _ in pairs:
        if name not in known:
            raise ProviderError(
                f"ONNX Runtime knows no execution provider {name!r}; available here: {', '.join(available)}."
            )
    return pairs


def usable(providers: str | Sequence[Provider] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return :func:`requested`, but only what ONNX Runtime has; the CPU if that is nothing.

    Raises:
        ProviderError: as for :func:`requested`.
    """
    available: list[str] = import_runtime().get_available_providers()
    return [pair for pair in requested(providers) if pair[0] in available] or [(CPU, {})]


def expected(providers: str | Sequence[Provider] | None) -> str:
    """Return the provider that will most likely run a model: the first one asked for that is there, else CPU.

    Raises:
        ProviderError: as for :func:`requested`.
    """
    return usable(providers)[0][0]


def _pair(provider: Provider) -> tuple[str, dict[str, Any]]:
    if isinstance(provider, str):
        return provider, {}
    if (
        isinstance(provider, Sequence)
        and len(provider) == 2
        and isinstance(provider[0], str)
        and isinstance(provider[1], Mapping)
    ):
        return provider[0], dict(provider[1])
    raise ProviderError(f"a provider is a name or a (name, options) pair as in ONNX Runtime; found {provider!r}.")
