"""Folders for code: nobody but the user and root can change what lies in them.

Who can write to a folder of compiled code decides what others run. So every folder on the way from the root is looked
at, the targets of symbolic links with their own ways: each belongs to the user or to root, and nobody else may write
to it. A sticky folder, such as `/tmp`, may be on the way, because there nobody can replace what belongs to another,
but it cannot be the last. A group that has no member but the user is the user.
"""

from __future__ import annotations

import contextlib
import os
import stat

_MOST_LINKS = 40


def why_unsafe(folder: str) -> str | None:
    """Look at a folder and at those above it; why code in it cannot be trusted, or None.

    Those that are missing are made, for the user only, and none below a folder that is unsafe.

    Args:
        folder: an absolute path.
    """
    try:
        if hasattr(os, "geteuid"):
            return _why_unsafe(folder, os.geteuid())
        # Files have no owners of this kind.
        os.makedirs(folder, exist_ok=True)
        return None
    except (OSError, ValueError) as error:
        # A path with a null character is a ValueError.
        return f"{folder} cannot be used ({error})"


def _why_unsafe(folder: str, user: int) -> str | None:
    place, links = os.sep, 0
    remaining = folder.split(os.sep)[::-1]
    status = os.lstat(place)
    reason = _why_not_on_the_way(place, status, user)
    while remaining and reason is None:
        name = remaining.pop()
        if name in ("", os.curdir):
            continue
        if name == os.pardir:
            place = os.path.dirname(place)
            status = os.lstat(place)
            continue
        following = os.path.join(place, name)
        status = _made(following)
        if not stat.S_ISLNK(status.st_mode):
            place, reason = following, _why_not_on_the_way(following, status, user)
            continue
        links += 1
        if status.st_uid not in (0, user):
            reason = f"the link {following} belongs to user {status.st_uid}"
        elif links > _MOST_LINKS:
            reason = f"{folder} leads through too many links"
        else:
            target = os.readlink(following)
            remaining += target.split(os.sep)[::-1]
            if os.path.isabs(target):
                place, status = os.sep, os.lstat(os.sep)
    if reason is None and _others_write(place, status, user):
        reason = f"others may write to {place}"
    return reason


def _made(folder: str) -> os.stat_result:
    try:
        return os.lstat(folder)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # Another process may be quicker.
            os.mkdir(folder, 0o700)
        return os.lstat(folder)


def _why_not_on_the_way(folder: str, status: os.stat_result, user: int) -> str | None:
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is no folder"
    if status.st_uid not in (0, user):
        return f"{folder} belongs to user {status.st_uid}"
    if _others_write(folder, status, user) and not status.st_mode & stat.S_ISVTX:
        return f"others may write to {folder}"
    return None


def _others_write(folder: str, status: os.stat_result, user: int) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    # With a list of who may do what, the group's rights are the most that anybody on it has.
    return bool(status.st_mode & stat.S_IWGRP) and (_has_list(folder) or not _only_of(status.st_gid, user))


def _has_list(folder: str) -> bool:
    return hasattr(os, "listxattr") and "system.posix_acl_access" in os.listxattr(folder)


def _only_of(group: int, user: int) -> bool:
    """Whether a group is the user's private one, as many systems give each user one of the same name.

    Its own list leaves out those whose first group it is, so all users of the system are looked at too. A list of them
    without the user is not all of them, as that of a directory whose users are found by name alone.
    """
    if group != os.getgid():
        return False
    try:
        import grp
        import pwd

        name = pwd.getpwuid(user).pw_name
        found = grp.getgrgid(group)
        if found.gr_name != name or not set(found.gr_mem) <= {name}:
            return False
        members = {each.pw_uid for each in pwd.getpwall() if each.pw_gid == group}
    except (ImportError, KeyError, OSError):
        return False
    return user in members and members <= {0, user}


def safe_file(status: os.stat_result) -> bool:
    """Whether an open file is a plain one that nobody but the user and root can have written."""
    if not stat.S_ISREG(status.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
