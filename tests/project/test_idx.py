"""The reader of IDX files, on files that the tests write byte by byte."""

import gzip
import importlib
import re
import struct
import sys
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
idx = importlib.import_module("idx")

IMAGES = numpy.arange(24, dtype=numpy.uint8).reshape(2, 3, 4)
CONTENT = b"\x00\x00\x08\x03" + struct.pack(">III", 2, 3, 4) + IMAGES.tobytes()


@pytest.fixture
def write(tmp_path):
    def write(content, name="images"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def refused(path, *parts, **keywords):
    """The reader's one error names the file, and says what was expected and what was found."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        idx.read_idx(path, **keywords)
    for part in ("expected", "found", *parts):
        assert part in str(caught.value)


def test_plain_file(write):
    array = idx.read_idx(write(CONTENT), dimensions=3)
    numpy.testing.assert_array_equal(array, IMAGES, strict=True)
    array[0] = 0  # the array is the caller's own


@pytest.mark.parametrize("name", ["images.gz", "images"])
def test_gzip_file_whatever_its_name(write, name):
    numpy.testing.assert_array_equal(idx.read_idx(write(gzip.compress(CONTENT), name)), IMAGES, strict=True)


def test_plain_file_under_a_name_with_gz(write):
    # Some programs decompress a download and keep its name.
    numpy.testing.assert_array_equal(idx.read_idx(write(CONTENT, "images.gz")), IMAGES, strict=True)


@pytest.mark.parametrize(
    ("code", "name"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_every_type_of_number(write, code, name):
    values = numpy.array([1, -2, 3] if name[0] != "u" else [1, 254, 3], dtype=name)
    content = bytes([0, 0, code, 1]) + struct.pack(">I", 3) + values.astype(f">{name}").tobytes()
    numpy.testing.assert_array_equal(idx.read_idx(write(content)), values, strict=True)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_truncated_data(write, compress):
    refused(write(compress(CONTENT[:-1])), "24 bytes", "23", "truncated")


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_overlong_data(write, compress):
    refused(write(compress(CONTENT + b"\x00")), "24 bytes", "25", "overlong")


def test_truncated_header(write):
    refused(write(CONTENT[:15]), "16 bytes", "15 bytes", "truncated")


@pytest.mark.parametrize("length", [0, 3])
def test_truncated_magic_number(write, length):
    refused(write(CONTENT[:length]), "4 bytes", f"{length} bytes")


def test_truncated_gzip(write):
    refused(write(gzip.compress(CONTENT)[:-9]), "gzip")


def test_damaged_gzip(write):
    content = bytearray(gzip.compress(CONTENT))
    content[-8] ^= 1  # the checksum
    refused(write(bytes(content)), "gzip")


def test_wrong_magic_number(write):
    refused(write(b"\x89PNG" + CONTENT[4:]), "magic number", "89504e47")


def test_unknown_type_code(write):
    refused(write(b"\x00\x00\x0a\x03" + CONTENT[4:]), "type code", "0a")


def test_labels_where_images_are_expected(write):
    refused(write(b"\x00\x00\x08\x01" + struct.pack(">I", 2) + b"\x01\x02"), "3 dimension", "1", dimensions=3)


@pytest.mark.parametrize("count", [0, 255])
def test_impossible_number_of_dimensions(write, count):
    refused(write(bytes([0, 0, 8, count]) + bytes(4 * count)), "1 to 32 dimension", str(count))


def test_dimension_of_zero(write):
    refused(write(b"\x00\x00\x08\x02" + struct.pack(">II", 0, 3)), "at least 1", "(0, 3)")


def test_dimensions_too_large_for_any_memory(write):
    refused(write(b"\x00\x00\x08\x03" + b"\xff" * 12), "truncated")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        idx.read_idx(tmp_path / "nothing-here")


def test_finding_plain_and_compressed_files(write, tmp_path):
    names = [name + suffix for name, suffix in zip(idx.FILE_NAMES, ("", ".gz", ".gz", ""), strict=True)]
    paths = [write(b"", name) for name in names]
    assert idx.find_idx_files(tmp_path) == idx.IdxFiles(*paths)
    both = write(b"", names[0] + ".gz")
    assert both not in idx.find_idx_files(str(tmp_path))  # the plain file, which reads faster


@pytest.mark.parametrize("missing", idx.FILE_NAMES)
def test_a_missing_one_of_the_four_is_named(write, tmp_path, missing):
    for name in idx.FILE_NAMES:
        if name != missing:
            write(b"", name)
    with pytest.raises(FileNotFoundError, match=f"{missing}.gz") as caught:
        idx.find_idx_files(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        idx.find_idx_files(tmp_path / "nowhere")
