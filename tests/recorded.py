"""What programs said, recorded on real hosts, where several tests need the same."""

# `systemctl show` of a unit that nobody knows.
NO_UNIT = """\
LoadState=not-found
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
ConditionResult=no
ConditionTimestampMonotonic=0
"""
