"""Steps between which memory is moved, shortened, given back, closed, made another kind: at random, in a process.

`python memory_process.py LIBRARY STEPS SEED` makes so many steps on "numpy" arrays, on "torch" tensors or through
the torch "frontend", beside those of a twin on other arrays of NumPy, without one pass. What changes memory and leaves
all values alone must leave the results alone; what no step can be made on must be refused with nothing written, and the
optimizer goes on once it was undone. All arrays lie between canaries or are the allocator's, which fills what is freed
(MALLOC_PERTURB_). The exit status is 0, or a signal.
"""

from __future__ import annotations

import copy
import faulthandler
import os
import random
import sys
import warnings

import numpy as np

from gradwise import optimizers

CANARY, BORDER = 7.0, 16
SHAPES = [(3,), (2, 3), (), (1,), (4, 2), (17,), (0, 2), (5, 1)]
REFUSALS = (TypeError, ValueError, RuntimeError, BufferError)

# Name, arguments that both have, and those of the front end's class that make it the core's.
ALGORITHMS = [
    ("SGD", {}, {}),
    ("SGD", {"momentum": 0.9}, {}),
    ("Adam", {}, {}),
    ("Adam", {"amsgrad": True}, {}),
    ("RMSprop", {"momentum": 0.5, "centered": True}, {"alpha": 0.9}),
    ("Adagrad", {}, {}),
]
CORE_ONLY = [
    ("Adam", {"global_clipnorm": 0.5}),
    ("SGD", {"use_ema": True}),
    ("SGD", {"momentum": 0.9, "clipnorm": 1.0}),
]


