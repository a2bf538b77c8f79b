"""Providers: where a secret comes from, written in a file that anyone may read.

`env:NAME` is a variable of this process; `command:program arguments` is what a program prints, run without a shell
in the repository's root; `secret:NAME` is a secret of the vault, which the caller opens. Nothing is looked up before
`resolve`, and no value ever reaches an argument list, another process's environment or a message.
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

_ENVIRONMENT, _COMMAND, _KEPT = "env:", "command:", "secret:"

KEPT_NAME = r"(?=.{1,64}$)[a-z0-9_][a-z0-9_-]*(\.[a-z0-9_-]+)*"
"""A name that is also a file's: no slash, no leading dot, no two dots in a row."""
KEPT_NAME_TOLD = "a name of lower-case letters, digits, _, - and single dots, at most 64 of them"


def is_provider(text: str) -> bool:
    """Say whether the text names a provider rather than being a value itself."""
    return text.startswith((_ENVIRONMENT, _COMMAND, _KEPT))


def kept_name(text: str) -> str | None:
    """Return which secret of the vault is meant, None where the provider is another."""
    return text.removeprefix(_KEPT) if text.startswith(_KEPT) else None


def fault_in(text: str) -> str:
    """Return what keeps a provider from ever working, or an empty string."""
    if text.startswith(_ENVIRONMENT):
        sound = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text.removeprefix(_ENVIRONMENT))
        return "" if sound else "env: takes the name of one variable"
    if (name := kept_name(text)) is not None:
        return "" if re.fullmatch(KEPT_NAME, name) else f"secret: takes {KEPT_NAME_TOLD}"
    try:
        return "" if shlex.split(text.removeprefix(_COMMAND)) else "command: takes a program"
    except ValueError:
        return "command: has an open quotation"


def resolve(
    text: str,
    *,
    root: Path,
    environ: Mapping[str, str],
    within: float = 60.0,
    vault: Callable[[str], Secret] | None = None,
) -> Secret:
    """Return the secret a provider gives, without the line end a program puts behind it. Raises SecretError.

    `vault` gives the secrets that are kept; without it, `secret:` is refused.
    """
    if not is_provider(text):
        # The text may be the secret itself: it is not repeated.
        raise SecretError("a secret is written out where a provider belongs", hint="use env:NAME or command:program")
    if fault := fault_in(text):
        raise SecretError(fault, hint="write env:NAME, command:program arguments or secret:NAME")
    if (name := kept_name(text)) is not None:
        return _kept(name, vault)
    value = _from_environment(text, environ) if text.startswith(_ENVIRONMENT) else _printed(text, root, environ, within)
    if not value:
        raise SecretError(f"{text} gives an empty value", hint="set it, or name another provider")
    return Secret(value)


def _kept(name: str, vault: Callable[[str], Secret] | None) -> Secret:
    if vault is None:
        raise SecretError(
            f"secret:{name}: the vault is not open here", hint="use env:NAME or command:program arguments"
        )
    return vault(name)


def _from_environment(text: str, environ: Mapping[str, str]) -> bytes:
    name = text.removeprefix(_ENVIRONMENT)
    if name not in environ:
        raise SecretError(f"{text} is not set", hint=f"export {name} before running this, or name another provider")
    return environ[name].encode(errors="surrogateescape")


def _printed(text: str, root: Path, environ: Mapping[str, str], within: float) -> bytes:
    argv = shlex.split(text.removeprefix(_COMMAND))
    try:
        # Its complaints go to the terminal directly: captured, they might carry the secret into our messages.
        with subprocess.Popen(argv, cwd=root, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            value = _output(process, text, within)
    except OSError as error:
        raise SecretError(f"{text} cannot be run: {error.strerror}", hint="check that the program is there") from error
    if process.returncode != 0:
        raise SecretError(f"{text} failed with exit code {process.returncode}", hint="run it by hand to see why")
    return value.removesuffix(b"\n").removesuffix(b"\r")


def _output(process: "subprocess.Popen[bytes]", text: str, within: float) -> bytes:
    try:
        return process.communicate(timeout=within)[0]
    except subprocess.TimeoutExpired:
        process.kill()
    # Raised out here, because the error above holds what was printed so far, and tracebacks show causes.
    raise SecretError(f"{text} did not end within {within:g} s", hint="run it by hand; it may wait for a person")
