"""The sandbox of a drill: whatever the Compose files of a snapshot say, nothing but its own is named or reached."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.drill.sandbox import LABEL, NETWORK, Bounds, bridge, refuse_strangers, sandbox
from toolkit.words.errors import ConfigError

PROJECT = "drill-0123456789ab"
BOUNDS = Bounds(
    PROJECT,
    "shop",
    {"/run/secrets/shop": "/memory/secrets", "/opt/shop/files": "/disk/mounted", "/memory/release": "/memory/release"},
)


def model(**services: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "services": services or {"db": {"image": "postgres@sha256:1"}},
        "volumes": {"data": {"name": "shop_data"}, "shared": {"name": "elsewhere", "external": True}},
        "networks": {"default": {"name": "shop_default"}, "proxy": {"name": "proxy", "external": True}},
        "secrets": {
            "password": {"file": "/run/secrets/shop/password-0123456789abcdef"},
            "bad": {"file": "/etc/shadow"},
        },
        "configs": {"site": {"file": "/opt/shop/files/abc/site.conf"}},
    }


def one(**body: Any) -> dict[str, Any]:
    made: dict[str, Any] = sandbox(model(db={"image": "i@sha256:1", **body}), BOUNDS).model["services"]["db"]
    return made


def test_a_service_keeps_what_makes_it_and_loses_what_leads_out() -> None:
    made = one(
        command=["run"],
        environment={"A": "$$x"},
        healthcheck={"test": ["CMD", "true"]},
        container_name="shop-db",
        ports=[{"target": 80, "published": "8080"}],
        networks={"default": {"aliases": ["database"]}, "proxy": None},
        restart="always",
        extra_hosts=["host:1.2.3.4"],
        dns=["8.8.8.8"],
        labels={"traefik.enable": "true"},
        logging={"driver": "syslog", "options": {"syslog-address": "tcp://1.2.3.4"}},
    )
    assert made["command"] == ["run"]
    assert made["environment"] == {"A": "$$x"}
    assert made["restart"] == "no"
    assert made["networks"] == {NETWORK: {"aliases": ["db", "database", "shop-db"]}}
    assert made["labels"] == {LABEL: PROJECT}
    assert made["logging"]["driver"] == "json-file"
    assert not {"ports", "container_name", "extra_hosts", "dns"} & made.keys()


@pytest.mark.parametrize(
    "hostile",
    [
        {"privileged": True},
        {"network_mode": "host"},
        {"network_mode": "container:shop-db-1"},
        {"pid": "host"},
        {"ipc": "host"},
        {"uts": "host"},
        {"userns_mode": "host"},
        {"cgroup": "host"},
        {"cgroup_parent": "/"},
        {"devices": [{"source": "/dev/sda", "target": "/dev/sda"}]},
        {"device_cgroup_rules": ["a *:* rwm"]},
        {"sysctls": {"net.ipv4.ip_forward": "1"}},
        {"volumes_from": ["shop-db-1"]},
        {"external_links": ["shop-db-1"]},
        {"runtime": "own"},
        {"gpus": "all"},
        {"security_opt": ["seccomp:unconfined", "apparmor=unconfined"]},
    ],
    ids=lambda body: next(iter(body)),
)
def test_rights_over_the_host_are_left_out_and_told(hostile: dict[str, Any]) -> None:
    key = next(iter(hostile))
    found = sandbox(model(db={"image": "i@sha256:1", **hostile}), BOUNDS)
    assert key not in found.model["services"]["db"]
    assert key == "security_opt" or found.notes == (f"db: {key} is left out",)


def test_capabilities_are_those_that_a_container_has_anyway() -> None:
    assert one(cap_add=["SYS_ADMIN", "CAP_CHOWN", "NET_ADMIN", "ALL"])["cap_add"] == ["CHOWN"]
    assert "cap_add" not in one(cap_add=["SYS_ADMIN"])
    assert one(security_opt=["no-new-privileges:true", "seccomp:unconfined"])["security_opt"] == [
        "no-new-privileges:true"
    ]


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("/opt/shop/files/abc/site.conf", "/disk/mounted/abc/site.conf"),
        ("/memory/release/conf", "/memory/release/conf"),
        ("/etc/localtime", "/etc/localtime"),
        ("/", ""),
        ("/etc", ""),
        ("/var/run/docker.sock", ""),
        ("/opt/shop/filesystem", ""),
        ("/opt/shop/files/../../../etc/shadow", ""),
        ("/var/lib/docker/volumes/shop_data/_data", ""),
    ],
)
def test_only_what_came_out_of_the_snapshot_is_mounted_and_read_only(source: str, inside: str) -> None:
    mounts = one(volumes=[{"type": "bind", "source": source, "target": "/x", "bind": {"propagation": "shared"}}])
    wanted = [{"type": "bind", "source": inside, "target": "/x", "read_only": True}]
    assert mounts.get("volumes", []) == (wanted if inside else [])


def test_volumes_are_the_sandboxs_own_also_external_ones() -> None:
    mounts = [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "volume", "source": "shared", "target": "/shared"},
        {"type": "volume", "target": "/nameless"},
    ]
    found = sandbox(model(db={"image": "i@sha256:1", "volumes": mounts}), BOUNDS).model
    assert {key: body["name"] for key, body in found["volumes"].items()} == {
        "data": f"{PROJECT}_data",
        "shared": f"{PROJECT}_elsewhere",
    }
    assert not any(body.get("external") for body in found["volumes"].values())


def test_the_network_leads_nowhere_and_its_interface_is_known_before() -> None:
    network = sandbox(model(), BOUNDS).model["networks"][NETWORK]
    assert network["internal"] is True
    assert network["driver_opts"] == {"com.docker.network.bridge.name": bridge(PROJECT)}
    assert len(bridge(PROJECT)) <= 15


def test_secrets_come_out_of_the_snapshot_or_not_at_all() -> None:
    found = sandbox(model(db={"image": "i@sha256:1", "secrets": [{"source": "password"}]}), BOUNDS).model
    assert found["secrets"] == {"password": {"file": "/memory/secrets/password-0123456789abcdef"}}
    with pytest.raises(ConfigError, match="the secret bad is not in the snapshot"):
        sandbox(model(db={"image": "i@sha256:1", "secrets": [{"source": "bad"}]}), BOUNDS)


def test_workers_and_one_shots_stay_off_and_nobody_waits_for_them() -> None:
    services = {
        "api": {
            "image": "i@sha256:1",
            "depends_on": {
                "migrate": {"condition": "service_completed_successfully"},
                "db": {"condition": "service_healthy"},
            },
        },
        "db": {"image": "i@sha256:2"},
        "migrate": {"image": "i@sha256:1"},
        "seed": {"image": "i@sha256:1", "restart": "no"},
        "mail-worker": {"image": "i@sha256:1"},
        "networker": {"image": "i@sha256:1"},
        "notifier": {"image": "i@sha256:1"},
    }
    bounds = Bounds(PROJECT, "shop", {}, off=("notifier",))
    found = sandbox(model(**services), bounds)
    assert set(found.off) == {"migrate", "seed", "mail-worker", "notifier"}
    assert found.model["services"]["api"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    kept = sandbox(model(**services), Bounds(PROJECT, "shop", {}, on=("mail-worker",)))
    assert "mail-worker" in kept.model["services"]


def test_published_ports_are_remembered_for_probes() -> None:
    found = sandbox(
        model(api={"image": "i@sha256:1", "ports": [{"target": 3000, "published": "8080"}, {"target": 9}]}), BOUNDS
    )
    assert found.ports == {8080: ("api", 3000)}


@pytest.mark.parametrize(
    "name", ["shop", "", "drill-", "drill-0123456789AB", "drill-0123456789ab_x", "../drill-0123456789ab"]
)
def test_a_sandbox_cannot_have_a_name_of_somebodys_choice(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a sandbox"):
        sandbox(model(), Bounds(name, "shop", {}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "shop"),
        (("volumes", "data", "name"), "shop_data"),
        (("volumes", "data", "external"), True),
        (("networks", NETWORK, "name"), "shop_default"),
        (("services", "db", "ports"), ["80:80"]),
        (("services", "db", "container_name"), "shop-db-1"),
        (("services", "db", "network_mode"), "host"),
        (("services", "db", "restart"), "always"),
        (("services", "db", "networks"), {NETWORK: {}, "proxy": {}}),
        (("services", "db", "privileged"), True),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_model_that_touches_production_is_refused_before_anything_starts(
    path: tuple[str, ...], value: object
) -> None:
    mounts = [{"type": "volume", "source": "data", "target": "/data"}]
    found = copy.deepcopy(sandbox(model(db={"image": "i@sha256:1", "volumes": mounts}), BOUNDS).model)
    refuse_strangers(found, PROJECT, "shop")
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match="would touch what is not its own"):
        refuse_strangers(found, PROJECT, "shop")


@pytest.mark.parametrize(
    "broken",
    [{}, {"services": None}, {"services": {"db": None}}, {"services": {"db": {"volumes": [1]}}}, {"services": {}}, []],
    ids=json.dumps,
)
def test_nonsense_is_an_error_of_its_own(broken: Any) -> None:
    with pytest.raises(ConfigError):
        sandbox(broken, BOUNDS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    (
        *("privileged", "volumes", "network_mode", "networks", "secrets", "configs", "depends_on", "cap_add"),
        *("security_opt", "deploy", "ports", "restart", "labels", "container_name", "environment", "logging"),
    )
)


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_no_model_whatsoever_gets_out(body: dict[str, Any]) -> None:
    try:
        found = sandbox(model(db={"image": "i@sha256:1", **body}), BOUNDS)
    except ConfigError:
        return
    refuse_strangers(found.model, PROJECT, "shop")
    made = found.model["services"]["db"]
    assert list(made["networks"]) == [NETWORK]
    for mount in made.get("volumes", ()):
        assert mount["type"] != "bind" or mount["read_only"]
