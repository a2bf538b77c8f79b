"""The lab: disposable VPSs, a registry, S3 and an apt repository on this machine, for trying things and for tests."""

from toolkit.lab.lab import Lab
from toolkit.lab.link import Link

__all__ = ["Lab", "Link"]
