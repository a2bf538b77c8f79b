"""An event: one thing that happened, as everybody who is told of it gets it."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FORMAT = "toolkit event 1"
TEST = "notify.test"
# Chats refuse what is longer: Slack takes 40,000 characters, Discord 2000 (their documentation of incoming webhooks).
LONGEST, SHORTEST = 8000, 1900

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Event:
    """`kind` is what the host file's `on` names, such as `watchdog.gave-up`; `subject` is what it is about.

    Nothing in it may be a secret: it leaves the host.
    """

    kind: str
    severity: Severity
    subject: str
    title: str
    """One sentence."""

    text: str = ""
    """More lines, for a person."""

    details: Mapping[str, Any] = field(default_factory=dict)
    """The same for a program."""

    def wanted(self, kinds: tuple[str, ...]) -> bool:
        """Whether somebody who is told of these kinds is told of this one; none stands for all."""
        return not kinds or self.kind in kinds or self.kind.partition(".")[0] in kinds

    def message(self, host: str) -> dict[str, Any]:
        """Return it as it is sent. Webhooks of chats show `text` (Slack, Mattermost) or `content` (Discord)."""
        told = f"{host}: {self.title}" + (f"\n{self.text}" if self.text else "")
        return {
            "format": FORMAT,
            "id": secrets.token_hex(8),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": host,
            **asdict(self),
            "text": told[:LONGEST],
            "content": told[:SHORTEST],
        }
