"""System calls that work on bytes of strangers never needs are refused by the kernel
(seccomp), in the process that does it.

A refused call returns an error and kills nothing, so that a library which tries one
goes on as on a system without it. The table lists what is refused, rather than what is
allowed: the next libc may need what this one does not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NamedTuple

_TABLE = """
    open 2 -, openat 257 56, openat2 437 437, creat 85 -, open_by_handle_at 304 265, name_to_handle_at 303 264,
    memfd_create 319 279, memfd_secret 447 447,
    truncate 76 45, mkdir 83 -, mkdirat 258 34, mknod 133 -, mknodat 259 33, unlink 87 -, unlinkat 263 35, rmdir
    84 -, rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266
    36, chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, utime
    132 -, utimes 235 -, utimensat 280 88, futimesat 261 -, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7,
    removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, readlink 89 -, readlinkat 267 78, inotify_init
    253 -, inotify_init1 294 26, fanotify_init 300 262,
    socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288
    242, setsockopt 54 208, ioctl 16 29,
    execve 59 221, execveat 322 281, fork 57 -, vfork 58 -, uselib 134 -,
    ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440,
    process_mrelease 448 448, kcmp 312 272, pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424,
    rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, setpriority 141 140, ioprio_set 251 30,
    sched_setaffinity 203 122, sched_setscheduler 144 119, sched_setparam 142 118, sched_setattr 314 274,
    migrate_pages 256 238, move_pages 279 239, setrlimit 160 164, setpgid 109 154, setsid 112 157,
    get_robust_list 274 100,
    mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429,
    fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442, setns 308 268,
    unshare 272 97, swapon 167 224, swapoff 168 225, quotactl 179 60, quotactl_fd 443 443,
    io_setup 206 0, io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, bpf 321 280,
    perf_event_open 298 241, userfaultfd 323 282, add_key 248 217, request_key 249 218, keyctl 250 219,
    shmget 29 194, shmat 30 196, shmctl 31 195, msgget 68 186, msgctl 71 187, msgsnd 69 189, msgrcv 70 188,
    semget 64 190, semctl 66 191, semop 65 193, semtimedop 220 192, mq_open 240 180, mq_unlink 241 181,
    setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143, setresuid 117 147, setresgid 119 149,
    setfsuid 122 151, setfsgid 123 152, setgroups 116 159, capset 126 91, personality 135 92,
    init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320
    294, reboot 169 142, acct 163 89, syslog 103 116, settimeofday 164 170, clock_settime 227 112, adjtimex 159
    171, clock_adjtime 305 266, sethostname 170 161, setdomainname 171 162, iopl 172 -, ioperm 173 -, modify_ldt
    154 -, vhangup 153 58,
