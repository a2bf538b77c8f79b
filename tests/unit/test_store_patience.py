"""A store that is away is waited for, up to a limit; a pace limits what is sent."""

import io
from dataclasses import dataclass, field
from typing import Any

import pytest

from toolkit.store import MemoryStore
from toolkit.store.pace import Pace, PacedBody
from toolkit.store.patient import WITHIN, PatientStore
from toolkit.store.s3_errors import Unavailable, meaning
from toolkit.words.clock import FakeClock
from toolkit.words.errors import Denied, Exists, Missing, StoreError


@dataclass
class Away(MemoryStore):
    """A store that is away until a moment of the clock; `lost` puts go through although nobody hears so."""

    clock: FakeClock = field(default_factory=FakeClock)
    until: float = 0.0
    lost: bool = False
    calls: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def _look(self) -> None:
        self.calls += 1
        if self.clock.now() < self.until:
            raise Unavailable("the store is away")

    def put_new(self, key: str, body: Any, **more: Any) -> None:
        if self.lost:
            super().put_new(key, body, **more)
            self.lost = False
            raise Unavailable("the answer was lost")
        self._look()
        super().put_new(key, body, **more)

    def list(self, prefix: str = "") -> Any:
        self._look()
        return super().list(prefix)

    def get(self, key: str, **more: Any) -> bytes:
        self._look()
        return super().get(key, **more)


def patient(store: Away, told: Any = lambda _: None) -> PatientStore:
    return PatientStore(store, clock=store.clock, told=told)


def test_five_minutes_are_waited_for_and_said() -> None:
    store, said = Away(until=300.0), []
    to = patient(store, said.append)
    to.put_new("a", b"one")
    assert 300 <= store.clock.time < 340
    assert [info.key for info in to.list()] == ["a"]
    assert to.get("a") == b"one"
    assert said[0] == "the store is away; waiting, for another 15 m at most"


def test_patience_ends() -> None:
    store = Away(until=10**9)
    with pytest.raises(Unavailable, match="away"):
        patient(store).put_new("a", b"one")
    assert store.clock.time <= WITHIN
    assert store.calls < 50


@pytest.mark.parametrize("error", [Denied("no"), StoreError("full"), Missing("none")])
def test_what_does_not_pass_by_itself_is_raised_at_once(error: StoreError) -> None:
    store = Away()
    store._look = lambda: (_ for _ in ()).throw(error)  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        patient(store).put_new("a", b"one")
    assert store.clock.time == 0


def test_a_put_whose_answer_was_lost_is_no_other_ones() -> None:
    store = Away(lost=True)
    patient(store).put_new("a", b"one")
    assert store.get("a") == b"one"


def test_a_name_that_somebody_else_took_is_refused_even_then() -> None:
    store = Away()
    store.put_new("a", b"another")
    with pytest.raises(Exists):
        patient(store).put_new("a", b"one")
    again = Away(until=1.0)
    MemoryStore.put_new(again, "a", b"another")
    with pytest.raises(Exists):
        patient(again).put_new("a", b"one")


def test_servers_that_are_not_well_pass_and_refusals_do_not() -> None:
    for code in ("SlowDown", "503", "InternalError", "500", "ServiceUnavailable"):
        assert isinstance(meaning(code, bucket="b", key="k", words=""), Unavailable)
    for code in ("AccessDenied", "QuotaExceeded", "NoSuchBucket", "RequestTimeTooSkewed", "ExpiredToken"):
        assert not isinstance(meaning(code, bucket="b", key="k", words=""), Unavailable)


def test_a_pace_is_kept_over_all_bodies_together() -> None:
    clock = FakeClock()
    pace = Pace(100_000, clock)
    body = bytes(range(256)) * 2000
    read = io.BytesIO()
    paced = PacedBody(bytearray(body), pace)
    assert len(paced) == len(body)
    while piece := paced.read(16_384):
        read.write(piece)
    PacedBody(b"x" * 100_000, pace).read()
    assert read.getvalue() == body
    assert len(body) / 100_000 - 1 <= clock.time <= (len(body) + 100_000) / 100_000


def test_a_paced_body_begins_again_for_another_try() -> None:
    paced = PacedBody(b"abcdef", Pace(10**9, FakeClock()))
    assert (paced.read(2), paced.tell(), paced.read()) == (b"ab", 2, b"cdef")
    assert paced.seek(0) == 0
    assert paced.read() == b"abcdef"
    assert paced.seek(-2, 2) == 4
    assert paced.seek(1, 1) == 5
