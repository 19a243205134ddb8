"""By which facts of its metadata an RT-DETR of Ultralytics is told from a YOLO, whose task has the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: From this version on the exported rows are the best pairs of box and class: box, score, class.
_FIRST_THAT_CHOOSES = (8, 4, 47)


def is_rtdetr(metadata: Mapping[str, str]) -> bool:
    """Whether Ultralytics exported an RT-DETR: by its ``head``, in older files by the name in the ``description``."""
    if "head" in metadata:
        return metadata["head"] == "RTDETRDecoder"
    name = re.match(r"Ultralytics (.*?) model", metadata.get("description", ""))
    return name is not None and re.search("rt-?detr", name[1], re.IGNORECASE) is not None


def chooses_classes(metadata: Mapping[str, str]) -> bool | None:
    """Whether a row of that RT-DETR holds one class and its score, rather than scores of all; None: nothing says it."""
    if "head" in metadata:
        return True
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", metadata.get("version", ""))
    return None if version is None else tuple(map(int, version.groups())) >= _FIRST_THAT_CHOOSES
