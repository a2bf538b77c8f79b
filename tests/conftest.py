"""What all tests share: nothing is judged by how long it took, as machines are busy."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
