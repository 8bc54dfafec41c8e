"""Programs that need a process of their own, because JAX reads its flags when it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TESTS, ROOT = HERE.parent, HERE.parents[1]


def answer_of(program: str, **environment: str) -> Any:
    """What a program beside this file writes as JSON; its warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)
