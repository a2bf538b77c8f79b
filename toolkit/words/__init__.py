"""Words: the few values every other floor speaks in. Standard library only."""
