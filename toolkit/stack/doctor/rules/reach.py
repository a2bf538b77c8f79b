"""Rules about a host that could not be examined: looked at from the control side, one step after the other."""

from collections.abc import Iterator
from typing import Any

from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, verb


def _reach(evidence: Evidence) -> dict[str, Any]:
    return evidence.body("reach")


def _name(evidence: Evidence) -> Iterator[Found]:
    found = _reach(evidence)
    if found.get("name_fault"):
        cause = f"{found['address']} has no address: a typing error, or its DNS record is gone"
        yield Found(cause, (found["name_fault"],), f"correct connection.address in hosts/{evidence.host}.yml")


def _silent(evidence: Evidence) -> Iterator[Found]:
    found = _reach(evidence)
    if found.get("tcp") == "silent":
        where = f"{found['address']}:{found['port']}"
        seen = (f"{where}: no answer within {found['patience']:g} s", *_others(found))
        cause = "packets to the host get no answer: it is off, its network is, or a firewall swallows them"
        yield Found(cause, seen, "look at the provider's console: is it running, and is the provider's firewall open?")


def _others(found: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"port {port} answers: the machine is there" for port in found.get("open", ()))


def _refused(evidence: Evidence) -> Iterator[Found]:
    found = _reach(evidence)
    if found.get("tcp") == "refused":
        seen = (f"{found['address']}:{found['port']}: connection refused", *_others(found))
        cause = "the machine is there, and nobody listens on its port of SSH: sshd is down, or on another port"
        yield Found(
            cause,
            seen,
            f"correct connection.port in hosts/{evidence.host}.yml, or start sshd at the provider's console",
        )


def _not_ssh(evidence: Evidence) -> Iterator[Found]:
    found = _reach(evidence)
    if found.get("tcp") == "open" and not str(found.get("banner", "")).startswith("SSH-"):
        said = f"it says {found['banner']!r}" if found.get("banner") else "it says nothing"
        cause = "something else than sshd answers on that port, or sshd takes no more connections"
        yield Found(
            cause,
            (f"{found['address']}:{found['port']}: {said}",),
            f"correct connection.port in hosts/{evidence.host}.yml; after many logins, wait a minute",
        )


def _key(evidence: Evidence) -> Iterator[Found]:
    found = _reach(evidence)
    if found.get("untrusted"):
        cause = "the machine shows another host key than the one that is pinned: it was set up anew, or it is another"
        yield Found(
            cause,
            (found["error"],),
            f"compare with the provider's console; only then put the new key into hosts/{evidence.host}.yml",
        )


def _login(evidence: Evidence) -> Iterator[Found]:
    found = _reach(evidence)
    speaks = found.get("tcp") in ("open", "unknown") and str(found.get("banner", "SSH-")).startswith("SSH-")
    if speaks and found.get("error") and not found.get("untrusted") and not found.get("name_fault"):
        fix = found.get("hint") or "try `ssh -v` by hand"
        yield Found("sshd answers, and does not let us in or make us root", (found["error"],), fix)


def _python(evidence: Evidence) -> Iterator[Found]:
    if evidence.get("no python", False):
        cause = "the host has no Python 3.11 or newer, which everything here needs"
        yield Found(cause, ("none of python3, python3.11 and newer is there",), verb(evidence, "provision"))


def _rule(id: str, weight: int, symptoms: tuple[str, ...], cause: str, fix: str, find: Any) -> Rule:  # noqa: A002
    return Rule(id, "error", weight, ("cannot connect", "host unreachable", *symptoms), cause, fix, find)


RULES = (
    _rule(
        "address-unknown",
        100,
        ("no address",),
        "The host's name has no address.",
        "Correct `connection.address`, or the DNS record.",
        _name,
    ),
    _rule(
        "host-silent",
        100,
        ("timeout", "host down"),
        "Nothing answers at the host's address.",
        "Look at the provider's console.",
        _silent,
    ),
    _rule(
        "ssh-refused",
        100,
        ("connection refused",),
        "The machine is there, and nobody listens on the port of SSH.",
        "Correct `connection.port`, or start sshd at the provider's console.",
        _refused,
    ),
    _rule(
        "not-ssh",
        100,
        ("banner",),
        "What answers on the port is no sshd, or one that takes no more connections.",
        "Correct `connection.port`; after many logins, wait a minute.",
        _not_ssh,
    ),
    _rule(
        "host-key-changed",
        100,
        ("host key", "man in the middle"),
        "The machine shows another key than the pinned one.",
        "Compare it with the provider's console before you believe it.",
        _key,
    ),
    _rule(
        "login-refused-by-host",
        99,
        ("permission denied", "login", "sudo"),
        "sshd answers, and the login or root is refused.",
        "Check `connection.user` and `connection.identity`; `ssh -v` says more.",
        _login,
    ),
    _rule(
        "python-missing",
        98,
        ("python",),
        "The host has no Python that can gather evidence.",
        "`invoke provision` says what to install.",
        _python,
    ),
)
