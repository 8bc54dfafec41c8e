"""The parameters of the models that steps are measured on: shapes only, so nothing has to be downloaded."""

from __future__ import annotations

import math

Shape = tuple[int, ...]


def resnet50(width: int = 64, classes: int = 1000) -> list[Shape]:
    """ResNet-50: convolutions without bias, each with a batch norm, and one dense layer."""

    def convolution(inputs: int, outputs: int, size: int) -> list[Shape]:
        return [(outputs, inputs, size, size), (outputs,), (outputs,)]

    shapes = convolution(3, width, 7)
    inputs = width
    for blocks in (3, 4, 6, 3):
        for block in range(blocks):
            shapes += convolution(inputs, width, 1) + convolution(width, width, 3) + convolution(width, 4 * width, 1)
            if block == 0:
                shapes += convolution(inputs, 4 * width, 1)
            inputs = 4 * width
        width *= 2
    return [*shapes, (classes, inputs), (classes,)]


def gpt2() -> list[Shape]:
    """GPT-2 small: twelve blocks of width 768; the output layer is the embedding."""
    width, block = 768, []
    block += [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return [(50257, width), (1024, width), *(12 * block), (width,), (width,)]


def tiny() -> list[Shape]:
    """Ten dense layers of ten units on eight inputs: here only the cost of a call counts."""
    return [shape for inputs in (8, *[10] * 9) for shape in ((inputs, 10), (10,))]


MODELS = {
    "tiny": tiny(),
    "resnet50": resnet50(),
    "gpt2": gpt2(),
    "narrow": resnet50(16, 100),
    "many": [(100,)] * 10_000,
    "thousand": [(100,)] * 1_000,
    "groups": [(64,)] * 465,
    "embedding": [(100_000, 64)],
    "scalar": [*tiny(), ()],
    "vector": [(1000,)],
}
TITLES = {
    "tiny": "tiny model",
    "resnet50": "ResNet-50",
    "gpt2": "GPT-2 small",
    "narrow": "narrow ResNet-50",
    "many": "many tensors",
    "thousand": "thousand tensors",
    "groups": "small tensors",
    "embedding": "embedding",
    "scalar": "tiny model with a scalar",
    "vector": "vector",
}
PUBLISHED = ("tiny", "resnet50", "gpt2")
"""Those that are measured where neither a model nor a condition is named."""


def element_count(shapes: list[Shape]) -> int:
    return sum(map(math.prod, shapes))


assert (len(MODELS["tiny"]), element_count(MODELS["tiny"])) == (20, 1_080)
assert (len(MODELS["resnet50"]), element_count(MODELS["resnet50"])) == (161, 25_557_032)
assert (len(MODELS["gpt2"]), element_count(MODELS["gpt2"])) == (148, 124_439_808)
