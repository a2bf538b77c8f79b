"""Drill: a snapshot brought back into a sandbox, proven, measured, and thrown away; and the report that says so.

What runs beside an Engine (`rehearsal`, `data`, `whole`) needs no library of the control side's, so that it can travel
to another host. Reports are plain values, signed by whoever drilled.
"""
