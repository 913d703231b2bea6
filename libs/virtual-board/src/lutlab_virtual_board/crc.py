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


def crc16(data: bytes, crc: int = 0) -> int:
    """The CRC of `data`.

    Args:
        data: the bytes, in stream order.
        crc: the CRC of the bytes before them.

    Returns:
        The 16-bit CRC after the last byte.
    """
    table = _TABLE
    for byte in data:
        crc = ((crc << 8) & 0xFF00) ^ table[(crc >> 8) ^ byte]
    return crc
