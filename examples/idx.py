"""Reads IDX files, the format in which MNIST and Fashion-MNIST are published, plain or compressed with gzip.

A file starts with two zero bytes, a code for the type of its numbers and the number of its dimensions: together its
magic number. The dimensions follow, then the numbers, all with the most significant byte first.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy

DTYPES = {
    0x08: numpy.dtype("uint8"),
    0x09: numpy.dtype("int8"),
    0x0B: numpy.dtype(">i2"),
    0x0C: numpy.dtype(">i4"),
    0x0D: numpy.dtype(">f4"),
    0x0E: numpy.dtype(">f8"),
}
MOST_DIMENSIONS = 32
"""NumPy's arrays have no more in every version; real files have one to four."""


class IdxFiles(NamedTuple):
    """The four files of MNIST or Fashion-MNIST."""

    train_images: Path
    train_labels: Path
    validation_images: Path
    validation_labels: Path


FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""The names under which the files are published, with or without `.gz`."""


def find_idx_files(folder: str | Path) -> IdxFiles:
    """Find the four files of MNIST or Fashion-MNIST under their original names, plain or with `.gz`.

    Args:
        folder: where they lie.

    Raises:
        FileNotFoundError: if one of them, or the folder, is missing; the error names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: expected one that holds {', '.join(FILE_NAMES)}.")
    found = []
    for name in FILE_NAMES:
        candidates = (folder / name, folder / f"{name}.gz")
        existing = [candidate for candidate in candidates if candidate.is_file()]
        if not existing:
            raise FileNotFoundError(f"{folder} holds neither {name} nor {name}.gz.")
        found.append(existing[0])
    return IdxFiles(*found)


def read_idx(path: str | Path, dimensions: int | None = None) -> numpy.ndarray:
    """Read one IDX file.

    Args:
        path: the file; whether it is compressed is seen from its first bytes, not from its name.
        dimensions: how many dimensions it must have: 3 for images, 1 for labels. None takes any.

    Returns:
        A new array in the machine's byte order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an IDX file, or is damaged; the error names the file, what was expected and what was
            found.
    """
    path = Path(path)
    content = _decompressed(path)
    if len(content) < 4:
        raise ValueError(f"{path}: expected a magic number of 4 bytes, found {len(content)} bytes in all.")
    zeros, code, count = struct.unpack(">HBB", content[:4])
    magic = content[:4].hex()
    if zeros != 0:
        raise ValueError(f"{path}: expected an IDX magic number, which starts with 0000, found {magic}.")
    if code not in DTYPES:
        codes = ", ".join(f"{known:02x}" for known in DTYPES)
        raise ValueError(f"{path}: expected a type code of {codes} in the magic number, found {code:02x} in {magic}.")
    allowed = range(1, MOST_DIMENSIONS + 1) if dimensions is None else [dimensions]
    if count not in allowed:
        expected = f"1 to {MOST_DIMENSIONS}" if dimensions is None else dimensions
        raise ValueError(f"{path}: expected {expected} dimension(s), found {count} in the magic number {magic}.")
    start = 4 + 4 * count
    if len(content) < start:
        raise ValueError(
            f"{path}: expected a header of {start} bytes, found {len(content)} bytes in all: it is truncated."
        )
    shape = struct.unpack(f">{count}I", content[4:start])
    if 0 in shape:
        raise ValueError(f"{path}: expected dimensions of at least 1, found {shape}.")
    dtype = DTYPES[code]
    size, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if found != size:
        what = "truncated" if found < size else "overlong"
        raise ValueError(
            f"{path}: expected {size} bytes of data for the dimensions {shape}, found {found}: it is {what}."
        )
    return numpy.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _decompressed(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file, found a damaged or truncated one: {error}.") from error
