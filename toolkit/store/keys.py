"""Keys: one spelling for every store, so that no name means something else on a disk or in a URL."""

import re

from toolkit.words.errors import StoreError

# Names begin with a letter or digit: no `..`, nothing hidden, and room for a store's own dot-names beside them.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=,~:-]*(/[A-Za-z0-9][A-Za-z0-9._@+=,~:-]*)*")
_LONGEST = 512


def checked(key: str) -> str:
    """Return the key, or raise StoreError where it is not names joined by `/`."""
    if len(key) > _LONGEST or not _KEY.fullmatch(key):
        raise StoreError(f"{key[:80]!r} is not an object name", hint="use letters, digits and ._@+=,~:- in names")
    return key


def checked_prefix(prefix: str) -> str:
    """Return the prefix, or raise StoreError where no key can begin with it."""
    if prefix:
        checked(prefix.removesuffix("/"))
    return prefix
