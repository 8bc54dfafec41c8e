"""`python -m gradwise`: the versions to name in a bug report; and commands."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from . import __version__
from .warm_up import DTYPES, run

LIBRARIES = ("numpy", "torch", "jax", "array-api-strict")


def installed(library: str) -> str:
    """Read the version from the library's metadata: importing it only to print a line would take seconds."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def print_versions() -> None:
    """Print the version of gradwise and of every array library that it is tested with."""
    print(f"gradwise {__version__}")
    for library in LIBRARIES:
        print(f"  {library:<17} {installed(library)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status.

    Args:
        arguments: of the command line; None takes this process's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gradwise", description="Without a command: print the versions to name in a bug report."
    )
    commands = parser.add_subparsers(title="commands", dest="command")
    about = "compile the update rules of all algorithms ahead, so that no first step waits for a compiler"
    warm = commands.add_parser("warm-up", help=about, description=f"{about[0].upper()}{about[1:]}.")
    warm.add_argument("--optimizer", action="append", default=[], metavar="NAME", help="only this; may be repeated")
    warm.add_argument("--dtype", action="append", default=[], choices=DTYPES, help="only this; may be repeated")
    given = parser.parse_args(arguments)
    if given.command == "warm-up":
        return run(given.optimizer, given.dtype)
    print_versions()
    return 0


if __name__ == "__main__":
    sys.exit(main())
