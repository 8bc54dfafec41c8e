"""The package as others receive it: the wheel's contents, and an import that brings in no framework.

`python tests/project/test_packaging.py` (`make wheel-files`) rewrites the committed list of the wheel's files.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
WHEEL_FILES = Path(__file__).with_name("wheel_files.txt")
NOT_PACKAGED = {"tests", "examples", "benchmarks"}
FRAMEWORKS = {"torch", "jax", "jaxlib", "optax", "keras", "numba", "scipy", "array_api_strict"}
IMPORT = """
import json, sys
import gradwise
from gradwise import backends, frontends, optimizers, schedules, vectors
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""


def run(arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_checkout(target):
    """Copy only what packaging names, so that nothing else in the checkout can be needed or leak into the wheel."""
    target.mkdir()
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, target)
    for folder in SETUPTOOLS["package-dir"].values():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored, dirs_exist_ok=True)
    return target


def build_wheel(checkout, target):
    run(["-m", "build", "--wheel", "--no-isolation", "--outdir", target, checkout], cwd=target.parent)
    (wheel,) = target.glob("*.whl")
    return wheel


def list_wheel(wheel):
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as archive:
        return sorted(file.replace(f"{name}-{version}.", f"{name}-VERSION.", 1) for file in archive.namelist())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("clone") / "a folder of another name")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # A copy of its own, so that what the build leaves behind cannot help the checkout's tests.
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_checkout(folder / "another-name"), folder / "dist")


@pytest.fixture(params=["wheel", "checkout"])
def place(request, tmp_path):
    """A folder to put on the path: the unpacked wheel, or a checkout that was never installed."""
    if request.param == "checkout":
        return request.getfixturevalue("checkout")
    with zipfile.ZipFile(request.getfixturevalue("wheel")) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


def test_every_package_of_the_checkout_is_packaged():
    tops = [init.parent for init in ROOT.glob("*/__init__.py") if init.parent.name not in NOT_PACKAGED]
    found = {init.parent.relative_to(ROOT).as_posix() for top in tops for init in top.rglob("__init__.py")}
    assert found == set(SETUPTOOLS["package-dir"].values())
    assert set(SETUPTOOLS["packages"]) == set(SETUPTOOLS["package-dir"])


@pytest.mark.parametrize("package", ["optimizers", "schedules"])
def test_the_core_imports_no_array_library_and_no_frontend(package):
    """Arrays come from `backends`: what is said of arrays there holds for every library."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = {name.partition(".")[0] for name in names}
            assert not found & {"numpy", "array_api_compat", "torch", "jax", "keras", "optax", "frontends"}, path.name


def test_wheel_holds_the_committed_list_of_files(wheel):
    expected = WHEEL_FILES.read_text(encoding="utf-8").splitlines()
    assert list_wheel(wheel) == expected, "if this is intended, run `make wheel-files` and commit the new list"


def test_import_brings_in_no_framework(place, tmp_path):
    modules = json.loads(run(["-c", IMPORT], cwd=tmp_path, PYTHONPATH=str(place)))
    own = {name: file for name, file in modules.items() if name.split(".")[0] == "gradwise"}
    # The environment may hold gradwise too: only this says which one was imported.
    assert all(Path(file).is_relative_to(place) for file in own.values()), own
    # A package below frontends, or one of a library, imports that, and is imported by those who have it.
    packages = {name for name in SETUPTOOLS["packages"] if not name.startswith("gradwise.frontends.")}
    assert {name for name in packages if name.rpartition(".")[2] not in FRAMEWORKS} <= set(own)
    assert FRAMEWORKS.isdisjoint(modules)


def test_steps_where_docstrings_are_left_out(place, tmp_path):
    code = (
        "import numpy; from gradwise import optimizers; weights = numpy.zeros(2); "
        "optimizers.SGD(0.5, jit_compile=False).apply([numpy.ones(2)], [weights]); print(weights)"
    )
    assert run(["-OO", "-c", code], cwd=tmp_path, PYTHONPATH=str(place)) == "[-0.5 -0.5]\n"


def test_command_line_names_the_versions(place, tmp_path):
    lines = run(["-m", "gradwise"], cwd=tmp_path, PYTHONPATH=str(place)).splitlines()
    assert lines[0].startswith("gradwise ")
    assert [line.split()[0] for line in lines[1:]] == ["numpy", "torch", "jax", "array-api-strict"]


def rewrite():
    """The committed list, from a wheel that is built now."""
    with tempfile.TemporaryDirectory() as folder:
        built = build_wheel(copy_checkout(Path(folder) / "copy"), Path(folder) / "dist")
        WHEEL_FILES.write_text("\n".join(list_wheel(built)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    rewrite()
