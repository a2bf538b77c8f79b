"""What a host file says, as frozen values. A part that is turned off is None; every other part has its defaults.

The descriptions here are the ones in `docs/host.schema.json` and `docs/host-file.md`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from toolkit.config import values as v
from toolkit.words.values import Duration, Size

# Looking through every installed package for plugins of pydantic would cost each run 20 ms.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Part(BaseModel):
    """A mapping in the file: no unknown keys, nothing converted silently, nothing changed afterwards."""

    # Strict: "22" is not a number and 1 is not true. Building is deferred so that the whole file is built once.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_written_means_default(cls, data: Any) -> Any:
        # `docker:` with every line under it commented out is a request for the defaults.
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class Connection(Part):
    """How the machine is reached over SSH."""

    address: v.Address = Field(description="name, IPv4 or IPv6 address, or an alias of `~/.ssh/config`")
    port: v.PortNumber | None = Field(
        default=None, description="sshd's port; by default what `~/.ssh/config` says, or 22"
    )
    user: v.Login | None = Field(default=None, description="who logs in; by default what `~/.ssh/config` says")
    identity: v.Filled | None = Field(
        default=None, description="private key file; by default the agent and `~/.ssh/config`"
    )
    host_key: v.PublicKey | None = Field(
        default=None, description="the machine's public key; by default `known_hosts` decides"
    )
    jump: v.Jump | None = Field(default=None, description="the host to go through, as `user@host:port`")
    sudo_password: v.OutsideProvider | None = Field(
        default=None, description="provider of sudo's password; asked for by default"
    )


class DockerRepository(Part):
    """An apt repository that carries Docker's packages, such as a mirror."""

    url: v.Url = Field(description="address of the repository")
    key: v.KeyOrPath = Field(description="its signing key: a file in this repository, or the armoured text itself")
    suite: v.Word | None = Field(default=None, description="suite; by default the codename of the machine's release")
    component: v.Word = Field(default="stable", description="component of the suite")


WORD_OR_PART = ("<word>", "<part>")
"""How errors name the members of a union of a word and a mapping."""


def _word_or_part(value: object) -> str:
    return WORD_OR_PART[isinstance(value, dict | Part)]


Source = Annotated[
    Annotated[Literal["official", "distro"], Tag(WORD_OR_PART[0])] | Annotated[DockerRepository, Tag(WORD_OR_PART[1])],
    Discriminator(_word_or_part),
]


class Docker(Part):
    """Docker Engine and Compose."""

    source: Source = Field(default="official", description="`official`, `distro`, or a repository of your own")
    suite: v.Word | None = Field(
        default=None, description="with `distro`: take the engine from this suite of the same mirror"
    )
    version: v.Version | None = Field(default=None, description="version to keep to, or its beginning; in quotes")
    log_max_size: v.Bytes = Field(default=Size(10_000_000), description="a container's log is rotated at this size")
    log_max_files: int = Field(default=3, ge=1, le=1000, description="rotated logs to keep for each container")
    live_restore: bool = Field(default=True, description="containers go on while the daemon restarts")
    daemon: v.Settings = Field(default={}, description="further keys of `daemon.json`, merged")


class Sshd(Part):
    """The SSH server."""

    port: v.PortNumber = Field(default=22, description="port to listen on")
    password_authentication: bool = Field(default=False, description="let people log in with a password")
    root_login: Literal["no", "prohibit-password", "forced-commands-only", "yes"] = Field(
        default="no", description="whether root may log in"
    )
    max_auth_tries: int = Field(default=3, ge=1, le=100, description="failed logins before the connection is closed")
    allow_users: tuple[v.LoginPattern, ...] = Field(
        default=(), description="only these may log in; empty: everybody may"
    )
    settings: dict[v.Keyword, v.SshdValue] = Field(default={}, description="further keywords of `sshd_config`")


class Firewall(Part):
    """What strangers can reach; the port of SSH always is."""

    open: tuple[v.OpenPort, ...] = Field(
        default=(), description="ports open to everybody, such as `443` or `51820/udp`"
    )


class Updates(Part):
    """Unattended security upgrades. Docker is left alone."""

    reboot_at: v.TimeOfDay | None = Field(
        default=None, description="reboot at this time when an update asks for it; or never"
    )


class Swap(Part):
    """One swap file."""

    size: v.Bytes = Field(default=Size(2_000_000_000), description="size of the swap file")


class Journald(Part):
    """The system's journal."""

    max_size: v.Bytes = Field(default=Size(500_000_000), description="most the journal may take on disk")


