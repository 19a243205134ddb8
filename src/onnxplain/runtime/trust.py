"""Whose doing a file is: what another user may have written is not used."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

try:
    import grp
    import pwd
except ImportError:  # Windows, which has lists of rights instead, is not looked at
    grp = pwd = None  # type: ignore[assignment]


def foreign_folder(folder: Path) -> str | None:
    """Return why others may change what is in ``folder``, which need not exist; None: only this user or root may.

    Every folder and every link on the way counts: whoever may rename one of them has what is behind it.
    """
    if pwd is None:
        return None
    with suppress(OSError):  # what cannot be looked at cannot be used either
        for path in _way(folder.absolute()):
            found = _foreign(path, path.lstat(), folder=True)
            if found is not None:
                return found
    return None


def foreign_file(path: Path) -> str | None:
    """Return why ``path`` is not a plain file of this user's or root's alone; None if it is.

    Raises:
        OSError: it cannot be looked at.
    """
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):
        return f"{path} is no plain file" if not stat.S_ISLNK(state.st_mode) else f"{path} is a symbolic link"
    return None if pwd is None else _foreign(path, state, folder=False)


def _way(path: Path) -> Iterator[Path]:
    """Folders and links on the way from the root to ``path``, also those that the links lead to.

    Raises:
        OSError: one does not exist, or there are too many links.
    """
    here, rest, links = Path(path.anchor), list(path.parts[1:]), 0
    yield here
    while rest:
        part = rest.pop(0)
        here = here.parent if part == ".." else here / part
        yield here
        if stat.S_ISLNK(here.lstat().st_mode):
            links += 1
            if links > 40:
                raise OSError(f"{path} has too many symbolic links.")
            target = Path(os.readlink(here))
            here = Path(target.anchor) if target.is_absolute() else here.parent
            rest = [*(target.parts[1:] if target.is_absolute() else target.parts), *rest]


def _foreign(path: Path, state: os.stat_result, *, folder: bool) -> str | None:
    if state.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user (id {state.st_uid})"
    if stat.S_ISLNK(state.st_mode) or (folder and state.st_mode & stat.S_ISVTX):
        return None  # who may replace a link is the folder's matter; what is in a sticky folder, its owner's
    if state.st_mode & stat.S_IWOTH:
        return f"every user may write to {path}"
    if state.st_mode & stat.S_IWGRP and not _is_private(state.st_gid):
        return f"the users of group {state.st_gid} may write to {path}"
    return None


@lru_cache(maxsize=8)
def _is_private(group: int) -> bool:
    """Return whether the group is root's, or has no one in it but this user, as Linux makes one for each user."""
    if group == 0:
        return True
    try:
        name, found = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}
