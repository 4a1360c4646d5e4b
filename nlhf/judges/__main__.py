"""The former command; it names the new one."""

from __future__ import annotations

import sys

from nlhf.cli.former import moved

if __name__ == "__main__":
    sys.exit(moved("judges", "nlhf", "judge"))
