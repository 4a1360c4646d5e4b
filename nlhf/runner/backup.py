"""`force=true`: the folder of a run is moved aside, NAME to NAME.1, and the run starts again.

If the process is killed at any time, the old folder is complete, under its old or its new name.
"""

from __future__ import annotations

import itertools
import logging
import os
from contextlib import suppress
from pathlib import Path

from nlhf.io.files import writing
from nlhf.io.links import make_folder
from nlhf.io.sync import sync_folder
from nlhf.runner.lock import locked

log = logging.getLogger("nlhf")


def move_aside(folder: Path) -> Path | None:
    """Move a run's folder to the first free name of NAME.1, NAME.2, ...; None without a folder.

    Raises: BusyError while another process works on the run; ConfigError for a link; WriteError.
    """
    if not os.path.lexists(folder):
        return None
    with writing(folder):
        make_folder(folder)  # refuses a link
        with locked(folder):
            target = _renamed(folder)
            sync_folder(folder.parent)
            with suppress(OSError):
                (target / "lock").unlink(missing_ok=True)  # the lock of this process, which moved with the folder
    log.info("force=true moved %s to %s", folder, target.name)
    return target


def _renamed(folder: Path) -> Path:
    """Rename a folder to the first free name; an empty folder claims the name until the rename replaces it."""
    for number in itertools.count(1):
        target = folder.with_name(f"{folder.name}.{number}")
        try:
            target.mkdir()
        except FileExistsError:
            continue
        try:
            folder.rename(target)
        except BaseException:
            with suppress(OSError):
                target.rmdir()  # it holds nothing unless the rename succeeded
            raise
        return target
    raise AssertionError
