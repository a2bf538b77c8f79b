"""Rolling under load: a service that may roll changes its version, back and forth, and no request fails."""

import pytest

from tests.selection import FULL
from tests.trial import Load, Trial

pytestmark = pytest.mark.lab

# Twenty are what the promise is about; each takes as long as the copies need to become healthy.
TIMES = 20 if FULL else 2


def test_no_request_fails_through_deploys_and_rollbacks(whole: Trial) -> None:
    release = whole.runs_whole()
    _, image = whole.repo.on_host("curl --silent --fail http://127.0.0.1:8080/version").split()
    tags = ["1", "2"] if image == "2" else ["2", "1"]
    with Load(whole, 8080, 8081) as load:
        for number in range(TIMES):
            if number % 2:
                said = whole.repo.invoke("rollback", "--host", "box")
            else:
                said = whole.deploy(release, TAG=tags[number // 2 % 2], MODE=f"ok:{number}")
            assert said.code == 0, said
    assert load.result["failed"] == [], load.result
    assert load.result["asked"] > 100 * TIMES
    assert len(load.result["versions"]) >= 2
