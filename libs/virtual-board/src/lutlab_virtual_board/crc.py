"""The CRC-16 of ECP5 bitstreams: polynomial 0x8005, most significant bit first, initial value 0, no final XOR.

Source: Lattice FPGA-TN-02039 "ECP5 sysCONFIG", section on bitstream CRC; the check value of "123456789" is 0xFEE8.
"""

from __future__ import annotations

POLYNOMIAL = 0x8005


def _entry(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = ((crc << 1) ^ POLYNOMIAL) if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


_TABLE = tuple(_entry(byte) for byte in range(256))


_TOGETHER_BYTES = 32
"""From this many bytes on they are reduced together."""


def crc16(data: bytes, crc: int = 0) -> int:
    """The CRC of `data`.

    Args:
        data: the bytes, in stream order.
        crc: the CRC of the bytes before them.

    Returns:
        The 16-bit CRC after the last byte.
    """
    if len(data) >= _TOGETHER_BYTES:
        return _remainder((int.from_bytes(data) ^ crc << 8 * len(data) - 16) << 16, 8 * len(data) + 16)
    table = _TABLE
    for byte in data:
        crc = ((crc << 8) & 0xFF00) ^ table[(crc >> 8) ^ byte]
    return crc


def _remainder(value: int, bits: int) -> int:
    """The remainder of a long polynomial, an integer of at most so many bits.

    The CRC's polynomial is (x + 1)(x^15 + x + 1). Squaring the second factor's rule x^15 = x + 1 again and again gives
    x^(15 n) = x^n + 1 for every power of two n, so that half of a polynomial is folded away at a time. The first factor
    says whether the number of terms is even.
    """
    odd = value.bit_count() & 1
    power = 1
    while 15 * power < bits:
        power <<= 1
    while power:
        width = 15 * power
        while high := value >> width:
            value = value & (1 << width) - 1 ^ high ^ high << power
        power >>= 1
    return value ^ _FACTOR if value.bit_count() & 1 != odd else value


_FACTOR = 0x8003
"""x^15 + x + 1."""
