"""`agent backup …`: backups of this host, by its schedule, by cron or because somebody asked."""

import random
import sys
import time
from argparse import Namespace
from typing import Any

from toolkit.agent.paths import Paths


def arguments(verbs: Any) -> None:
    """Add the words of this subject."""
    backup = verbs.add_parser("backup", help="backups of this host").add_subparsers(required=True)
    for name, verb, text in (
        ("put", put, "take the access to the store on standard input"),
        ("run", run, "back up, here and now; a timer or cron starts it"),
        ("start", start, "start a backup as a unit of its own, and name its journal"),
        ("follow", follow, "copy the journal of a backup, to its end"),
        ("stop", stop, "ask the backup at work to stop"),
        ("state", state, "say what is to be backed up, who is at work and how the last runs went, as JSON"),
        ("sources", sources, "say what a backup would capture and why, as JSON"),
        ("ship", ship, "ship the log of databases for as long as it runs; systemd starts it"),
        ("check", check, "fail, and have it told, where the newest complete backup is too old; a timer starts it"),
        ("settle", settle, "end what was cut off; runs at boot and after a run that was killed"),
    ):
        parser = backup.add_parser(name, help=text)
        parser.set_defaults(verb=verb)
        if name in ("run", "start"):
            parser.add_argument("--who", default="")
        if name in ("run", "follow"):
            parser.add_argument("--journal", default="")
        if name == "run":
            parser.add_argument("--jitter", type=float, default=0.0, help="wait up to so many seconds first")
        if name == "settle":
            parser.add_argument("--again", action="store_true", help="begin a run that was cut off anew")
        if name == "state":
            parser.add_argument("--lines", type=int, default=20)


def put(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import access

    return answers.done(lambda: access.put(paths, sys.stdin.buffer.read()))


def run(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import run as work
    from toolkit.agent.backup.tell import summary
    from toolkit.words.errors import Error

    if given.jitter > 0:
        time.sleep(random.uniform(0, given.jitter))  # noqa: S311 - so that hosts do not begin together, no secret
    try:
        done = answers.translated(lambda: work.run(paths, who=given.who or work.SCHEDULE, journal=given.journal))
    except Error as error:
        return answers.complain(error)
    if done is None:
        return work.ENDED
    if done.kept:
        sys.stdout.write(f"{summary(done)}\n")
    else:
        answers.complain(Error(done.said, hint=done.hint))
    return int(done.code)


def start(paths: Paths, given: Namespace) -> int:
    """Speak frames: who we are, then the name of a journal or a fault goes out."""
    from toolkit.agent import answers
    from toolkit.agent.backup import steer
    from toolkit.agent.release import about
    from toolkit.words.errors import Error

    answers.send(about())
    try:
        name = answers.translated(lambda: steer.start(paths, given.who or "somebody"))
    except Error as error:
        return answers.fault(error)
    answers.send({"journal": name})
    return 0


def follow(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import steer

    try:
        return answers.done(lambda: steer.follow(paths, given.journal, sys.stdout.buffer))
    except BrokenPipeError:
        # Whoever followed has gone; the backup has not.
        sys.stderr.close()
        return 0


def stop(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import steer

    return answers.done(lambda: steer.stop(paths))


def state(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import steer
    from toolkit.agent.release import about

    return answers.done(lambda: answers.say(about() | steer.state(paths, given.lines)))


def sources(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import steer
    from toolkit.agent.release import about

    return answers.done(lambda: answers.say(about() | steer.sources(paths)))


def ship(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import ship as work

    return answers.done(lambda: work.run(paths))


def settle(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import run as work

    return answers.done(lambda: work.settle(paths, again=given.again))


def check(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.backup import stale

    return answers.done(lambda: stale.ask(paths, time.time()))
