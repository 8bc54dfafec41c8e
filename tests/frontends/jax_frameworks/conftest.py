"""These tests need packages that the test extra has not: `make jax-frameworks` installs them, and runs the tests."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("flax") else ["test_*.py"]
