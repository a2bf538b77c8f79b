"""Notifications: what happens on the host while nobody looks, told to whoever the host file names.

    notify.post(paths, notify.Event("backup.failed", "error", "shop", "the nightly backup failed"))

Posting writes files and returns; a process of its own sends them, again and again until somebody took them.
"""

from toolkit.agent.notify.event import Event
from toolkit.agent.notify.outbox import post

__all__ = ["Event", "post"]
