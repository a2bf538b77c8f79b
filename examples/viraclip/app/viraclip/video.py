"""Pictures and files: 64 by 36 pixels of RGB, and YUV4MPEG2, the plain format that video tools pass to each other."""

from collections.abc import Sequence

WIDTH, HEIGHT, RATE = 64, 36, 12
HEADER = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C444\n".encode()


def paint(seed: int, frame: int) -> bytes:
    """Return one picture: a pattern that moves with the frame, the same for the same seed."""
    red, green, blue = seed & 255, seed >> 8 & 255, seed >> 16 & 255
    picture = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            wave = (x * 4 + frame * 8) ^ (y * 7)
            picture += bytes(((wave + red) & 255, (wave * 3 + green) & 255, (wave * 5 + blue) & 255))
    return bytes(picture)


def encode(frames: Sequence[bytes]) -> bytes:
    """Return pictures as one file."""
    return HEADER + b"".join(b"FRAME\n" + planes(frame) for frame in frames)


def planes(picture: bytes) -> bytes:
    """Return a picture's brightness and two colour differences, one after the other (BT.601, full range)."""
    red, green, blue = picture[0::3], picture[1::3], picture[2::3]
    pixels = list(zip(red, green, blue, strict=True))
    luma = bytes((77 * r + 150 * g + 29 * b) >> 8 for r, g, b in pixels)
    first = bytes(((-43 * r - 85 * g + 128 * b) >> 8) + 128 & 255 for r, g, b in pixels)
    second = bytes(((128 * r - 107 * g - 21 * b) >> 8) + 128 & 255 for r, g, b in pixels)
    return luma + first + second


def frames_in(file: bytes) -> int:
    """Return how many frames a file has. Raises ValueError where it is none, or one that ends early."""
    size = 3 * WIDTH * HEIGHT + len(b"FRAME\n")
    body = len(file) - len(HEADER)
    if not file.startswith(HEADER) or body % size:
        raise ValueError("no complete file")
    return body // size
