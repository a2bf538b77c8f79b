"""Whether a value is fit to be a secret, decided from the value alone. What is said never tells what it is."""

import re
from collections.abc import Iterator

from toolkit.words.values import Secret

_PLACEHOLDERS = {
    *("changeme", "changethis", "changeit", "replaceme", "replacethis", "placeholder", "example", "default", "dummy"),
    *("password", "passwort", "passw0rd", "secret", "mysecret", "mypassword", "yourpassword", "yoursecret", "token"),
    *("admin", "root", "test", "testing", "todo", "fixme", "tbd", "none", "null", "undefined", "123456", "12345678"),
}


def faults(value: Secret) -> Iterator[str]:
    """Yield what is wrong with a value."""
    content = value.reveal()
    if not content:
        yield "is empty"
        return
    if not content.strip():
        yield "is nothing but white space"
        return
    # Keys and certificates have many lines and end with a line end; a password has neither.
    if content.endswith(b"\n") and b"\n" not in content.rstrip(b"\r\n"):
        yield "ends with a stray newline"
    elif b"\n" not in content and content != content.strip():
        yield "begins or ends with white space"
    if is_placeholder(content.decode(errors="replace")):
        yield "is a placeholder"


def is_placeholder(text: str) -> bool:
    """Say whether the text stands for a secret rather than being one."""
    stripped = text.strip().lower()
    if re.fullmatch(r"<.*>|\$\{.*\}|x+|\*+|\.+", stripped):
        return True
    bare = re.sub(r"[^a-z0-9]", "", stripped)
    return bare in _PLACEHOLDERS or bare.startswith(("changeme", "replaceme"))