class Time(Part):
    """The clock, kept in time over the network."""

    timezone: v.Timezone = Field(default="UTC", description="time zone of the machine")


class User(Part):
    """A person's account on the machine."""

    name: v.NewLogin = Field(description="name to log in with")
    keys: tuple[v.PublicKey, ...] = Field(default=(), description="SSH public keys that open it")
    sudo: bool = Field(default=False, description="may become root without a password")


class Machine(Part):
    """What the machine should be. Every part is on by default; `false` turns one off."""

    packages: tuple[v.Package, ...] = Field(default=(), description="Debian packages to install")
    docker: v.OrOff[Docker] = Field(default_factory=Docker, description="Docker Engine and Compose")
    sshd: v.OrOff[Sshd] = Field(default_factory=Sshd, description="hardening of the SSH server")
    firewall: v.OrOff[Firewall] = Field(default_factory=Firewall, description="everything closed but what is listed")
    updates: v.OrOff[Updates] = Field(default_factory=Updates, description="unattended security upgrades")
    swap: v.OrOff[Swap] = Field(default_factory=Swap, description="a swap file")
    sysctl: v.OrOff[dict[v.SysctlKey, v.TextLine]] = Field(
        default={}, description="kernel settings, beside the defaults"
    )
    journald: v.OrOff[Journald] = Field(default_factory=Journald, description="a cap on the journal")
    time: v.OrOff[Time] = Field(default_factory=Time, description="time zone and synchronisation")
    users: tuple[User, ...] = Field(default=(), description="people's accounts")


class Registry(Part):
    """An image registry to log in to."""

    host: v.RegistryHost = Field(description="its name, such as `ghcr.io`")
    user: v.Filled = Field(description="who logs in")
    token: v.Provider = Field(description="provider of the token")


class StackSecret(Part):
    """One secret of the stack, a file that services read: where its value comes from and who may read it."""

    value: v.SecretSource | None = Field(
        default=None,
        description="provider, or a template such as `{{ other_secret }}`; by default the vault's secret of this name",
    )
    owner: v.FileOwner | None = Field(
        default=None, description="numeric id (or name on the host) of the user in the container who reads it"
    )
    group: v.FileOwner | None = Field(default=None, description="the same for the group")
    mode: v.SecretMode = Field(default="0400", description="permissions of the file, in quotes")


