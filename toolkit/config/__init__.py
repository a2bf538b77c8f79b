"""Host files: read once into frozen models that cannot be wrong. Nothing in a file is executed by loading it."""
