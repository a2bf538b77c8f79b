"""What every verb has in common: errors as one line with a way out, exit codes, `--json`, `--debug`."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task, task

from toolkit.words.errors import ConfigError, Error

if TYPE_CHECKING:
    from toolkit.config.models import HostFile
    from toolkit.host import Host
    from toolkit.words.report import Listener

INTERRUPTED, NOBODY_READS = 130, 141

HELP = {
    "host": "the host to work on: the name of its file in hosts/, without .yml",
    "json": "print the result as JSON; progress is not shown",
}


class Verb(Task[Any]):
    """A task whose options can be asked for more than once; invoke's own forgets their help texts at the first time."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        texts = dict(self.help)
        try:
            return super().get_arguments(ignore_unknown_help)
        finally:
            self.help = texts


def verb(
    *,
    help: Mapping[str, str] | None = None,  # noqa: A002 - invoke's own word for it
    name: str | None = None,
    **more: Any,
) -> Callable[[Callable[..., Any]], Task[Any]]:
    """Make a task of a function. It may return an exit code; the toolkit's errors become one line and a hint.

    `more` is for invoke's own `task`.
    """

    def wrap(function: Callable[..., Any]) -> Task[Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            with told():
                code = function(*args, **kwargs)
            if code:
                raise Exit(code=code)

        parameters = function.__code__.co_varnames[1 : function.__code__.co_argcount]
        known = {parameter: HELP[parameter] for parameter in parameters if parameter in HELP}
        return cast(Task[Any], task(run, help=known | dict(help or {}), name=name, **{"klass": Verb, **more}))

    return wrap


@contextmanager
def told() -> Iterator[None]:
    """Turn errors into what a person reads; a traceback only with `--debug`."""
    from toolkit.faces import render

    try:
        yield
    except Error as failure:
        if "--debug" in sys.argv:
            raise
        render.error(failure)
        raise Exit(code=failure.exit_code) from failure
    except BrokenPipeError as gone:
        # Whoever read our output has seen enough; what is still buffered must not complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(code=NOBODY_READS) from gone
    except KeyboardInterrupt as interrupt:
        render.error(Error("interrupted", hint="run the same again: it continues from what is true on the host"))
        raise Exit(code=INTERRUPTED) from interrupt


def host_file(name: str | None) -> "HostFile":
    """Return the host file of that name. Raises ConfigError which lists those there are."""
    from pathlib import Path

    from toolkit.config import load

    root = load.find_root(Path.cwd())
    if not name:
        known = ", ".join(load.names(root)) or "none yet: copy hosts/example.yml"
        raise ConfigError("no host named", hint=f"add --host NAME; in hosts/ there are: {known}")
    return load.named(root, name)


@contextmanager
def connected(name: str | None) -> "Iterator[tuple[HostFile, Host]]":
    """Yield a host file and its host, and close the connection at the end."""
    from toolkit.host.connect import connect

    described = host_file(name)
    host = connect(described)
    try:
        yield described, host
    finally:
        host.close()


def listener(json: bool = False) -> "Listener":
    """Return who follows long work: nobody, when the result is wanted as JSON."""
    from toolkit.faces import render

    return render.listener(quiet=json)


def remainder() -> list[str]:
    """Return the words after `--`, which invoke leaves to the task that wants them."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def words_of(verb: str) -> list[str]:
    """Return the words right behind a verb's name, up to the first option."""
    behind = sys.argv[sys.argv.index(verb) + 1 :] if verb in sys.argv else []
    return list(takewhile(lambda word: not word.startswith("-"), behind))
