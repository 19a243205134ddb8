"""The packages that read and write Parquet, of the extra ``bulk``."""

from __future__ import annotations

from types import ModuleType

from .checks import install_hint
from .errors import RuntimeMissingError


def import_parquet(what: str) -> tuple[ModuleType, ModuleType]:
    """Return the modules pyarrow and pyarrow.parquet; ``what`` is it that needs them.

    Raises:
        RuntimeMissingError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise RuntimeMissingError(f"{what} needs pyarrow: {install_hint('bulk')}.") from None
    return pyarrow, parquet
