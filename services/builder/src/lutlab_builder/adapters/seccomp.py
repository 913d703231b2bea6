"""A seccomp filter for sandboxed programs: system calls that no tool needs and that open the kernel to a user's code.

Namespaces hide the host, but a program could make new user namespaces and gain capabilities in them, and some sockets
(AF_VSOCK reaches a virtual machine's host) know no network namespace. The filter refuses those with an error, as if
the kernel did not have them. Format: classic BPF over `struct seccomp_data`, linux/seccomp.h and linux/filter.h.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT = 0, 4, 16
_X32_FIRST = 0x40000000
_CLONE_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True)
class Numbers:
    """System call numbers of one architecture.

    Attributes:
        audit: its AUDIT_ARCH number.
        refused: calls that are refused whatever their arguments.
        clone, clone3, socket: calls that are looked at.
        fallocate: takes room on a disk faster than anybody looks: as if the file system did not know it.
        links: calls that make links and special files: refused where the builder reads files that a user's code wrote.
    """

    audit: int
    refused: tuple[int, ...]
    clone: int
    clone3: int
    socket: int
    fallocate: int
    links: tuple[int, ...]


_NEW_CALLS = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 447)
"""The same everywhere: io_uring_setup, _enter, _register, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick,
pidfd_getfd, mount_setattr, memfd_secret."""
NUMBERS = {
    "x86_64": Numbers(
        audit=0xC000003E,
        # ptrace, syslog, pivot_root, chroot, acct, mount, umount2, swapon, reboot, init_module, delete_module,
        # quotactl, kexec_load, add_key, request_key, keyctl, unshare, perf_event_open, name_to_handle_at,
        # open_by_handle_at, setns, process_vm_readv, process_vm_writev, kcmp, finit_module, kexec_file_load, bpf,
        # userfaultfd; shmget, memfd_create: memory that no process has mapped counts for none
        refused=(
            *(101, 103, 155, 161, 163, 165, 166, 167, 169, 175, 176, 179, 246, 248, 249, 250, 272, 298, 303, 304),
            *(308, 310, 311, 312, 313, 320, 321, 323, 29, 319),
            *_NEW_CALLS,
        ),
        clone=56,
        clone3=435,
        socket=41,
        fallocate=285,
        links=(86, 88, 133, 259, 265, 266),  # link, symlink, mknod, mknodat, linkat, symlinkat
    ),
    "aarch64": Numbers(
        audit=0xC00000B7,
        # the same calls
        refused=(
            *(117, 116, 41, 51, 89, 40, 39, 224, 142, 105, 106, 60, 104, 217, 218, 219, 97, 241, 264, 265),
            *(268, 270, 271, 272, 273, 294, 280, 282, 194, 279),
            *_NEW_CALLS,
        ),
        clone=220,
        clone3=435,
        socket=198,
        fallocate=47,
        links=(33, 36, 37),  # mknodat, symlinkat, linkat
    ),
}


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def program(machine: str | None = None, *, links: bool = True) -> bytes | None:
    """The filter for this kind of processor, as bubblewrap's `--seccomp` reads it; None where there is none.

    Args:
        machine: `platform.machine()` of the processor, this one's if not given.
        links: whether links and special files may be made.
    """
    numbers = NUMBERS.get(machine or platform.machine())
    if numbers is None:
        return None
    allow = _step(_RETURN, _ALLOW)
    steps = [
        _step(_LOAD_WORD, _OFFSET_ARCHITECTURE),
        _step(_JUMP_EQUAL, numbers.audit, 1, 0),
        _refuse(errno.EPERM),
        _step(_LOAD_WORD, _OFFSET_NUMBER),
        _step(_JUMP_GREATER_EQUAL, _X32_FIRST, 0, 1),
        _refuse(errno.ENOSYS),
    ]
    for number in numbers.refused if links else (*numbers.refused, *numbers.links):
        steps += [_step(_JUMP_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    # clone3 hides its flags behind a pointer; C libraries fall back to clone if it is missing.
    steps += [_step(_JUMP_EQUAL, numbers.clone3, 0, 1), _refuse(errno.ENOSYS)]
    steps += [_step(_JUMP_EQUAL, numbers.fallocate, 0, 1), _refuse(errno.EOPNOTSUPP)]
    steps += [
        _step(_JUMP_EQUAL, numbers.clone, 0, 4),
        _step(_LOAD_WORD, _OFFSET_FIRST_ARGUMENT),
        _step(_JUMP_ANY_BIT, _CLONE_NEW_NAMESPACES, 0, 1),
        _refuse(errno.EPERM),
        allow,
    ]
    checks = [_step(_JUMP_EQUAL, family, len(_FAMILIES) - index, 0) for index, family in enumerate(_FAMILIES)]
    steps += [
        _step(_JUMP_EQUAL, numbers.socket, 0, len(checks) + 2),
        _step(_LOAD_WORD, _OFFSET_FIRST_ARGUMENT),
        *checks,
        _refuse(errno.EAFNOSUPPORT),
        allow,
    ]
    return b"".join(steps)
