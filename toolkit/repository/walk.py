"""Walking a tree by descriptor: no path is resolved twice, so nobody can put a link under the walker's feet.

Parents come before children and names in the order of their bytes, which makes listings of the same tree the same.
"""

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from toolkit.repository import layout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Problem = Callable[[str, str], None]


class Node(NamedTuple):
    """One name in a tree. `at` is its directory's descriptor, open until the walk goes on."""

    path: str
    at: int
    name: str
    status: os.stat_result


class _Level(NamedTuple):
    descriptor: int
    path: str
    names: Iterator[str]


def walk(root: os.PathLike[str], name: str, problem: Problem, *, exclude: Sequence[str] = ()) -> Iterator[Node]:
    """Yield the root under the given name, and everything below it that no pattern excludes.

    Patterns are matched against the path inside the tree. What cannot be looked at is told to `problem` and left out.
    """
    descriptor = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
    levels = [_Level(descriptor, name, iter(()))]
    try:
        yield Node(name, descriptor, ".", os.fstat(descriptor))
        levels[0] = _Level(descriptor, name, _names(descriptor, name, problem))
        while levels:
            yield from _descend(levels, len(name) + 1, problem, exclude)
    finally:
        for level in levels:
            os.close(level.descriptor)


def _descend(levels: list[_Level], strip: int, problem: Problem, exclude: Sequence[str]) -> Iterator[Node]:
    """Yield the rest of the innermost directory, or up to its next subdirectory, which becomes the innermost."""
    at, above, names = levels[-1]
    for name in names:
        path = f"{above}/{name}"
        if exclude and any(fnmatch.fnmatchcase(path[strip:], pattern) for pattern in exclude):
            continue
        try:
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            problem(path, error.strerror or str(error))
            continue
        yield Node(path, at, name, status)
        if stat.S_ISDIR(status.st_mode) and (level := _enter(levels, path, name, problem)):
            levels.append(level)
            return
    levels.pop()
    os.close(at)


def _enter(levels: list[_Level], path: str, name: str, problem: Problem) -> _Level | None:
    # Descriptors are few, and a format with endless paths would be a weapon against its readers.
    if path.count("/") + 2 > layout.DEPTH_LIMIT or len(os.fsencode(path)) > layout.PATH_LIMIT - 256:
        problem(path, "too deep to be backed up")
        return None
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=levels[-1].descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem(path, error.strerror or str(error))
        return None
    return _Level(descriptor, path, _names(descriptor, path, problem))


def _names(descriptor: int, path: str, problem: Problem) -> Iterator[str]:
    try:
        return iter(sorted(os.listdir(descriptor), key=os.fsencode))
    except OSError as error:
        problem(path, error.strerror or str(error))
        return iter(())
