"""Runs the command."""

if __name__ == "__main__":
    from nlhf.cli.output import run
    from nlhf.cli.status import main

    run(main)
