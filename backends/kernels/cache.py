"""Compiled code kept on disk between processes, in a folder that nobody else can write to.

The folder is `kernels` below `GRADWISE_CACHE_DIR`, or else below `gradwise` in the user's cache folder
(`XDG_CACHE_HOME`, `~/.cache`): the first that is safe (see `safe_folders`) and that can be written to; safe ones before
it, such as that of an image which root has filled, are read. Where there is none, or no room in it, code stays in this
process's memory: nothing is put into a temporary folder.

A file is named by a digest of all that its content depends on, and is put there in one move, so that many processes may
start at once. It begins with the digest of its name and content: one that was cut off, changed or renamed counts as
missing, is compiled again and replaced. What the content is, only the compiler's side knows (see `compiled`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator

from ..losses import warn_once
from .safe_folders import safe_file, why_unsafe

_NAMED = "GRADWISE_CACHE_DIR"
_READING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_HEADER = b"gradwise compiled code 1\n"
_AGAIN = "every process compiles its update rules again, which takes some seconds"
_ADVICE = f"set {_NAMED} to a folder that has room and that only you can write to"


def read(name: str) -> bytes | None:
    """What is kept under a name, or None if that is nothing, or nothing that can be trusted."""
    for folder in _folders()[0]:
        try:
            content = _content(os.path.join(folder, name))
        except OSError:
            continue
        data = content[len(_HEADER) + hashlib.sha256().digest_size :]
        if content == _sealed(name, data):
            return data
    return None


def _content(path: str) -> bytes:
    handle = os.open(path, _READING)
    try:
        if not safe_file(os.fstat(handle)):
            return b""
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def place() -> str | None:
    """The folder that code is put into, or None if there is none."""
    folders, _ = _folders()
    return folders[-1] if folders and _may_write(folders[-1]) else None


def why_no_place() -> str | None:
    """Why code cannot be kept, and what to do; None where it can be."""
    folders, refused = _folders()
    if place() is not None:
        return None
    reasons = [*refused, *(f"{folder} cannot be written to" for folder in folders)] or ["there is no home folder"]
    return f"Compiled code cannot be kept ({'; '.join(reasons)}): {_AGAIN}; {_ADVICE}."


def write(name: str, data: bytes) -> bool:
    """Keep it under a name; whether that was done. If not, there is a warning."""
    folder, refused = place(), _folders()[1]
    if folder is None:
        warn_once("no folder", str(why_no_place()))
        return False
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with open(handle, "wb") as file:
                file.write(_sealed(name, data))
            os.replace(temporary, os.path.join(folder, name))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        warn_once("no room", f"Compiled code cannot be kept in {folder} ({error}): {_AGAIN}; {_ADVICE}.")
        return False
    if refused and os.environ.get(_NAMED):
        warn_once("refused", f"{refused[0]}: compiled code is kept in {folder} instead; {_ADVICE}.")
    return True


def _folders() -> tuple[list[str], list[str]]:
    """Safe folders up to the first that can be written to, which is the last; and why others are not among them."""
    safe: list[str] = []
    refused: list[str] = []
    for base in _bases():
        reasons: list[str] = []
        # The usual one, and one beside it for this user, where the usual one is another's.
        for name in ("kernels", f"kernels-{os.geteuid() if hasattr(os, 'geteuid') else 'own'}"):
            folder = os.path.join(base, name)
            reason = why_unsafe(folder)
            if reason is None:
                safe.append(folder)
                if _may_write(folder):
                    return safe, refused + reasons[:1]
            else:
                reasons.append(reason)
        refused += reasons[:1]
    return safe, refused


def _may_write(folder: str) -> bool:
    # By the rights that this process has now, as its own writing would be: without them, those of who started it.
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _bases() -> Iterator[str]:
    named = os.environ.get(_NAMED)
    if named:
        yield os.path.join(_here(), named)
    # By its definition one that is empty or relative counts as not set.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    home = os.environ.get("HOME") or os.path.expanduser("~")
    for folder in (shared, os.path.join(home, ".cache")):
        if os.path.isabs(folder):
            yield os.path.join(folder, "gradwise")


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # It was removed.
        return os.sep


def _sealed(name: str, data: bytes) -> bytes:
    return _HEADER + hashlib.sha256(name.encode() + data).digest() + data
