"""What `invoke deploy --provision` does for the benchmark's host, as a deploy of pyinfra; the same as playbook.yml."""

from pyinfra import host
from pyinfra.operations import apt, files, server, systemd

STATE, STACK = host.data.state, host.data.stack


def put(path: str, mode: str = "644", user: str = "root") -> bool:
    """Ensure one of the files that the toolkit wrote; return whether it will change."""
    return bool(files.put(src=f"{STATE}{path}", dest=path, mode=mode, user=user, group=user).will_change)


apt.packages(
    packages=[
        "ca-certificates",
        "python3",
        "python3-venv",
        "tzdata",
        "unattended-upgrades",
        "systemd-timesyncd",
        "htop",
    ]
)
server.user(user="deploy", home="/home/deploy", shell="/bin/bash")
files.directory(path="/home/deploy/.ssh", user="deploy", group="deploy", mode="700")
put("/home/deploy/.ssh/authorized_keys", mode="600", user="deploy")
put("/etc/sudoers.d/toolkit-deploy", mode="440")
sshd = put("/etc/ssh/sshd_config.d/00-toolkit.conf")
systemd.service(service="ssh", running=True, enabled=True, restarted=sshd)
if put("/etc/sysctl.d/99-toolkit.conf"):
    server.shell(commands=["sysctl --load=/etc/sysctl.d/99-toolkit.conf"])
if put("/etc/systemd/journald.conf.d/99-toolkit.conf"):
    systemd.service(service="systemd-journald", restarted=True)
files.link(path="/etc/localtime", target="/usr/share/zoneinfo/UTC")
systemd.service(service="systemd-timesyncd", running=None, enabled=True)
put("/etc/apt/apt.conf.d/99toolkit-updates")
systemd.service(service="apt-daily.timer", running=True, enabled=True)
systemd.service(service="apt-daily-upgrade.timer", running=True, enabled=True)
apt.packages(packages=["docker.io", "docker-cli", "docker-compose", "curl"], no_recommends=True)
daemon = put("/etc/docker/daemon.json")
systemd.service(service="docker", running=True, enabled=True, restarted=daemon)
apt.packages(packages=["nftables"])
put("/etc/systemd/system/nftables.service.d/toolkit.conf")
rules = put("/etc/toolkit/firewall.nft")
unit = put("/etc/systemd/system/toolkit-firewall.service")
systemd.service(service="toolkit-firewall", running=True, enabled=True, restarted=rules or unit, daemon_reload=unit)
files.directory(path="/opt/peers/web")
files.put(src=f"{STACK}/compose.yaml", dest="/opt/peers/compose.yaml", mode="644")
files.put(src=f"{STACK}/web/default.conf", dest="/opt/peers/web/default.conf", mode="644")
# pyinfra has no operation for Compose: it is run each time, and counts as a change each time.
server.shell(commands=["docker compose --project-directory /opt/peers up --detach --wait --quiet-pull"])
