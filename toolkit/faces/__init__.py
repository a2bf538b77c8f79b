"""Faces: how results look on a terminal, in a log and to a program. The only home of rich."""
