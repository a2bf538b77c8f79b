"""Following a deploy: the end is believed where it is heard, and a lost one is no lost connection."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.test_backup_now import Ears
from toolkit.host.local import LocalHost
from toolkit.words.clock import FakeClock
from toolkit.words.errors import HostError, Unreachable
from toolkit.words.values import Secret
from toolkit.workflows import steering

STEP = json.dumps({"kind": "step", "text": "pull"}).encode()


class Gone(LocalHost):
    """A host that cannot be reached any more."""

    def open(self, command: Any) -> Any:
        raise Unreachable("gone")


def following(lines: Iterator[bytes], ears: Ears) -> steering.Following:
    return steering.Following(Gone("box", lambda _: Secret(b"")), "shop", "j", lines, ears, FakeClock())


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
