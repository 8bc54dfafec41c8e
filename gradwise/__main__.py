"""`python -m gradwise`: the versions to name in a bug report."""

from importlib.metadata import PackageNotFoundError, version

from . import __version__

LIBRARIES = ("numpy", "torch", "jax", "array-api-strict")


def installed(library: str) -> str:
    """Read the version from the library's metadata: importing it only to print a line would take seconds."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Print the version of gradwise and of every array library that it is tested with."""
    print(f"gradwise {__version__}")
    for library in LIBRARIES:
        print(f"  {library:<17} {installed(library)}")


if __name__ == "__main__":
    main()
