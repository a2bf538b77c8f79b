"""The outcome of a deploy: what runs now, and where it did not go as asked, why and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.stack.containers import Container, Verdict
from toolkit.stack.moves import Move
from toolkit.words.errors import DeployFailed, Error, Mixed

DEPLOYED, ROLLED_BACK, FAILED, MIXED = "deployed", "rolled back", "failed", "mixed"


@dataclass(frozen=True)
class Outcome:
    """`release` is the one that runs. `recreated` names services with new containers; `fault` is empty after success.

    The result is `deployed`; `failed` with nothing touched; `rolled back`; or `mixed` where going back failed too.
    """

    result: str
    release: str
    services: Sequence[Verdict] = ()
    recreated: tuple[str, ...] = ()
    moves: Sequence[Move] = ()
    fault: str = ""
    hint: str = ""
    code: int = 0

    def dumps(self) -> dict[str, Any]:
        return asdict(self)


def parse(body: Mapping[str, Any]) -> Outcome:
    """Read what `dumps` gave, from a journal."""
    services = tuple(
        Verdict(**(one | {"containers": tuple(_container(each) for each in one["containers"])}))
        for one in body["services"]
    )
    made = tuple(Move(**one) for one in body["moves"])
    keys = ("result", "release", "fault", "hint", "code")
    return Outcome(
        **{key: body[key] for key in keys}, services=services, recreated=tuple(body["recreated"]), moves=made
    )


def _container(body: Mapping[str, Any]) -> Container:
    return Container(**({**body} | {key: tuple(body[key]) for key in ("ports", "health_log")}))


def explain(result: str, release: str, cause: Exception, *, first: Exception | None = None) -> Outcome:
    """Return the outcome of a deploy that did not reach its end. Raises nothing: any exception has words."""
    code = cause.exit_code if isinstance(cause, Error) else DeployFailed.exit_code
    said, hint = _said(cause), cause.hint if isinstance(cause, Error) else ""
    if result == MIXED:
        before = f"{_said(first)}\n" if first else ""
        return Outcome(
            result,
            release,
            fault=f"{before}going back failed too: {said}",
            hint="look at `invoke status`; what stands in the way gone, `invoke rollback` or `invoke deploy` again",
            code=Mixed.exit_code,
        )
    return Outcome(result, release, fault=said, hint=hint, code=code)


def _said(cause: Exception) -> str:
    if isinstance(cause, Error):
        return cause.message
    return f"{type(cause).__name__}: {cause}"
