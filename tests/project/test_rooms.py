"""What may import what: the source of every module is read, imports inside of functions included."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gradwise.backends.detect import LIBRARIES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]

MAY_IMPORT = {
    "backends": (),
    "schedules": ("backends",),
    "optimizers": ("backends", "schedules"),
    "frontends": ("backends", "schedules", "optimizers"),
    "vectors": ("backends", "schedules", "optimizers"),
}
"""For each room those below it; the face, `gradwise` itself, may import all of them and is imported by none."""

HOMES = {
    "torch": ("backends.torch.", "frontends.torch"),
    "jax": ("backends.jax", "frontends.optax"),
    "optax": ("frontends.optax",),
    "keras": ("frontends.keras",),
    "numba": ("backends.kernels.",),
    "llvmlite": ("backends.kernels.",),
    "array_api_compat": ("backends.torch.",),
    "scipy": ("frontends.scipy",),
    "mlx": (),
    "cupy": (),
    "triton": (),
    "ml_dtypes": (),
}
"""Frameworks, and how the modules are called that may import them at their top. The rest, at most in a function."""


def source_files() -> dict[str, Path]:
    """The files of all modules, by their names within the package; a folder's own file has the folder's name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).glob("*.py")):
            name = f"{package}.{path.stem}".removesuffix(".__init__")
            found[name.removeprefix("gradwise").removeprefix(".") or "gradwise"] = path
    return found


def imports_of(module: str, source: str, is_folder: bool) -> Iterator[tuple[str, bool]]:
    """What a module imports, as whole names, and whether at its top; within the package without `gradwise.`.

    Names that are put together from `__package__`, for `import_module`, count as well.
    """
    tree = ast.parse(source)
    package = module.split(".") if is_folder else module.split(".")[:-1]
    inside = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        top = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.removeprefix("gradwise."), top
        elif isinstance(node, ast.ImportFrom):
            # The face stands above the rooms, and calls them as if they stood beside it.
            start = package[: len(package) - node.level + 1] if node.level else []
            start = [] if start == ["gradwise"] else start
            target = ".".join([*start, *([node.module] if node.module else [])]).removeprefix("gradwise.")
            yield from ((f"{target}.{alias.name}".lstrip("."), top) for alias in node.names)
        elif isinstance(node, ast.JoinedStr) and ast.unparse(node).startswith(("f'{__package__}.", 'f"{__package__}.')):
            yield ".".join([*package, ast.unparse(node)[2:-1].partition(".")[2]]), top


def module_of(name: str, modules: Mapping[str, object]) -> str | None:
    """The module that an imported name is, or is in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


FILES = source_files()
IMPORTS = {
    name: list(imports_of(name, path.read_text(encoding="utf-8"), path.stem == "__init__"))
    for name, path in FILES.items()
}
OURS = {
    name: {found for each, _ in imports if (found := module_of(each, FILES)) is not None}
    for name, imports in IMPORTS.items()
}
"""For each module those of ours that it imports."""
OURS["backends.detect"] |= {f"backends{library.file}" for library in LIBRARIES}


def circles(imports: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """The modules that import each other, directly or through others, in sets."""
    reached = {name: set(targets) for name, targets in imports.items()}
    changed = True
    while changed:
        changed = False
        for targets in reached.values():
            further = set().union(*(reached.get(each, set()) for each in targets)) - targets
            targets |= further
            changed |= bool(further)
    own = {name: targets for name, targets in reached.items() if name in targets}
    return sorted({tuple(sorted(each for each in own if each in own[name] and name in own[each])) for name in own})


def test_imports_are_found_wherever_they_stand():
    source = """
import jax.numpy
from ..scope import Mode as M, build_scope
from . import spread
if TYPE_CHECKING:
    from ...optimizers.core.rule import Rule
def f():
    import gradwise.schedules.base, numba
    from gradwise import warm_up
    return importlib.import_module(f"{__package__}.lookout")
