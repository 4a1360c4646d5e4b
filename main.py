"""`python main.py OVERRIDES` does in a checkout what `nlhf run OVERRIDES` does."""

from __future__ import annotations

if __name__ == "__main__":
    from nlhf.cli.early import prepare

    prepare()
    import sys

    from nlhf.__main__ import main

    sys.argv.insert(1, "run")
    main()
