"""Gathering evidence on the host. Standard library and modules without dependencies only: it is sent along each time.

Nothing is changed, no secret is in what is answered, and whatever hangs is left behind when the time is over.
"""
