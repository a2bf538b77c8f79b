"""`agent drill …`: restore drills on this host."""

import sys
from argparse import Namespace
from typing import Any

from toolkit.agent import answers
from toolkit.agent.paths import Paths
from toolkit.agent.release import about
from toolkit.words import frames
from toolkit.words.errors import Error


def arguments(verbs: Any) -> None:
    drill = verbs.add_parser("drill", help="restore drills").add_subparsers(required=True)
    drill.add_parser("run", help="take a wish on standard input, and drill").set_defaults(verb=run)
    drill.add_parser("clean", help="remove what killed drills left, and name it as JSON").set_defaults(verb=clean)


def run(paths: Paths, _given: Namespace) -> int:
    """Speak frames: who we are, then a wish comes in, then lines go out, the last with a report or a fault.

    Standard input stays open meanwhile: its end means that nobody waits any more.
    """
    from toolkit.agent import drilling

    answers.send(about())
    lines = drilling.Lines(sys.stdout.buffer)
    try:
        header, body = frames.take(sys.stdin.buffer.read)
        report = answers.translated(lambda: drilling.run(paths, header, body, sys.stdout.buffer))
        lines.write("report", report=drilling.told(report))
    except Error as error:
        lines.write("fault", fault={"message": error.message, "hint": error.hint, "code": error.exit_code})
    except KeyboardInterrupt:
        return 130
    return 0


def clean(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import drilling

    try:
        return answers.say(about() | {"removed": drilling.clean(paths)})
    except Error as error:
        return answers.complain(error)
