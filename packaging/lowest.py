"""Prints the lowest versions that an installed onnxplain declares, as constraints of pip: ``lowest.py [EXTRA...]``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import requires


def lowest(requirements: Iterable[str], extras: Iterable[str]) -> Iterator[str]:
    """Yield ``name==version`` for every requirement of the package itself and of the extras.

    Raises:
        SystemExit: if one states no lowest version.
    """
    wanted = {"", *extras}
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if (extra[1] if extra else "") not in wanted:
            continue
        stated = re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)", requirement.replace(" ", ""))
        if stated is None:
            raise SystemExit(f"{requirement!r} states no lowest version; write name>=version in pyproject.toml.")
        yield f"{stated[1]}=={stated[2]}"


if __name__ == "__main__":
    print("\n".join(lowest(requires("onnxplain") or [], sys.argv[1:])))
