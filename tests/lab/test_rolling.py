"""Rolling under load: a service that may roll changes its version, back and forth, and no request fails."""

import pytest

from tests.selection import FULL
from tests.trial import Load, Trial

pytestmark = pytest.mark.lab

# Twenty are what the promise is about; each takes as long as the copies need to become healthy.
TIMES = 20 if FULL else 2


@pytest.fixture
def rolling(whole: Trial) -> Trial:
    """The trial stack, with a release to go back to that rolls: one that another test left may be exclusive."""
    assert whole.deploy(whole.runs_whole() + 1).code == 0
    return whole


def test_no_request_fails_through_deploys_and_rollbacks(rolling: Trial) -> None:
    whole, release = rolling, rolling.runs_whole()
    _, image = whole.repo.on_host("curl --silent --fail http://127.0.0.1:8080/version").split()
    tags = ["1", "2"] if image == "2" else ["2", "1"]
    with Load(whole, 8080, 8081) as load:
        for number in range(TIMES):
            if number % 2:
                said = whole.repo.invoke("rollback", "--host", "box")
            else:
                said = whole.deploy(release, TAG=tags[number // 2 % 2], MODE=f"ok:{number}")
            assert said.code == 0, said
    # What the proxies saw of it, where something did fail.
    logs = "; ".join(f"docker logs --tail 40 trial-{name}-1 2>&1" for name in ("nginx", "caddy"))
    assert not load.result["failed"], (load.result["failed"][:3], load.result["asked"], whole.repo.on_host(logs))
    assert load.result["asked"] > 100 * TIMES
    assert len(load.result["versions"]) >= 2


def test_a_proxy_that_cannot_learn_of_new_copies_keeps_the_old_ones(rolling: Trial) -> None:
    whole, release = rolling, rolling.runs_whole()
    broken = "/etc/nginx/conf.d/broken.conf"
    whole.repo.on_host(f"docker exec trial-nginx-1 sh -c 'echo nonsense >{broken}'")
    with Load(whole, 8080) as load:
        said = whole.deploy(release + 1)
    whole.repo.on_host(f"docker exec trial-nginx-1 rm {broken}")
    assert said.code == 18, said
    assert "the old copies of web stay, because trial-nginx-1 did not read its configuration again" in said.err
    assert "nonsense" in said.err or "broken.conf" in said.err
    assert whole.runs_whole() == release
    assert not load.result["failed"], load.result["failed"][:3]
    assert load.result["versions"] == [load.result["versions"][0]]
