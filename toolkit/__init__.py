"""The toolkit: a bare VPS becomes a hardened Docker host that carries one Compose stack.

The packages below are floors. A module imports only from lower floors or from its own package;
`docs/architecture.md` draws them and `tests/unit/test_floors.py` enforces them.
"""

__version__ = "0.1.0"