class World:
    """An optimizer, its parameters, and a twin that nobody disturbs."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.arenas: list[np.ndarray] = []
        self.dtype = chance.choice(["float32", "float32", "float64"])
        self.shapes = [chance.choice(SHAPES) for _ in range(chance.randint(1, 3))]
        values = [self.random_values(shape) for shape in self.shapes]
        self.twins = [value.copy() for value in values]
        self.parameters = [self.parameter(value) for value in values]
        self.gone = False
        self.make_optimizers()

    def random_values(self, shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape))
        drawn = [self.chance.gauss(0.0, 1.0) for _ in range(count)]
        return np.array(drawn, dtype=self.dtype).reshape(shape)

    def between_canaries(self, value: np.ndarray) -> np.ndarray:
        arena = np.full(value.size + 2 * BORDER, CANARY, dtype=value.dtype)
        self.arenas.append(arena)
        inside = arena[BORDER : BORDER + value.size].reshape(value.shape)
        inside[...] = value
        return inside

    def check_canaries(self) -> None:
        for arena in self.arenas:
            assert (arena[:BORDER] == CANARY).all() and (arena[-BORDER:] == CANARY).all(), "foreign memory was written"

    def make_optimizers(self) -> None:
        name, arguments = self.chance.choice([(name, core) for name, core, _ in ALGORITHMS] + CORE_ONLY)
        self.twin = getattr(optimizers, name)(0.01, jit_compile=False, **arguments)
        self.optimizer = getattr(optimizers, name)(0.01, **arguments)
        self.description = f"{name} {arguments} {self.dtype} {self.shapes}"

    def step(self, gradients: list) -> None:
        self.optimizer.apply(gradients, self.parameters)

    def step_twin(self, gradients: list[np.ndarray]) -> None:
        self.twin.apply(gradients, self.twins)

    def slots(self) -> list:
        if not self.optimizer.built:
            return []
        return [cell.array for cells in self.optimizer.cells.grouped for cell in cells[1:]]

    def copied(self) -> None:
        self.optimizer, self.parameters = copy.deepcopy((self.optimizer, self.parameters))

    def read(self, array) -> np.ndarray:
        return np.array(array)

    def snapshot(self) -> list[bytes | None]:
        return [self.readable(array) for array in (*self.parameters, *self.slots())]

    def readable(self, array) -> bytes | None:
        return None if self.gone else self.read(array).tobytes()

    def plain(self, value: np.ndarray):
        return value.copy()

    def agree(self) -> bool:
        pairs = zip(self.parameters, self.twins, strict=True)
        return all(np.allclose(self.read(own), twin, rtol=1e-3, atol=1e-5, equal_nan=True) for own, twin in pairs)


class Change:
    """What was done, whether a step may still be made, and how it is undone."""

    def __init__(self, name: str, refused: bool = False, undo=None, final: bool = False, perhaps: bool = False) -> None:
        self.name, self.refused, self.undo, self.final, self.perhaps = name, refused, undo, final, perhaps


# -------------------------------------------------------------------- NumPy


class NumpyWorld(World):
    def agree(self) -> bool:
        return [own.tobytes() for own in self.parameters] == [twin.tobytes() for twin in self.twins]

    def parameter(self, value: np.ndarray) -> np.ndarray:
        return self.chance.choice([self.between_canaries, np.copy, self.over_bytes, self.column_major])(value)

    def column_major(self, value: np.ndarray) -> np.ndarray:
        return self.between_canaries(value.T).T

    def over_bytes(self, value: np.ndarray) -> np.ndarray:
        return np.ndarray(value.shape, value.dtype, buffer=bytearray(value.tobytes() or b" "))

    def gradient(self, value: np.ndarray) -> tuple[np.ndarray, Change]:
        kind = self.chance.randrange(10)
        if kind == 0:
            return self.between_canaries(value), Change("arena")
        if kind == 1:
            wide = np.repeat(value[..., None], 2, axis=-1)
            return wide[..., 0], Change("strided")
        if kind == 2:
            array = value.copy()
            array.setflags(write=False)
            return array, Change("read-only")
        if kind == 3:
            shifted = np.frombuffer(b" " + value.tobytes() + b" ", dtype=np.uint8)[1 : 1 + value.nbytes]
            return shifted.view(value.dtype).reshape(value.shape), Change("shifted")
        if kind == 4 and value.size > 1:
            array = value.copy()
            array.resize(value.size // 2, refcheck=False)
            return array, Change("shortened", refused=True)
        if kind == 5 and value.size:
            array = self.over_bytes(value)
            array.base.extend(bytes(2**16))
            return array, Change("moved", refused=True)
        if kind == 6 and value.size:
            owner = np.concatenate([value.ravel(), value.ravel()])
            array = owner[value.size :].reshape(value.shape)
            owner.resize(1, refcheck=False)
            return array, Change("owner resized", refused=True)
        if kind == 7:
            return value.copy(order="F"), Change("column-major")
        if kind == 9:
            return np.from_dlpack(value.copy()), Change("owner unknown")
        return value.copy(), Change("plain")

    def change(self) -> Change:
        array = self.chance.choice([*self.parameters, *self.slots()])
        saved, shape, dtype = array.copy(), array.shape, array.dtype
        kind = self.chance.randrange(8)

        def restored() -> None:
            array.setflags(write=True)
            array.dtype = dtype
            array.resize(shape, refcheck=False)
            array[...] = saved

        if kind == 0 and array.base is None and array.size:
            array.resize(self.chance.choice([0, 1, array.size - 1, array.size + 1, 1000]) or (0,), refcheck=False)
            return Change("resize", array.shape != shape, restored)
        if kind == 1 and array.size and array.flags.c_contiguous:
            array.shape = self.chance.choice([(-1,), (1, -1), (-1, 1), (*shape, 1)])
            return Change("shape", array.shape != shape, lambda: setattr(array, "shape", shape))
        if kind == 2 and array.size:
            array.dtype = "int32" if dtype == "float32" else "int64"
            return Change("dtype", True, lambda: setattr(array, "dtype", dtype))
        if kind == 3:
            array.setflags(write=False)
            return Change("read-only", True, lambda: array.setflags(write=True))
        if kind == 5 and type(array.base) is bytearray and array.size:
            array.base.extend(bytes(2**16))
            self.gone = True
            return Change("moved", True, final=True)
        if kind == 6 and isinstance(array.base, np.ndarray) and array.size:
            array.base.resize(3, refcheck=False)
            self.arenas = [arena for arena in self.arenas if arena is not array.base]
            self.gone = True
            return Change("owner resized", True, final=True)
        if kind == 7 and self.chance.random() < 0.2:
            self.copied()
            return Change("copied")
        return Change("nothing")


# -------------------------------------------------------------------- torch


class TorchWorld(World):
    def parameter(self, value: np.ndarray):
        column_major = self.chance.random() < 0.3
        return self.tensor(value.T).permute(list(range(value.ndim)[::-1])) if column_major else self.tensor(value)

    def tensor(self, value: np.ndarray):
        import torch

        if self.chance.random() < 0.5:
            return torch.tensor(value)
        arena = torch.full((value.size + 2 * BORDER,), CANARY, dtype=getattr(torch, self.dtype))
        self.arenas.append(arena)
        inside = arena[BORDER : BORDER + value.size].view(value.shape)
        inside.copy_(torch.tensor(value))
        return inside

    def read(self, array) -> np.ndarray:
        return array.detach().clone().numpy()

    def plain(self, value: np.ndarray):
        return self.tensor(value)

    def readable(self, array) -> bytes | None:
        whole = array.numel() == 0 or (array.untyped_storage().nbytes() >= array.nbytes and array.data_ptr())
        return self.read(array).tobytes() if whole and not array.is_meta else None

    def gradient(self, value: np.ndarray):
        import torch

        tensor = self.tensor(value)
        kind = self.chance.randrange(12)
        if kind == 0:
            return torch.stack([tensor, tensor], dim=-1)[..., 0], Change("strided")
        if kind == 1:
            return torch._neg_view(-tensor), Change("negative")
        if kind == 2:
            value[...] = 0.0
            return torch._efficientzerotensor(value.shape, dtype=tensor.dtype), Change("zeros")
        if kind == 3 and value.size:
            tensor = tensor.clone()
            tensor.untyped_storage().resize_(self.chance.choice([0, tensor.nbytes - 1]))
            return tensor, Change("given back", refused=True)
        if kind == 4 and value.size > 1:
            return tensor.clone().resize_(value.size - 1), Change("shortened", refused=True)
        if kind == 5 and value.size:
            shifted = torch.frombuffer(bytearray(b" " + value.tobytes()), dtype=tensor.dtype, offset=1)
            return shifted.view(value.shape), Change("shifted")
        if kind == 6:
            return torch.empty_like(tensor, device="meta"), Change("meta", refused=True)
        if kind == 7:
            return tensor.clone().share_memory_(), Change("shared")
        if kind == 8:
            value[...] = 1.0
            return torch.ones((), dtype=tensor.dtype).expand(value.shape), Change("expanded")
        return tensor, Change("plain")

    def change(self) -> Change:
        with self.no_grad():
            return self.changed(self.chance.choice([*self.parameters, *self.slots()]))

    def no_grad(self):
        import torch

        return torch.no_grad()

    def changed(self, tensor) -> Change:
        import torch

        saved, values, count = tensor.data, tensor.detach().clone().resolve_neg(), tensor.numel()

        def restored() -> None:
            with torch.no_grad():
                tensor.data = values.clone()

        kind = self.chance.randrange(20)
        if kind == 0:
            tensor.data = values
            return Change("data")
        if kind == 1:
            tensor.data = self.tensor(values.numpy())
            return Change("data elsewhere")
        if kind == 2:
            tensor.data = values
            tensor.set_(values.clone())
            return Change("set_")
        if kind == 3 and self.chance.random() < 0.2:
            tensor.data = values
            tensor.share_memory_()
            return Change("shared")
        if kind == 4:
            other = torch.nn.Parameter(values.clone()) if type(tensor) is torch.nn.Parameter else values.clone()
            other.requires_grad_(tensor.requires_grad)
            try:
                torch.utils.swap_tensors(tensor, other)
            except RuntimeError:
                return Change("not swapped")
            return Change("swapped")
        if kind == 5:
            tensor.data = values
            tensor.untyped_storage().resize_(tensor.nbytes + 64)
            return Change("longer storage")
        if kind in (6, 7) and count:
            tensor.data = values.clone()
            for _ in range(self.chance.randint(1, 3)):
                tensor.untyped_storage().resize_(self.chance.choice([0, tensor.nbytes - 1, tensor.nbytes // 2]))
            return Change("given back", True, restored)
        if kind == 8 and count > 1:
            tensor.data = self.chance.choice([saved.reshape(-1)[: count // 2], saved.reshape(-1)[:0].clone()])
            return Change("shortened", True, lambda: setattr(tensor, "data", saved))
        if kind == 9:
            tensor.data = torch.cat([values.reshape(-1), values.reshape(-1), values.new_ones(3)])
            return Change("lengthened", True, restored)
        if kind == 10:
            kinds = [torch.float16, torch.float64 if self.dtype == "float32" else torch.float32]
            kinds += [] if tensor.requires_grad else [torch.int32, torch.int64]
            tensor.data = values.to(self.chance.choice(kinds))
            return Change("dtype", True, restored, perhaps=isinstance(self, FrontendWorld))
        if kind == 11 and tensor.ndim == 2:
            tensor.data = values.t().contiguous().t()
            return Change("column-major")
        if kind == 12 and tensor.ndim != 1:
            tensor.data = saved.reshape(-1)
            return Change("reshaped", True, lambda: setattr(tensor, "data", saved))
        if kind == 13:
            tensor.data = torch._neg_view(-values)
            return Change("negative")
        if kind == 14 and count:
            tensor.data = torch._efficientzerotensor(values.shape, dtype=values.dtype)
            return Change("zeros", True, restored)
        if kind == 15 and count > 1:
            tensor.data = values.new_ones(()).expand(values.shape)
            return Change("expanded", True, restored)
        if kind == 16 and count > 1 and not tensor.requires_grad:
            tensor.data = values.clone()
            tensor.resize_(1)
            return Change("resize_", True, restored)
        if kind == 17 and self.chance.random() < 0.2:
            self.copied()
            return Change("copied")
        # What is shared the child would change for both.
        shared = any(each.is_shared() for each in (*self.parameters, *self.slots(), *self.counts()))
        if kind == 18 and self.chance.random() < 0.02 and not shared:
            self.fork()
            return Change("forked")
        return Change("nothing")

    def counts(self) -> list:
        """Numbers of steps that lie in tensors."""
        return []

    def fork(self) -> None:
        child = os.fork()
        if child == 0:
            self.step([self.tensor(self.random_values(shape)) for shape in self.shapes])
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, "a child process ended badly"


class FrontendWorld(TorchWorld):
    def parameter(self, value: np.ndarray):
        import torch

        return torch.nn.Parameter(super().parameter(value))

    def make_optimizers(self) -> None:
        from gradwise.frontends import torch as front

        name, core, own = self.chance.choice(ALGORITHMS)
        own = {**core, **own}
        self.optimizer = getattr(front, name)(self.parameters, lr=0.01, **own)
        self.twin = getattr(optimizers, name)(0.01, convention="torch", jit_compile=False, **core)
        self.description = f"front end's {name} {own} {self.dtype} {self.shapes}"

    def step(self, gradients: list) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            # What `.grad =` refuses, a hook may put there by `.grad.data =` or `resize_`.
            try:
                parameter.grad = gradient
            except RuntimeError:
                parameter.grad = None
                raise
        self.optimizer.step()

    def slots(self) -> list:
        entries = [self.optimizer.state.get(parameter, {}) for parameter in self.parameters]
        return [value for entry in entries for key, value in entry.items() if value is not None and key != "step"]

    def counts(self) -> list:
        entries = [self.optimizer.state.get(parameter, {}) for parameter in self.parameters]
        return [entry["step"] for entry in entries if "step" in entry]

    def change(self) -> Change:
        counts = self.counts()
        if counts and self.chance.random() < 0.2:
            return self.count_moved(self.chance.choice(counts))
        return super().change()

    def count_moved(self, count) -> Change:
        import torch

        values, kind = count.clone(), self.chance.randrange(7)
        if kind == 0:
            count.data = values
        elif kind == 1:
            count.data = torch.tensor([CANARY, float(values), CANARY], dtype=values.dtype)[1]
        elif kind == 2 and not count.is_neg():  # a negation that is put off would stay, and turn the new value round
            count.set_(values)
        elif kind == 3:
            count.share_memory_()
        elif kind == 4:
            count.data = values.to(self.chance.choice([torch.float64, torch.int64]))
        elif kind == 5:
            count.data = torch._neg_view(-values)
        elif kind == 6:
            count.data = values.clone()
            count.untyped_storage().resize_(0)
            return Change("count given back", True, lambda: setattr(count, "data", values))
        return Change(f"count moved, {kind}")

    def copied(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        self.parameters, self.optimizer = copy.deepcopy((self.parameters, self.optimizer))


WORLDS = {"numpy": NumpyWorld, "torch": TorchWorld, "frontend": FrontendWorld}


def run(library: str, steps: int, seed: int) -> None:
    """So many steps, in worlds of at most 60 each."""
    chance, made = random.Random(seed), 0
    while made < steps:
        world = WORLDS[library](chance)
        one_step(world, chance, disturbed=False)
        for _ in range(min(60, steps - made)):
            made += 1
            if not one_step(world, chance):
                break


def one_step(world: World, chance: random.Random, disturbed: bool = True) -> bool:
    """A step, perhaps after a change, and twice if that had to be undone; whether the world goes on."""
    change = world.change() if disturbed and chance.random() < 0.4 else Change("nothing")
    values = [world.random_values(shape) for shape in world.shapes]
    odd = disturbed and chance.random() < 0.4
    made = [world.gradient(value) if odd else (world.plain(value), Change("plain")) for value in values]
    said = f"{change.name}, {[each.name for _, each in made]}: {world.description}"
    refused = change.refused or any(each.refused for _, each in made)
    gradients = [gradient for gradient, _ in made]
    if refused:
        before = world.snapshot()
        try:
            world.step(gradients)
        except REFUSALS:
            assert world.snapshot() == before, f"a step that was refused changed something: {said}"
        else:
            # The front end may link what its state holds anew; a slot of less precision has another result.
            assert change.perhaps and not any(each.refused for _, each in made), f"a step was made: {said}"
            world.check_canaries()
            return False
        if change.final:
            world.check_canaries()
            return False
        if change.undo is not None:
            change.undo()
        gradients = [world.plain(value) for value in values]
    world.step(gradients)
    world.step_twin(values)
    world.check_canaries()
    assert world.agree(), f"other results: {said}\n{world.parameters}\n{world.twins}"
    del world.arenas[len(world.parameters) + 20 :]
    return True


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
