"""``onnxplain cache``: the models that were prepared and kept on disk."""

from __future__ import annotations

from typing import Annotated, Any

from .common import Json, guarded, print_json, say
from .signatures import Option


@guarded
def cache(
    clear: Annotated[bool, Option("--clear", help="Remove all of them.")] = False,
    as_json: Json = False,
) -> None:
    """Tell where prepared models are kept, and how large they are.

    The environment variable ONNXPLAIN_CACHE names another folder; ONNXPLAIN_CACHE=off turns the cache off.
    """
    from ..runtime import clear_cache

    if clear:
        clear_cache()
    facts = describe_cache()
    if as_json:
        print_json(facts)
    else:
        say(in_words(facts))


def describe_cache() -> dict[str, Any]:
    """Return the folder (None: there is no cache), how many models it holds, their bytes and the limit of these."""
    from ..runtime import open_cache

    found = open_cache()
    if found is None:
        return {"folder": None, "models": 0, "bytes": 0, "limit": 0}
    return {"folder": str(found.folder), "models": found.count(), "bytes": found.size(), "limit": found.limit}


def in_words(facts: dict[str, Any]) -> str:
    """:func:`describe_cache` as one line."""
    if facts["folder"] is None:
        return "off"
    return f"{facts['folder']}: {facts['models']} models, {facts['bytes'] / 1e6:.0f} of {facts['limit'] / 1e6:.0f} MB"
