"""Runs the command."""

if __name__ == "__main__":
    from nlhf.cli.arena import main
    from nlhf.cli.output import run

    run(main)
