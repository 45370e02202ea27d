"""Starts the `stoker` command. Called by the entry point `stoker` and by `python -m console`."""

from console.cli.root import stoker


def main() -> None:
    stoker(prog_name="stoker")


if __name__ == "__main__":
    main()
