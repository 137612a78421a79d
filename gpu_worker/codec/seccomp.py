"""System calls that decoding a photo never needs are refused by the kernel (seccomp),
in the photo's own process.

A refused call returns an error and kills nothing, so that a library which tries one
goes on as on a system without it. What is refused is listed, rather than what is
allowed: the next libc may need what this one does not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

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
"""Above it no number is known here: they get the answer of an older kernel, as x32's
numbers (from 1 << 30) do.
"""
# column of the table, AUDIT_ARCH_…
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE, _CLONE3, _FCNTL = (56, 220), (435, 435), (72, 25)
_PRCTL, _PRLIMIT, _SECCOMP = (157, 167), (302, 261), (317, 277)
_KILLS = ((62, 129), (200, 130), (234, 131))  # kill, tkill, tgkill
_CLONE_THREAD, _F_SETOWN, _F_SETOWN_EX, _PR_SET_PDEATHSIG = 0x10000, 8, 15, 1
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_SET_MODE_FILTER, _TSYNC = 1, 1
_Step = tuple[int, int, int, int]


def refuse_calls() -> bool:
    """From now on, in every thread. No new privileges must have been asked for. False
    where it cannot be had.
    """
    if not _is_known():
        return False
    machine = platform.machine()
    steps = program(machine, os.getpid())
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *step) for step in steps)
    )
    filters = ctypes.create_string_buffer(
        struct.pack("@HP", len(steps), ctypes.addressof(code))
    )
    number = _SECCOMP[_MACHINES[machine][0]]
    call = ctypes.CDLL(None).syscall
    return bool(
        call(
            ctypes.c_long(number),
            ctypes.c_long(_SET_MODE_FILTER),
            ctypes.c_long(_TSYNC),
            filters,
        )
        == 0
    )


def _is_known() -> bool:
    return (
        sys.platform == "linux"
        and platform.machine() in _MACHINES
        and sys.maxsize > 1 << 32
    )


def can_refuse_calls() -> bool:
    """Whether `refuse_calls` will hold in processes of this one: asked with a filter
    that cannot be read.
    """
    if not _is_known():
        return False
    number = _SECCOMP[_MACHINES[platform.machine()][0]]
    ctypes.set_errno(0)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call(ctypes.c_long(number), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(0), None)
    return ctypes.get_errno() == errno.EFAULT


def program(machine: str, pid: int) -> list[_Step]:
    """The filter of process `pid` as BPF: code, jump if true, jump if false, constant."""
    column, arch = _MACHINES[machine]
    refused = [
        entry.split()[1 + column]
        for entry in _TABLE.replace("\n", " ").split(",")
        if entry.strip()
    ]
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, arch),
        _fail(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_GREATER, 0, 1, _NEWEST),
        _fail(errno.ENOSYS),
        # its flags cannot be seen; libc falls back to clone
        (_EQUAL, 0, 1, _CLONE3[column]),
        _fail(errno.ENOSYS),
    ]
    for number in refused:
        if number != "-":
            steps += [(_EQUAL, 0, 1, int(number)), _fail(errno.EPERM)]
    # threads, no processes
    steps += _argument(_CLONE[column], 0, (_ANY_BIT, 1, 0, _CLONE_THREAD))
    for kill in _KILLS:
        # abort() signals itself
        steps += _argument(kill[column], 0, (_EQUAL, 1, 0, pid))
    # would have the kernel send signals to others
    for command in (_F_SETOWN, _F_SETOWN_EX):
        steps += _argument(_FCNTL[column], 1, (_EQUAL, 0, 1, command))
    steps += _argument(_PRCTL[column], 0, (_EQUAL, 0, 1, _PR_SET_PDEATHSIG))
    for half in (2, 2.5):  # limits may be read
        steps += _argument(_PRLIMIT[column], half, (_EQUAL, 1, 0, 0))
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _argument(number: int, index: float, passes: _Step) -> list[_Step]:
    """Refuse call `number` unless its argument `passes`; a half index is an argument's
    upper half.
    """
    at = _ARGUMENTS_AT + int(index * 8)
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, at),
        passes,
        _fail(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]


def _fail(code: int) -> _Step:
    return _RETURN, 0, 0, _ERROR | code
