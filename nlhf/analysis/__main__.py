"""`python -m nlhf.analysis`, an alias of `nlhf compare`, `nlhf diff` and `nlhf votes show`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from nlhf.__main__ import main

    first = sys.argv[1] if sys.argv[1:] else ""
    sys.argv[1:] = {"diff": ["diff", *sys.argv[2:]], "votes": ["votes", "show", *sys.argv[2:]]}.get(
        first, ["compare", *sys.argv[1:]]
    )
    main()
