"""What functional steps run on: unbuilt copies of an optimizer, each built once for trees of one structure.

The cells of such a template are placeholders: a scope gives them the arrays of a step. What was recorded of a template
is kept for all optimizers that are alike.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ...backends import HOST, NUMPY, Backend, BuildScope, DeltaVariable, Tree, Variable
from .configuration import configuration, frozen
from .fused.apart import Apart
from .fused.attributes import classes_of, of_optimizers_alone, settings_of
from .updating import UpdateRule

_KEPT_TEMPLATES = 16
_KEPT_RECORDINGS = 64
LOCK = threading.Lock()


class _Recorded(NamedTuple):
    """What was recorded.

    Attributes:
        apart: the updates.
        classes: from `classes_of`, as they were then.
    """

    apart: Apart
    classes: list[list[Any]]


_RECORDED: dict[Any, _Recorded] = {}
"""What was recorded, for all optimizers of one kind: they are made anew for each of many runs. Their classes belong to
the kind, with all that they hold: who replaces a method has it recorded."""


class TemplateKeeper(UpdateRule):
    """Keeps the templates of an optimizer. A base of `Optimizer`."""

    def _with_fixed_slots(self) -> Any:
        """This, or an optimizer that has the same slots and can be built for any parameter."""
        return self

    def _template_for(self, tree: Tree, backend: Backend) -> Any:
        key = self._key_of(tree, backend)
        with LOCK:
            template = None if key is None else self._templates.get(key)
        if template is None:
            self.check_chosen(tree.names, None)
            template, _ = self._new_template(tree)
            with LOCK:
                self._keep_template(key, template)
        return template

    def _key_of(self, tree: Tree, backend: Backend) -> Any:
        """What a template is found by; None where a length is a symbol, which belongs to one trace alone."""
        leaves = tuple((backend.shape(leaf), backend.dtype_name(leaf)) for leaf in tree.leaves)
        if not all(isinstance(length, int) for shape, _ in leaves for length in shape):
            return None
        return backend.name, tree.definition, tuple(tree.names), leaves, frozen(configuration(self))

    def _keep_template(self, key: Any, template: TemplateKeeper) -> None:
        if key is not None:
            self._templates[key] = template
        while len(self._templates) > _KEPT_TEMPLATES:
            del self._templates[next(iter(self._templates))]

    def _new_template(self, tree: Tree) -> tuple[Any, BuildScope]:
        """An unbuilt copy, built on placeholders; and a scope with the initial values of its cells."""
        template = self.unbuilt_copy()
        template._tree = tree.definition
        cells = [DeltaVariable.placeholder(leaf, name) for leaf, name in zip(tree.leaves, tree.names, strict=True)]
        scope = BuildScope(zip(cells, tree.leaves, strict=True))
        with scope:
            template.build(cells)
        # A tree without leaves has the slots that a parameter would have: the state's structure tells what it is of.
        like = template
        if not cells:
            like, _ = self._with_fixed_slots()._new_template(Tree(NUMPY.full((1, 1), 0.0, "float32", None)))
        names = (named.name for named in like.named_cells() if named.position is not None)
        template.cells.slot_names = list(dict.fromkeys(names))
        template._bare_names = {
            named.name
            for named in like.named_cells()
            if named.position is not None and _differs(named.cell, like.cells.parameters[named.position])
        }
        return template, scope

    def _known_apart(self, key: Any, deltas: bool) -> Apart | None:
        """What another optimizer like this, but perhaps for its numbers, has recorded for trees with some key."""
        recorded = _RECORDED.get(self._kind_of(key, deltas)) if of_optimizers_alone(self) else None
        return recorded.apart if recorded is not None and recorded.apart.serves(self) else None

    def _apart_for(self, tree: Tree, key: Any, deltas: bool) -> Apart:
        known = self._known_apart(key, deltas)
        if known is not None:
            return known
        classes = classes_of(self)
        template, _ = self._new_template(tree)
        made = Apart(template, template.fusion, deltas)
        # A user's own rule may be another under the same name.
        if of_optimizers_alone(self):
            with LOCK:
                while len(_RECORDED) >= _KEPT_RECORDINGS:
                    del _RECORDED[next(iter(_RECORDED))]
                _RECORDED[self._kind_of(key, deltas)] = _Recorded(made, classes)
        return made

    def _kind_of(self, key: Any, deltas: bool) -> Any:
        # By identities, which are unique as long as what was recorded keeps the objects.
        classes = tuple(tuple(map(id, values)) for values in classes_of(self))
        return settings_of(self), classes, deltas, *key[:-1]


def _differs(slot: Variable, parameter: Variable) -> bool:
    return slot.backend is HOST or slot.shape != parameter.shape