"""
    found = set(imports_of("backends.torch.backend", source, is_folder=False))
    assert found == {
        ("jax.numpy", True), ("backends.scope.Mode", True), ("backends.scope.build_scope", True),
        ("backends.torch.spread", True), ("optimizers.core.rule.Rule", True), ("schedules.base", False),
        ("numba", False), ("gradwise.warm_up", False), ("backends.torch.lookout", False),
    }  # fmt: skip
    assert set(imports_of("backends", "from .scope import Mode", is_folder=True)) == {("backends.scope.Mode", True)}
    assert set(imports_of("gradwise", "from . import optimizers", is_folder=True)) == {("optimizers", True)}
    assert module_of("backends.scope.Mode", FILES) == "backends.scope" and module_of("numba", FILES) is None
    assert len(FILES) > 130 and all("backends" in FILES and OURS[name] for name in ("backends", "optimizers.adam"))


def test_circles_are_found():
    imports = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"e"}, "f": {"a"}}
    assert circles(imports) == [("a", "b", "c"), ("e",)]


def test_no_module_imports_itself_through_others():
    found = circles(OURS)
    arrows = [f"{name} -> {target}" for circle in found for name in circle for target in OURS[name] & set(circle)]
    assert not found, arrows


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_those_below_them(room):
    wrong = [
        f"{name} imports {target}"
        for name, targets in OURS.items()
        for target in targets
        if name.partition(".")[0] == room and target.partition(".")[0] not in (room, *MAY_IMPORT[room])
    ]
    assert not wrong


def test_every_room_is_known():
    assert {name.partition(".")[0] for name in FILES} - set(MAY_IMPORT) == {"gradwise", "warm_up", "__main__"}


def test_nobody_imports_the_face():
    """Who imports it in a function as well: it imports everything, and so would be a circle."""
    face = {"gradwise", "warm_up", "__main__"}
    wrong = [
        f"{name} imports {each}"
        for name, imports in IMPORTS.items()
        for each, _ in imports
        if name not in face and each.partition(".")[0] in face
    ]
    assert not wrong


def test_frameworks_are_imported_where_they_are_at_home():
    wrong = [
        f"{name} imports {each}"
        for name, imports in IMPORTS.items()
        for each, top in imports
        if top and not name.startswith(HOMES.get(each.partition(".")[0], ("",)))
    ]
    assert not wrong


@pytest.mark.parametrize("room", ["schedules", "optimizers", "vectors"])
def test_optimizers_know_no_array_library(room):
    """Not in a function either."""
    wrong = [
        f"{name} imports {each}"
        for name, imports in IMPORTS.items()
        for each, _ in imports
        if name.partition(".")[0] == room and each.partition(".")[0] in HOMES
    ]
    assert not wrong


def test_front_ends_know_only_their_own_framework():
    """What they share stands beside their folders."""
    homes = {name.split(".")[1] for name in FILES if name.startswith("frontends.") and name.count(".") > 1} | {"scipy"}
    assert len(homes) > 3
    wrong = [
        f"{name} imports {target}"
        for name, targets in OURS.items()
        for target in targets
        if name.startswith("frontends.") and target.startswith("frontends.")
        and target.split(".")[1] in homes - {name.split(".")[1]}
    ]  # fmt: skip
    assert not wrong


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_a_library_is_imported_by_nobody_but_detection(library):
    """Its own folder apart: it is looked for when the first of its arrays is met."""
    file = f"backends{library.file}"
    assert file in FILES
    known = [name for name, targets in OURS.items() if file in targets]
    assert known == ["backends.detect"]


def test_programs_are_run_by_what_knows_them():
    """Recording knows no compiler, and what is compiled knows no library."""
    programs = [name for name in FILES if name.startswith("backends.programs")]
    kernels = [name for name in FILES if name.startswith("backends.kernels")]
    libraries = {"backends.numpy", "backends.array_api", *(f"backends{library.file}" for library in LIBRARIES)}
    assert programs and kernels
    assert not [name for name in programs if any(each.startswith("backends.kernels") for each in OURS[name])]
    assert not [name for name in kernels if libraries & OURS[name]]
