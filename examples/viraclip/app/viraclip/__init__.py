"""Viraclip: clips that are planned, drawn frame by frame by a heavy neighbour, and put together into a file."""
