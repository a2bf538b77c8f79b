"""Hosts: one way to reach a machine, over SSH, on this machine, or in a test."""

from toolkit.host.protocol import File, Follow, Host, Process

__all__ = ["File", "Follow", "Host", "Process"]
