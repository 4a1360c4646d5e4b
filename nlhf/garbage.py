"""The garbage collector around the imports of a command: modules are never garbage, but cost it a third of the imports.

A command calls `postpone_collections` before its imports, and `collect_again` before its work. Commands also end
sooner, because Python would look for garbage in all modules twice before it ends.
"""

from __future__ import annotations

import atexit
import gc


def postpone_collections() -> None:
    """Collect no garbage until `collect_again`, and none at the end of the process."""
    gc.disable()
    atexit.register(gc.freeze)


def collect_again() -> None:
    """Collect garbage from now on, among the objects that do not exist yet."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
