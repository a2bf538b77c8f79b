"""How the agent answers: JSON for programs, frames where a stream follows, an error as two lines and its exit code."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from toolkit.agent import steer
from toolkit.agent.release import about
from toolkit.stack.place import Place
from toolkit.words import frames
from toolkit.words.errors import Error, HostError

Request = TypeVar("Request")


def say(answer: dict[str, Any]) -> int:
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def send(header: dict[str, Any]) -> None:
    sys.stdout.buffer.write(frames.pack(header))
    sys.stdout.buffer.flush()


def done(work: Callable[[], object]) -> int:
    """Do something that has nothing to say."""
    try:
        translated(work)
    except Error as error:
        return complain(error)
    return 0


def translated(work: Callable[[], Any]) -> Any:
    """Do something whose trouble with files is the host's."""
    try:
        return work()
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}", hint="look at this path on the host") from error


def complain(error: Error) -> int:
    sys.stderr.write(f"error: {error.message}\n  hint: {error.hint}\n")
    return error.exit_code


def fault(error: Error) -> int:
    send({"fault": {"message": error.message, "hint": error.hint, "code": error.exit_code}})
    return error.exit_code


def started(
    parse: Callable[[dict[str, Any]], Request],
    start: Callable[[Request, bytes], str],
    follow: Callable[[Request, str], int],
) -> int:
    """Speak frames: who we are, then a request comes in, then a name or a fault goes out, and then the journal."""
    send(about())
    try:
        header, body = frames.take(sys.stdin.buffer.read)
        request = parse(header)
        name = translated(lambda: start(request, body))
    except Error as error:
        return fault(error)
    send({"journal": name})
    return follow(request, name)


def followed(place: Place, name: str) -> int:
    """Copy a journal to whoever follows, who may go away meanwhile."""
    try:
        steer.follow(place, name, sys.stdout.buffer)
    except BrokenPipeError:
        # Whoever followed has gone; the driver has not.
        sys.stderr.close()
    except Error as error:
        return complain(error)
    return 0
