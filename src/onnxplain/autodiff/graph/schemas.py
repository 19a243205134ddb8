"""What ONNX's schemas say of operators and opsets."""

from __future__ import annotations

from functools import cache

import onnx

#: The newest opset of the default domain whose operator semantics the rules were written against.
NEWEST_OPSET = 28


def is_standard(domain: str) -> bool:
    """Return whether ``domain`` is the default domain of ONNX, which has two names."""
    return domain in ("", "ai.onnx")


def since_version(domain: str, op_type: str, opset: int) -> int | None:
    """Return the ONNX ``since_version`` of an operator at an opset; None for one that has no schema."""
    return _standard_version(op_type, opset) if is_standard(domain) else _version(domain, op_type, opset)


@cache
def _standard_version(op_type: str, opset: int) -> int | None:
    return _version("", op_type, opset)


def _version(domain: str, op_type: str, opset: int) -> int | None:
    try:
        return int(onnx.defs.get_schema(op_type, opset, domain).since_version)
    except onnx.defs.SchemaError:
        return None
