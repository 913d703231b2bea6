"""The system call filter, run by a small interpreter for both kinds of processor."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from lutlab_builder.adapters.seccomp import NUMBERS, program

ALLOW = "allow"


def decide(machine: str, number: int, first_argument: int = 0, audit: int | None = None) -> str:
    """What the kernel would do with a system call."""
    code = program(machine)
    assert code is not None
    steps = list(struct.iter_unpack("=HBBI", code))
    numbers = NUMBERS[machine]
    words = {0: number, 4: numbers.audit if audit is None else audit, 16: first_argument & 0xFFFFFFFF}
    at, value = 0, 0
    for _ in steps:  # every jump goes forward
        kind, if_true, if_false, operand = steps[at]
        at += 1
        if kind == 0x20:
            value = words[operand]
        elif kind == 0x06:
            return ALLOW if operand == 0x7FFF0000 else errno.errorcode[operand & 0xFFFF]
        else:
            met = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[kind]
            at += if_true if met else if_false
    raise AssertionError("the program does not end")


@pytest.mark.parametrize("machine", sorted(NUMBERS))
def test_what_is_refused_and_what_is_not(machine: str) -> None:
    numbers = NUMBERS[machine]
    assert all(decide(machine, number) == "EPERM" for number in numbers.refused)
    looked_at = {*numbers.refused, numbers.clone, numbers.clone3, numbers.socket, numbers.fallocate}
    assert all(decide(machine, number) == ALLOW for number in range(470) if number not in looked_at)
    assert decide(machine, numbers.clone3) == "ENOSYS"
    assert decide(machine, numbers.fallocate) == errno.errorcode[errno.EOPNOTSUPP]


def test_memory_that_no_process_has_mapped_cannot_be_had() -> None:
    for machine, calls in (("x86_64", (29, 319, 447)), ("aarch64", (194, 279, 447))):  # shmget, memfd_create, _secret
        assert [decide(machine, number) for number in calls] == ["EPERM"] * 3


@pytest.mark.parametrize("machine", sorted(NUMBERS))
def test_threads_and_processes_but_no_namespaces(machine: str) -> None:
    clone = NUMBERS[machine].clone
    threads, fork = 0x003D0F00, 0x01200011
    assert decide(machine, clone, threads) == ALLOW
    assert decide(machine, clone, fork) == ALLOW
    for namespace in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(machine, clone, fork | namespace) == "EPERM"


@pytest.mark.parametrize("machine", sorted(NUMBERS))
def test_sockets_that_namespaces_do_not_hold_back(machine: str) -> None:
    number = NUMBERS[machine].socket
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        assert decide(machine, number, family) == ALLOW
    for family in (socket.AF_VSOCK, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_ALG, 0):
        assert decide(machine, number, family) == "EAFNOSUPPORT"


def test_other_calling_conventions_are_no_way_around() -> None:
    assert decide("x86_64", 0x40000000 + 59) == "ENOSYS"
    assert decide("x86_64", 11, audit=0x40000003) == "EPERM"


def test_other_processors_have_no_filter() -> None:
    assert program("riscv64") is None
