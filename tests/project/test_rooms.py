"""What may import what: the source of every module is read, imports inside of functions included."""

from __future__ import annotations

import pytest
from helpers.rooms import HERE, circles, file_of, imports_of, module_of

from gradwise.backends.detect import LIBRARIES

FILES, IMPORTS, OURS = HERE.files, HERE.imports, HERE.ours

MAY_IMPORT = {
    "backends": (),
    "schedules": ("backends",),
    "optimizers": ("backends", "schedules"),
    "frontends": ("backends", "schedules", "optimizers"),
    "vectors": ("backends", "schedules", "optimizers"),
}
"""For each room those below it; the face, `gradwise` itself, may import all of them and is imported by none."""
FACE = {"gradwise", "warm_up", "__main__", "front_ends"}


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
    assert {name.partition(".")[0] for name in FILES} - set(MAY_IMPORT) == FACE


def test_nobody_imports_the_face():
    """Who imports it in a function as well: it imports everything, and so would be a circle."""
    wrong = [
        f"{name} imports {each}"
        for name, imports in IMPORTS.items()
        for each, _ in imports
        if name not in FACE and each.partition(".")[0] in FACE
    ]
    assert not wrong


def test_frameworks_are_imported_where_they_are_at_home():
    assert not HERE.away_from_home()


@pytest.mark.parametrize("room", ["schedules", "optimizers", "vectors"])
def test_optimizers_know_no_array_library(room):
    """Not in a function either."""
    wrong = [
        f"{name} imports {each}"
        for name, imports in IMPORTS.items()
        for each, _ in imports
        if name.partition(".")[0] == room and each.partition(".")[0] in HERE.homes
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
    assert file_of(library) in FILES
    known = [name for name, targets in OURS.items() if file_of(library) in targets]
    assert known == ["backends.detect"]


def test_programs_are_run_by_what_knows_them():
    """Recording knows no compiler, and what is compiled knows no library."""
    programs = [name for name in FILES if name.startswith("backends.programs")]
    kernels = [name for name in FILES if name.startswith("backends.kernels")]
    libraries = {"backends.numpy", "backends.array_api", *map(file_of, LIBRARIES)}
    assert programs and kernels
    assert not [name for name in programs if any(each.startswith("backends.kernels") for each in OURS[name])]
    assert not [name for name in kernels if libraries & OURS[name]]
