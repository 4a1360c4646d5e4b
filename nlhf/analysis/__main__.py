"""Runs the command."""

if __name__ == "__main__":
    from nlhf.cli.compare import main
    from nlhf.cli.output import run

    run(main)
