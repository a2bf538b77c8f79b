"""Bech32, the spelling of age's native keys: a readable prefix, `1`, data in 32 letters, six letters of checksum."""

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def decode(text: str) -> tuple[str, bytes]:
    """Return prefix (lower case) and data. Raises ValueError for anything but one correct spelling."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("mixed case")
    prefix, separator, letters = text.lower().rpartition("1")
    if not (prefix and separator) or len(letters) < _CHECKSUM or set(letters) - set(_LETTERS):
        raise ValueError("not bech32")
    values = [_LETTERS.index(letter) for letter in letters]
    if _polymod(_expand(prefix) + values) != 1:
        raise ValueError("wrong checksum")
    return prefix, _bytes(values[:-_CHECKSUM])


def _expand(prefix: str) -> list[int]:
    codes = prefix.encode()
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check


def _bytes(values: list[int]) -> bytes:
    """Join groups of five bits into bytes; what is left over must be zero."""
    bits = len(values) * 5
    number = sum(value << bits - 5 * (index + 1) for index, value in enumerate(values))
    spare = bits % 8
    if spare >= 5 or number & (1 << spare) - 1:
        raise ValueError("bits left over")
    return (number >> spare).to_bytes(bits // 8, "big")
