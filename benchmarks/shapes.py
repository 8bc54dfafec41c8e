"""The parameters of the models that steps are measured on: shapes only, so nothing has to be downloaded."""

from __future__ import annotations

import math

Shape = tuple[int, ...]


def resnet50() -> list[Shape]:
    """ResNet-50 for 1000 classes: convolutions without bias, each with a batch norm, and one dense layer."""

    def convolution(inputs: int, outputs: int, size: int) -> list[Shape]:
        return [(outputs, inputs, size, size), (outputs,), (outputs,)]

    shapes = convolution(3, 64, 7)
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(inputs, width, 1) + convolution(width, width, 3) + convolution(width, 4 * width, 1)
            if block == 0:
                shapes += convolution(inputs, 4 * width, 1)
            inputs = 4 * width
    return [*shapes, (1000, inputs), (1000,)]


def gpt2() -> list[Shape]:
    """GPT-2 small: twelve blocks of width 768; the output layer is the embedding."""
    width, block = 768, []
    block += [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return [(50257, width), (1024, width), *(12 * block), (width,), (width,)]


def tiny() -> list[Shape]:
    """Ten dense layers of ten units on eight inputs: here only the cost of a call counts."""
    return [shape for inputs in (8, *[10] * 9) for shape in ((inputs, 10), (10,))]


MODELS = {"tiny": tiny(), "resnet50": resnet50(), "gpt2": gpt2()}
TITLES = {"tiny": "tiny model", "resnet50": "ResNet-50", "gpt2": "GPT-2 small"}


def element_count(shapes: list[Shape]) -> int:
    return sum(map(math.prod, shapes))


assert (len(MODELS["tiny"]), element_count(MODELS["tiny"])) == (20, 1_080)
assert (len(MODELS["resnet50"]), element_count(MODELS["resnet50"])) == (161, 25_557_032)
assert (len(MODELS["gpt2"]), element_count(MODELS["gpt2"])) == (148, 124_439_808)
