"""The agent: the part of the toolkit that lives on the host and works while nobody is connected."""
