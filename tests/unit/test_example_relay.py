"""Relay's post office over stores in memory, and its files."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "relay"
sys.path += [str(EXAMPLE / "app"), str(EXAMPLE.parent / "images" / "python")]

from relay import api, web, worker  # noqa: E402
from relay.office import RECOVER_AFTER, Message, PostOffice  # noqa: E402
from standin.web import Request, respond  # noqa: E402

from toolkit.config import compose  # noqa: E402


class Down(Exception):
    """What a store raises while it is switched off."""


@dataclass
class Table:
    messages: list[Message] = field(default_factory=list)
    attempts: list[tuple[int, str]] = field(default_factory=list)
    digests: list[Mapping[str, int]] = field(default_factory=list)
    down: bool = False

    def ping(self) -> None:
        if self.down:
            raise Down

    def add(self, recipient: str, subject: str) -> Message:
        row = {"id": len(self.messages) + 1, "recipient": recipient, "subject": subject, "status": "queued"}
        self.messages.append(row)
        return row

    def find(self, number: int) -> Message | None:
        return next((one for one in self.messages if one["id"] == number), None)

    def latest(self, count: int) -> Sequence[Message]:
        return self.messages[::-1][:count]

    def deliver(self, number: int, worker: str, token: str) -> bool:
        self.attempts.append((number, token))
        message = self.find(number)
        first = message is not None and message["status"] == "queued"
        if message:
            message["status"] = "sent"
        return first

    def counts(self) -> Mapping[str, int]:
        sent = sum(one["status"] == "sent" for one in self.messages)
        return {"queued": len(self.messages) - sent, "sent": sent}

    def digest(self, counts: Mapping[str, int]) -> None:
        self.digests.append(counts)


@dataclass
class Jobs:
    waiting: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    down: bool = False

    def ping(self) -> None:
        if self.down:
            raise Down

    def put(self, job: str) -> None:
        self.ping()
        self.waiting.append(job)

    def take(self) -> str | None:
        if not self.waiting:
            return None
        self.taken.append(self.waiting.pop(0))
        return self.taken[-1]

    def finish(self, job: str) -> None:
        self.taken.remove(job)

    def recover(self, older_than: float) -> list[str]:
        assert older_than == RECOVER_AFTER
        self.waiting, lost, self.taken = [*self.waiting, *self.taken], self.taken, []
        return lost

    def lengths(self) -> Mapping[str, int]:
        return {"waiting": len(self.waiting), "taken": len(self.taken)}


@dataclass
class Cache:
    counts: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    down: bool = False

    def count(self, client: str) -> int:
        if self.down:
            raise Down
        self.counts[client] = self.counts.get(client, 0) + 1
        return self.counts[client]

    def keep(self, name: str, text: str) -> None:
        self.texts[name] = text

    def get(self, name: str) -> str | None:
        if self.down:
            raise Down
        return self.texts.get(name)


@pytest.fixture
def office() -> PostOffice:
    return PostOffice(Table(), Jobs(), Cache(), key=b"hunter2")


def ask(office: PostOffice, method: str, path: str, sent: object = None, client: str = "") -> tuple[int, bytes]:
    response = respond(api.routes(office), Request(method, path, body=json.dumps(sent).encode(), client=client))
    return response.status, response.body


def test_a_message_is_accepted_queued_sent_and_shown(office: PostOffice) -> None:
    assert ask(office, "POST", "/messages", {"to": "a@example.com", "subject": "hello"})[0] == 201
    worker.one_round(office)
    status, body = ask(office, "GET", "/messages/1")
    assert (status, json.loads(body)["status"]) == (200, "sent")
    assert office.jobs.lengths() == {"waiting": 0, "taken": 0}
    assert ask(office, "GET", "/messages/2")[0] == ask(office, "GET", "/messages/x")[0] == 404


@pytest.mark.parametrize("sent", [{}, {"to": "a"}, {"to": "a", "subject": ""}, {"to": 1, "subject": "b"}, [], "x"])
def test_what_is_no_message_is_refused(office: PostOffice, sent: object) -> None:
    assert ask(office, "POST", "/messages", sent)[0] == 400
    assert office.table.latest(9) == []


def test_a_job_done_twice_sends_once(office: PostOffice) -> None:
    office.accept("a", "b")
    office.jobs.put("1")
    assert [office.send_one(), office.send_one(), office.send_one()] == [1, None, None]
    assert len({token for _, token in office.table.attempts}) == 1  # type: ignore[attr-defined]


def test_a_job_whose_worker_died_goes_back(office: PostOffice) -> None:
    office.accept("a", "b")
    office.jobs.take()
    assert office.recover() == ["1"]
    assert office.send_one() == 1


def test_a_message_the_queue_refuses_is_the_clients_to_send_again(office: PostOffice) -> None:
    office.jobs.down = True  # type: ignore[attr-defined]
    assert ask(office, "POST", "/messages", {"to": "a", "subject": "b"})[0] == 503
    assert ask(office, "GET", "/health")[0] == 503


def test_one_client_has_a_limit_and_none_while_the_cache_is_away(office: PostOffice) -> None:
    codes = [ask(office, "GET", "/messages", client="x")[0] for _ in range(api.LIMIT + 1)]
    assert codes == [200] * api.LIMIT + [429]
    assert ask(office, "GET", "/messages", client="y")[0] == 200
    office.cache.down = True  # type: ignore[attr-defined]
    assert ask(office, "GET", "/messages", client="x")[0] == 200
    # It may be lost: the API is healthy without.
    assert ask(office, "GET", "/health")[0] == 200


def test_metrics_are_empty_until_a_worker_took_stock(office: PostOffice) -> None:
    assert ask(office, "GET", "/metrics") == (200, b"")
    office.accept("a", "b")
    office.take_stock()
    assert b'relay_messages{status="queued"} 1\n' in ask(office, "GET", "/metrics")[1]
    assert office.table.digests == [{"queued": 1, "sent": 0}]  # type: ignore[attr-defined]
    office.cache.down = True  # type: ignore[attr-defined]
    assert ask(office, "GET", "/metrics") == (200, b"")


def test_an_api_that_also_works_does_so_until_it_is_told_to_stop(office: PostOffice) -> None:
    office.accept("a", "b")
    stop = iter([False, True])
    worker.in_the_background(office, lambda: next(stop)).join(timeout=10)
    assert office.table.counts() == {"queued": 0, "sent": 1}


def test_the_page_shows_what_people_wrote_as_text() -> None:
    row = {"id": 1, "recipient": "a", "subject": "<script>", "status": "sent"}
    shown = respond(web.routes("", lambda _: {"messages": [row]}), Request("GET", "/"))
    assert b"<td>&lt;script&gt;</td>" in shown.body
    assert b"<script>" not in shown.body


def test_a_key_is_shown_by_nothing(office: PostOffice) -> None:
    assert "hunter2" not in repr(office)


def test_the_queue_is_never_allowed_to_forget() -> None:
    command = compose.read(EXAMPLE / "docker-compose.yml")["services"]["redis-queue"]["command"]
    assert "noeviction" in command
    assert command[command.index("--appendonly") + 1] == "yes"


def test_only_workers_consume() -> None:
    services = compose.read(EXAMPLE / "docker-compose.yml")["services"]
    assert services["api"]["environment"]["DISABLE_BACKGROUND_WORKERS"] == "true"
