"""What gradwise needs for some of its extras, without gradwise itself: `python tests/requirements.py EXTRA,...`.

The Makefile installs it ahead, while the sources are in use: installing gradwise would build it among them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROJECT: dict[str, Any] = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def requirements(extras: Iterable[str]) -> list[str]:
    """Of the package and of these extras, each once; an extra of gradwise's is what it asks for in turn."""
    found = list(PROJECT["dependencies"])
    for extra in extras:
        for requirement in PROJECT["optional-dependencies"][extra]:
            own = re.fullmatch(r"gradwise\[(.+)\]", requirement)
            found += requirements(own[1].split(",")) if own else [requirement]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1].split(","))))
