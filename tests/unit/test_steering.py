"""Following a deploy: the end is believed where it is heard, and a lost one is no lost connection."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.test_backup_now import Ears
from toolkit.host.local import LocalHost
from toolkit.words.clock import FakeClock
from toolkit.words.command import script
from toolkit.words.errors import HostError, Unreachable
from toolkit.words.values import Secret
from toolkit.workflows import steering

STEP = json.dumps({"kind": "step", "text": "pull"}).encode()


class Gone(LocalHost):
    """A host that cannot be reached any more."""

    def open(self, command: Any) -> Any:
        raise Unreachable("gone")


def following(lines: Iterator[bytes], ears: Ears) -> steering.Following:
    return steering.Following(Gone("box", lambda: Secret(b"")), "shop", "j", lines, ears, FakeClock())


def test_a_deploy_whose_last_word_is_lost_is_told_from_a_lost_connection() -> None:
    ears = Ears()
    with pytest.raises(HostError, match="its last word is lost") as caught:
        following(iter([STEP]), ears).ended()
    assert "df -h" in caught.value.hint
    assert "status --host box" in caught.value.hint
    assert ears.heard == [("step", "pull")]


def test_a_lost_connection_is_tried_again_and_the_deploy_left_to_itself() -> None:
    def cut() -> Iterator[bytes]:
        yield STEP
        raise Unreachable("cut")

    ears = Ears()
    with pytest.raises(Unreachable, match="the deploy goes on there") as caught:
        following(cut(), ears).ended()
    assert "attach" in caught.value.hint
    assert len([one for one in ears.heard if one[0] == "warn"]) == len(steering.AGAIN)


class Back(LocalHost):
    """A host that answers again, with the whole journal."""

    def open(self, command: Any) -> Any:
        return super().open(script(f"printf '%s\\n%s\\n%s\\n' '{STEP.decode()}' '{NEXT}' '{END}'"))


NEXT, END = json.dumps({"kind": "step", "text": "gate"}), json.dumps({"kind": "end", "took": 1.0})


def test_who_is_back_hears_only_what_came_meanwhile() -> None:
    def cut() -> Iterator[bytes]:
        yield STEP
        raise Unreachable("cut")

    ears = Ears()
    host = Back("box", lambda: Secret(b""))
    told = steering.Following(host, "shop", "j", cut(), ears, FakeClock())
    try:
        assert told.ended() == json.loads(END)
    finally:
        host.close()
    assert [text for kind, text in ears.heard if kind == "step"] == ["pull", "gate"]