"""
"""Name, number on x86_64, number on aarch64: files, network, programs, other processes,
and the rest of the kernel.
"""

_NEWEST = 451
"""The highest number that is known here. Those above get the answer of an older kernel,
as x32's numbers (from 1 << 30) do.
"""

# Numbers of calls that depend on their arguments, on x86_64 and on aarch64.
_CLONE, _CLONE3, _FCNTL = (56, 220), (435, 435), (72, 25)
_PRCTL, _PRLIMIT, _SECCOMP = (157, 167), (302, 261), (317, 277)
_KILL, _TKILL, _TGKILL = (62, 129), (200, 130), (234, 131)
_CLONE_THREAD, _F_SETOWN, _F_SETOWN_EX, _PR_SET_PDEATHSIG = 0x10000, 8, 15, 1

# Instructions and answers of the filter, and where it finds what it looks at.
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ARGUMENT_BYTES, _HALF_BYTES = 8, 4
_SET_MODE_FILTER, _TSYNC = 1, 1

_Step = tuple[int, int, int, int]
"""One instruction of BPF: code, jump if true, jump if false, constant."""


class _Machine(NamedTuple):
    """A kind of processor: its column in the table, and its AUDIT_ARCH number."""

    column: int
    arch: int


_MACHINES = {
    "x86_64": _Machine(column=0, arch=0xC000003E),
    "aarch64": _Machine(column=1, arch=0xC00000B7),
}


def refuse_calls() -> bool:
    """Refuse the calls from now on, in every thread; whether that holds.

    The process must have given up new privileges before. False on a system without
    such filters.
    """
    if not _is_known():
        return False
    steps = program(platform.machine(), os.getpid())
    instructions = b"".join(struct.pack("=HBBI", *step) for step in steps)
    # Both buffers must live until the call has returned.
    code = ctypes.create_string_buffer(instructions)
    head = struct.pack("@HP", len(steps), ctypes.addressof(code))
    filters = ctypes.create_string_buffer(head)
    call = ctypes.CDLL(None).syscall
    result = call(
        ctypes.c_long(_seccomp_number()),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(_TSYNC),
        filters,
    )
    return bool(result == 0)


def can_refuse_calls() -> bool:
    """Whether `refuse_calls` will hold in forks of this process: tried
    with a filter that the kernel cannot read.
    """
    if not _is_known():
        return False
    ctypes.set_errno(0)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call(
        ctypes.c_long(_seccomp_number()),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(0),
        None,
    )
    return ctypes.get_errno() == errno.EFAULT


def _is_known() -> bool:
    has_64_bits = sys.maxsize > 1 << 32
    is_linux = sys.platform == "linux"
    return is_linux and has_64_bits and platform.machine() in _MACHINES


def _seccomp_number() -> int:
    machine = _MACHINES[platform.machine()]
    return _SECCOMP[machine.column]


def program(machine: str, pid: int) -> list[_Step]:
    """The filter of process `pid` as BPF."""
    column, arch = _MACHINES[machine]
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, arch),
        _fail(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_GREATER, 0, 1, _NEWEST),
        _fail(errno.ENOSYS),
        # Its flags cannot be seen; libc falls back to clone.
        (_EQUAL, 0, 1, _CLONE3[column]),
        _fail(errno.ENOSYS),
    ]
    for number in _refused(column):
        steps.append((_EQUAL, 0, 1, number))
        steps.append(_fail(errno.EPERM))
    # Threads, but no processes.
    steps += _unless(_CLONE[column], 0, (_ANY_BIT, 1, 0, _CLONE_THREAD))
    # Signals to this process only: abort() signals itself.
    for kill in (_KILL, _TKILL, _TGKILL):
        steps += _unless(kill[column], 0, (_EQUAL, 1, 0, pid))
    # These would have the kernel send signals to others.
    for command in (_F_SETOWN, _F_SETOWN_EX):
        steps += _unless(_FCNTL[column], 1, (_EQUAL, 0, 1, command))
    steps += _unless(_PRCTL[column], 0, (_EQUAL, 0, 1, _PR_SET_PDEATHSIG))
    # Limits may be read, not set: the new limit is a null pointer, in both halves.
    steps += _unless(_PRLIMIT[column], 2, (_EQUAL, 1, 0, 0))
    steps += _unless(_PRLIMIT[column], 2, (_EQUAL, 1, 0, 0), upper_half=True)
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _refused(column: int) -> list[int]:
    """Numbers of the calls in the table that this kind of processor has."""
    numbers = []
    for entry in _TABLE.replace("\n", " ").split(","):
        words = entry.split()
        if words and words[1 + column] != "-":
            numbers.append(int(words[1 + column]))
    return numbers


def _unless(
    number: int,
    index: int,
    test: _Step,
    upper_half: bool = False,
) -> list[_Step]:
    """Refuse call `number` unless its argument `index` passes `test`, of which the
    filter sees half at a time.
    """
    at = _ARGUMENTS_AT + index * _ARGUMENT_BYTES
    if upper_half:
        at += _HALF_BYTES
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, at),
        test,
        _fail(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]


def _fail(code: int) -> _Step:
    return _RETURN, 0, 0, _ERROR | code
