"""Who imports what in the package, and in a copy of it: the source of every module is read."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gradwise.backends.detect import LIBRARIES, Library

ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {name: ROOT / folder for name, folder in _SETTINGS["tool"]["setuptools"]["package-dir"].items()}
"""The folder of each package, by its name."""

_FRAMEWORKS = {
    "torch": ("frontends.torch",),
    "jax": ("frontends.optax",),
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
"""Frameworks, and how the modules are called, beside a library's own, that may import them at their top."""


def file_of(library: Library) -> str:
    """The module with the backend of an array library."""
    return f"backends{library.file}"


def homes(libraries: Sequence[Library]) -> dict[str, tuple[str, ...]]:
    """By framework how the modules are called that may import it at their top: a library's own file or folder too."""
    found = dict(_FRAMEWORKS)
    for library in libraries:
        folder, _, name = file_of(library).rpartition(".")
        own = f"backends.{name}" if folder == "backends" else f"{folder}."
        found[library.name] = (own, *found.get(library.name, ()))
    return found


def source_files(folders: Mapping[str, Path]) -> dict[str, Path]:
    """The files of all modules, by their names within the package; a folder's own file has the folder's name.

    Args:
        folders: of each package, by its name.
    """
    found = {}
    for package, folder in folders.items():
        for path in sorted(folder.glob("*.py")):
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


class Rooms:
    """The modules of a package and what they import.

    Args:
        folders: of each package, by its name.
        libraries: those that `backends/detect.py` has in its table.

    Attributes:
        files: of the modules, by name.
        imports: by module the names that it imports, and whether at its top.
        ours: by module those of the package that it imports.
        homes: as `homes` gives them.
    """

    def __init__(self, folders: Mapping[str, Path], libraries: Sequence[Library]) -> None:
        self.files = source_files(folders)
        self.imports = {
            name: list(imports_of(name, path.read_text(encoding="utf-8"), path.stem == "__init__"))
            for name, path in self.files.items()
        }
        self.ours = {
            name: {found for each, _ in imports if (found := module_of(each, self.files)) is not None}
            for name, imports in self.imports.items()
        }
        self.ours["backends.detect"] |= {file_of(library) for library in libraries}
        self.homes = homes(libraries)

    def away_from_home(self) -> list[str]:
        """The imports of frameworks at the top of modules that must do without them, or import them when needed."""
        return [
            f"{name} imports {each}"
            for name, imports in self.imports.items()
            for each, top in imports
            if top and not name.startswith(self.homes.get(each.partition(".")[0], ("",)))
        ]


HERE = Rooms(FOLDERS, LIBRARIES)


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
