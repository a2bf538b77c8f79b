"""`agent restore …`: data of a snapshot put in the place of what a stack has, and back."""

from argparse import Namespace
from typing import Any

from toolkit.agent.paths import Paths


def arguments(verbs: Any) -> None:
    """Add the words of this subject."""
    restore = verbs.add_parser("restore", help="restores of data").add_subparsers(required=True)
    start_ = restore.add_parser("start", help="take a request on standard input, start a restore and follow it")
    start_.set_defaults(verb=start)
    for name, verb, text in (
        ("run", run, "carry out a request; systemd starts it"),
        ("follow", follow, "follow the newest restore, or one by its journal"),
        ("stop", stop, "ask the restore at work to stop"),
        ("kept", kept, "say what restores have kept, as JSON"),
        ("recovered", recovered, "say what a recovery has loaded here, as JSON"),
    ):
        parser = restore.add_parser(name, help=text)
        parser.add_argument("stack")
        parser.set_defaults(verb=verb)
        if name in ("run", "follow"):
            parser.add_argument("journal", nargs="?" if name == "follow" else None, default="")


def start(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.restoring import drive
    from toolkit.stack.restoring import Wish

    return answers.started(
        Wish.parse,
        lambda wish, body: drive.start(paths, wish, body),
        lambda wish, name: follow(paths, Namespace(stack=wish.stack, journal=name)),
    )


def run(paths: Paths, given: Namespace) -> int:
    from toolkit.agent.restoring import drive

    return drive.run(paths, given.stack, given.journal)


def follow(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.stack.restoring import Desk

    return answers.followed(Desk(given.stack, paths.root), given.journal)


def stop(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers, steer

    return answers.done(lambda: steer.stop(paths, given.stack))


def kept(paths: Paths, given: Namespace) -> int:
    from dataclasses import asdict

    from toolkit.agent import answers
    from toolkit.agent.release import about
    from toolkit.agent.restoring import mark
    from toolkit.stack.restoring import Desk

    return answers.say(about() | {"kept": [asdict(one) for one in mark.kept(Desk(given.stack, paths.root))]})


def settle(paths: Paths) -> int:
    """End what a crash left half-way. Hosts without backups lack the engine, and have no restores."""
    from toolkit.stack.place import Place
    from toolkit.stack.prune import stacks
    from toolkit.stack.restoring import MARK, Desk

    if not any((Desk(place.stack, paths.root).state / MARK).exists() for place in stacks(Place("", paths.root))):
        return 0
    from toolkit.agent.restoring import drive

    return drive.settle(paths)


def recovered(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import answers
    from toolkit.agent.release import about
    from toolkit.agent.restoring import recovery

    return answers.say(about() | {"recovery": recovery.told(paths, given.stack)})
