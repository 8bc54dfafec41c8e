"""Code in documents: it runs, in its order, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check_prints(text: str, folder: Path) -> None:
    """Run the blocks of Python in a text, and compare what they print with the comments behind `print(...)`.

    Args:
        text: of a document, or a section of one.
        folder: an empty one, to run in.
    """
    code = "\n\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    path = folder / "document.py"
    path.write_text(code, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, cwd=folder, check=False,
        env={**environment, "PYTHONPATH": str(ROOT), "KERAS_HOME": str(folder), "KERAS_BACKEND": "torch"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"^ *print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    assert done.stdout.strip().split("\n") == promised