class TextForPart:
    """Says to editors that text may stand for a mapping."""

    def __get_pydantic_json_schema__(self, core: object, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


def _text_for_value(written: object) -> object:
    if isinstance(written, str):
        return {"value": v.secret_source(written)}
    return {} if written is None else written


class Suppression(Part):
    """A finding of `invoke lint` that was looked at and accepted."""

    rule: v.Word = Field(description="id of the rule, as in docs/lint.md")
    service: v.Word | None = Field(default=None, description="only for this service; by default wherever it is found")
    reason: v.Filled = Field(description="why it is accepted")


class Probe(Part):
    """An HTTP request that the host itself makes before a release counts."""

    url: v.Url = Field(description="address, as the host reaches it: `http://127.0.0.1/health`")
    status: int = Field(default=200, ge=100, le=599, description="status that the answer has to have")
    contains: v.TextLine = Field(default="", description="text that the answer has to contain")
    insecure: bool = Field(default=False, description="take a certificate that nobody vouches for")
    service: v.Word | None = Field(
        default=None, description="whom the watchdog restarts when it fails; by default who publishes its port"
    )


class Assertion(Part):
    """What has to be true inside of a service: `command` or `variable`, and `equals` or `contains`."""

    service: v.Word = Field(description="the service; each of its containers is asked")
    command: tuple[v.Filled, ...] = Field(default=(), description="program and arguments, run inside of the container")
    variable: v.VariableName | None = Field(default=None, description="or a variable of the container")
    equals: v.TextLine | None = Field(default=None, description="what the output, or the variable, has to be")
    contains: v.TextLine | None = Field(default=None, description="or what it has to contain")


class Gate(Part):
    """What a release has to pass, beside the health checks of its services."""

    steady: v.Seconds = Field(default=Duration(2), description="how long all has to stay healthy before it counts")
    probes: tuple[Probe, ...] = Field(default=(), description="HTTP requests that the host makes")
    assertions: tuple[Assertion, ...] = Field(default=(), description="what has to be true inside of services")


class Stack(Part):
    """The Compose project that runs on the machine."""

    name: v.ProjectName = Field(description="name of the Compose project")
    directory: v.Filled = Field(description="its folder, relative to this repository and inside it")
    files: tuple[v.Filled, ...] = Field(
        default=("compose.yaml",), min_length=1, description="Compose files, later ones on top"
    )
    profiles: tuple[v.Word, ...] = Field(default=(), description="Compose profiles that are on")
    variables: dict[v.VariableName, v.ProviderOrText] = Field(
        default={}, description="values for `${NAME}`: text or provider"
    )
    secrets: dict[v.SecretName, Annotated[StackSecret, BeforeValidator(_text_for_value), TextForPart()]] = Field(
        default={}, description="secrets that are not simply the vault's secret of that name, and who may read them"
    )
    scale: dict[v.Word, Annotated[int, Field(ge=0, le=1000)]] = Field(
        default={}, description="containers for each service"
    )
    env_files: dict[v.Filled, dict[v.VariableName, v.ProviderOrText]] = Field(
        default={}, description="content of files that services name under `env_file`, by their path: text or provider"
    )
    exclusive: tuple[v.Word, ...] = Field(
        default=(), description="services that never run in two versions at once, not even for a moment"
    )
    ready_within: v.Seconds | None = Field(
        default=None, description="a deploy fails when it is not healthy by then; by default the health checks decide"
    )
    one_shots_within: v.Seconds = Field(default=Duration(600), description="how long a one-shot may take")
    drain: v.Seconds = Field(default=Duration(10), description="how long a copy that is replaced may finish requests")
    gate: Gate = Field(default_factory=Gate, description="what a release has to pass before it counts")
    lint: tuple[Suppression, ...] = Field(default=(), description="findings of `invoke lint` that are accepted")


class Watchdog(Part):
    """Services that die, hang, leak or fall silent are restarted, and somebody is told."""

    every: v.Interval = Field(default=Duration(30), description="how often the stack is looked at")
    restarts: int = Field(
        default=3, ge=1, le=100, description="heals of one service before it is given up, when they fall into `within`"
    )
    within: v.Seconds = Field(default=Duration(900), description="the time in which heals are counted")
    healthy_after: v.Seconds = Field(
        default=Duration(600), description="one that was given up counts as well once it was healthy for so long"
    )
    memory: int = Field(
        default=95, ge=10, le=100, description="percent of its own limit at which a container is taken to leak"
    )
    host_memory: int = Field(
        default=80, ge=10, le=100, description="percent of the machine's memory at which it is, whatever its limit"
    )
    polls: int = Field(default=3, ge=1, le=100, description="looks in a row that have to find so much memory taken")
    leave: tuple[v.Word, ...] = Field(default=(), description="services that are left alone")


class Notify(Part):
    """Somebody who is told what happens on the host while nobody looks."""

    name: v.Word = Field(description="what it is called in messages of the toolkit")
    url: v.Provider = Field(description="provider of the address; an address is a secret, it lets anybody write there")
    kind: Literal["webhook", "apprise"] = Field(
        default="webhook", description="an HTTP POST of JSON, or one of the many services that Apprise knows"
    )
    on: tuple[v.EventKind, ...] = Field(
        default=(), description="what it is told, such as `watchdog` or `deploy.mixed`; empty: everything"
    )


Reach = Annotated[
    Annotated[Literal["local"], Tag(WORD_OR_PART[0])] | Annotated[Connection, Tag(WORD_OR_PART[1])],
    Discriminator(_word_or_part),
]


class Document(Part):
    """A host file: what one machine should be and what runs on it."""

    model_config = ConfigDict(defer_build=False)

    connection: Reach = Field(description="how to reach the machine; `local` is this one, without SSH")
    machine: Machine = Field(default_factory=Machine, description="what the machine should be")
    registries: tuple[Registry, ...] = Field(default=(), description="image registries to log in to")
    stack: Stack | None = Field(default=None, description="the Compose project to run")
    watchdog: v.OrOff[Watchdog] = Field(default_factory=Watchdog, description="restarts of services that are not well")
    notify: tuple[Notify, ...] = Field(default=(), description="who is told of failures and heals")


@dataclass(frozen=True, kw_only=True)
class HostFile:
    """A host file with its name and the repository it belongs to: the folder that holds `hosts/`."""

    name: str
    root: Path
    connection: Connection | Literal["local"]
    machine: Machine = field(default_factory=Machine)
    registries: tuple[Registry, ...] = ()
    stack: Stack | None = None
    watchdog: Watchdog | None = field(default_factory=Watchdog)
    notify: tuple[Notify, ...] = ()
