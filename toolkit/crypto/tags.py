"""Tags: keyed names of values. A changed value has another tag, and a tag confirms no guess to who lacks the key."""

import hmac

LENGTH = 16


def tag(key: bytes, name: str, value: bytes) -> str:
    """Return 16 hexadecimal digits for a named value under a host's key."""
    # Names hold no NUL, so no two pairs of name and value are signed alike.
    return hmac.digest(key, name.encode() + b"\0" + value, "sha256").hex()[:LENGTH]
