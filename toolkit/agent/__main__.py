"""The entry point on the host: `agent version`, and one word for each subject: `secrets`, `deploy`, `restore`,
`backup`, `drill`, `watchdog`, `notify`, `audit`.

Secrets come on standard input and nowhere else. Whoever takes some says who it is before it reads anything, so that a
control side of another version can turn away before it has sent a secret.
"""

import argparse
import resource
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.agent import answers
from toolkit.agent.paths import Paths
from toolkit.agent.release import about
from toolkit.agent.verbs import backup, drill
from toolkit.agent.verbs import restore as restoring
from toolkit.words import frames
from toolkit.words.errors import Error

# Seconds that a test message has to arrive.
TEST_WITHIN = 30.0

Verb = Callable[[Paths, Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    # A crash must not write secrets to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    given = _arguments().parse_args(words)
    verb: Verb = given.verb
    return verb(Paths(given.root), given)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="The toolkit's part on this host.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="act below this folder, and mount nothing")
    verbs = parser.add_subparsers(required=True)
    verbs.add_parser("version", help="say which agent this is, as JSON").set_defaults(verb=version)
    secrets = verbs.add_parser("secrets", help="the secrets of deployed stacks").add_subparsers(required=True)
    secrets.add_parser("put", help="take a delivery on standard input").set_defaults(verb=put)
    secrets.add_parser("restore", help="lay out the sealed copies; runs at boot").set_defaults(verb=restored)
    secrets.add_parser("list", help="say what stands where, as JSON, no values").set_defaults(verb=listed)
    _deploy_arguments(verbs.add_parser("deploy", help="deploys of stacks").add_subparsers(required=True))
    _watchdog_arguments(verbs.add_parser("watchdog", help="heals of services").add_subparsers(required=True))
    _notify_arguments(verbs.add_parser("notify", help="who is told what happens").add_subparsers(required=True))
    backup.arguments(verbs)
    drill.arguments(verbs)
    restoring.arguments(verbs)
    audit = verbs.add_parser("audit", help="show the audit log, as JSON")
    audit.add_argument("--lines", type=int, default=100)
    audit.set_defaults(verb=audited)
    return parser


def _deploy_arguments(verbs: Any) -> None:
    start = verbs.add_parser("start", help="take a request on standard input, start a driver and follow it")
    start.set_defaults(verb=deploy_start)
    settle = verbs.add_parser("settle", help="end what a reboot left half-way; runs at boot")
    settle.set_defaults(verb=deploy_settle)
    for name, verb, text in (
        ("run", deploy_run, "carry out a request; systemd starts it"),
        ("follow", deploy_follow, "follow the newest deploy, or one by its journal"),
        ("stop", deploy_stop, "ask the driver at work to stop"),
        ("state", deploy_state, "say who is at work and which releases there are, as JSON"),
        ("hold", deploy_hold, "let nobody deploy for a while"),
        ("release", deploy_release, "end a hold"),
    ):
        parser = verbs.add_parser(name, help=text)
        parser.add_argument("stack")
        parser.set_defaults(verb=verb)
        if name in ("run", "follow"):
            parser.add_argument("journal", nargs="?" if name == "follow" else None, default="")
        if name == "hold":
            parser.add_argument("who")
            parser.add_argument("reason")
            parser.add_argument("seconds", type=float)


def _watchdog_arguments(verbs: Any) -> None:
    verbs.add_parser("run", help="watch; systemd starts it").set_defaults(verb=watchdog_run)
    for name, verb, text in (
        ("status", watchdog_status, "say what it sees now, as JSON"),
        ("history", watchdog_history, "say what happened, as JSON"),
    ):
        parser = verbs.add_parser(name, help=text)
        parser.add_argument("stack")
        parser.add_argument("--lines", type=int, default=100)
        parser.set_defaults(verb=verb)


def _notify_arguments(verbs: Any) -> None:
    for name, verb, text in (
        ("put", notify_put, "take who is told on standard input"),
        ("send", notify_send, "send what waits, to the last message; systemd starts it"),
        ("list", notify_list, "say who is told, what waits and how it went, as JSON"),
        ("test", notify_test, "send everybody a test message and say how that went, as JSON"),
    ):
        verbs.add_parser(name, help=text).set_defaults(verb=verb)


def version(_paths: Paths, _given: Namespace) -> int:
    return answers.say(about())


def put(paths: Paths, _given: Namespace) -> int:
    """Speak frames: who we are, then a delivery comes in, then a receipt or a fault goes out."""
    from toolkit.agent import deliver
    from toolkit.vault.delivery import Delivery

    answers.send(about())
    try:
        header, body = frames.take(sys.stdin.buffer.read)
        answers.send({"receipt": asdict(answers.translated(lambda: deliver.put(paths, Delivery.parse(header), body)))})
    except Error as error:
        return answers.fault(error)
    return 0


def restored(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import restore

    try:
        count = answers.translated(lambda: restore.restore(paths))
    except Error as error:
        return answers.complain(error)
    sys.stdout.write(f"{count} secrets are in memory\n")
    return 0


def listed(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import restore

    return answers.say(about() | restore.listing(paths))


def deploy_start(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import steer
    from toolkit.stack.request import Request

    return answers.started(
        Request.parse,
        lambda request, body: steer.start(paths, request, body),
        lambda request, name: deploy_follow(paths, Namespace(stack=request.stack, journal=name)),
    )


def deploy_run(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import drive

    return drive.run(paths, given.stack, given.journal)


def deploy_settle(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import drive

    # Data first: a release is proven on the data that it is to have.
    return max(restoring.settle(paths), drive.settle(paths))


def deploy_follow(paths: Paths, given: Namespace) -> int:
    from toolkit.stack.place import Place

    return answers.followed(Place(given.stack, paths.root), given.journal)


def deploy_stop(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import steer

    return answers.done(lambda: steer.stop(paths, given.stack))


def deploy_state(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import steer

    return answers.done(lambda: answers.say(about() | steer.state(paths, given.stack)))


def deploy_hold(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import audit
    from toolkit.stack import hold
    from toolkit.stack.place import Place

    def work() -> None:
        until = time.time() + given.seconds
        hold.write(Place(given.stack, paths.root), hold.Hold(given.who, given.reason, until))
        audit.record(paths, "hold", stack=given.stack, who=given.who, reason=given.reason, seconds=given.seconds)

    return answers.done(work)


def deploy_release(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import audit
    from toolkit.stack import hold
    from toolkit.stack.place import Place

    def work() -> None:
        hold.release(Place(given.stack, paths.root))
        audit.record(paths, "release-hold", stack=given.stack)

    return answers.done(work)


def watchdog_run(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import watch

    return answers.done(lambda: watch.run(paths))


def watchdog_status(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import watch

    return answers.say(about() | watch.status(paths, given.stack))


def watchdog_history(paths: Paths, given: Namespace) -> int:
    from toolkit.stack.place import Place
    from toolkit.stack.watchdog import history

    return answers.say(about() | {"incidents": history.read(Place(given.stack, paths.root), given.lines)})


def notify_put(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent.notify import targets

    return answers.done(lambda: targets.put(paths, sys.stdin.buffer.read()))


def notify_send(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent.notify.sender import Sender

    return answers.done(Sender(paths).run)


def notify_list(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent.notify import sender

    return answers.say(about() | {"targets": sender.overview(paths)})


def notify_test(paths: Paths, _given: Namespace) -> int:
    from toolkit.agent import notify
    from toolkit.agent.notify import event, sender

    notify.post(paths, notify.Event(event.TEST, "info", "the toolkit", "a test: whoever reads this is told"))
    return answers.say(about() | {"targets": sender.settle(paths, within=TEST_WITHIN)})


def audited(paths: Paths, given: Namespace) -> int:
    from toolkit.agent import audit

    return answers.say(about() | {"entries": audit.read(paths, given.lines)})


if __name__ == "__main__":
    sys.exit(main())
