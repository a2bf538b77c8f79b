"""The error tree: each error knows its exit code and its way out.

Error                     1   anything that has no better name
├─ ConfigError           10   a file in this repository says something impossible
│  └─ SecretError        11   a secret is missing, unreadable or unfit
├─ HostError             12   a machine did not do as told
│  ├─ Unreachable        13   no connection, or no login, or no root
│  ├─ UntrustedHost      14   the machine's key is not the one that is pinned
│  ├─ NotConverged       15   an operation still wants changes after applying
│  └─ Unsupported        16   the machine is one the toolkit does not carry
├─ RegistryError         17   an image registry refused, or lacks what was asked
├─ DeployFailed          18   the stack did not become healthy; the release before runs
│  └─ Mixed              26   going back failed too: the stack is neither release
├─ LabError              19   the lab could not do what a real machine would
├─ StoreError            20   the backup store cannot be reached or refuses
│  ├─ Missing            21   no object has this name
│  ├─ Exists             22   an object with this name is there already
│  └─ Denied             25   the store's rules forbid it
├─ RepositoryError       23   stored backups cannot be read or trusted
│  └─ Locked             24   somebody else is at work
├─ Stopped               27   stopped as asked; the release before runs
└─ Detached              4   let go of; the work goes on on the host

Exit codes 0 to 4 are outcomes, not errors: done, not healthy, changes pending, incomplete, left to itself.
"""


class Error(Exception):
    """The root. `message` names the thing, lower case, no full stop; `hint` is a sentence to act on."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(Error):
    exit_code = 10


class SecretError(ConfigError):
    exit_code = 11


class HostError(Error):
    exit_code = 12


class Unreachable(HostError):
    exit_code = 13


class UntrustedHost(HostError):
    exit_code = 14


class NotConverged(HostError):
    exit_code = 15


class Unsupported(HostError):
    exit_code = 16


class RegistryError(Error):
    exit_code = 17


class DeployFailed(Error):
    exit_code = 18


class Mixed(DeployFailed):
    exit_code = 26


class Stopped(Error):
    exit_code = 27


class Detached(Error):
    exit_code = 4


class LabError(Error):
    exit_code = 19


class StoreError(Error):
    exit_code = 20


class Missing(StoreError):
    exit_code = 21


class Exists(StoreError):
    exit_code = 22


class Denied(StoreError):
    exit_code = 25


class RepositoryError(Error):
    exit_code = 23


class Locked(RepositoryError):
    exit_code = 24
