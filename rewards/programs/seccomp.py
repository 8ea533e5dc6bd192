"""The system calls a candidate may not make, as a seccomp filter made with ctypes. Runs inside the jail.

Both tiers install it, after the process has become what runs the candidate. It forbids what no test needs and what
an escape does: to start a process or a program (threads are allowed), to open a socket, to look into or signal
another process, to change owners, modes, namespaces or mounts, to make memory or objects that outlive the process, to
use such objects of others, and the corners of the kernel where most of its holes were (bpf, io_uring, userfaultfd).
What stays allowed was asked what its result can do. `socketpair` makes stream sockets of AF_UNIX only (asyncio needs
them): a datagram socket can send to any socket whose path or name it knows, and pass descriptors along.
A list of what is forbidden, not of what is allowed, since the C library's needs differ from system to system; numbers
newer than the list are refused as unknown. Numbers: asm/unistd_64.h and asm-generic/unistd.h of Linux 6.10.
"""

from __future__ import annotations

import ctypes
import os
import struct

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050000 | 1, 0x00050000 | 38  # errno EPERM, ENOSYS
LAST_KNOWN = 462
CLONE_THREAD = 0x10000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF: ld, jeq, jge, jset, ret
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; an argument's low half on little endian

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64), -1 where the architecture has no such call
_FORBIDDEN: dict[str, tuple[int, int]] = {
    # programs and processes
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    # sockets; their options attach programs (SO_ATTACH_FILTER)
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "setsockopt": (54, 208),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "tkill": (200, 130), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "get_robust_list": (274, 100),
    # identity
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152),
    "setgroups": (116, 159), "capset": (126, 91), "personality": (135, 92),
    # owners, modes, times: landlock does not see these
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, -1),
    "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54), "utime": (132, -1), "utimes": (235, -1),
    "futimesat": (261, -1), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "mknod": (133, -1), "mknodat": (259, 33), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "statmount": (457, 457), "listmount": (458, 458), "ustat": (136, -1), "sysfs": (139, -1),
    # the whole machine's disks, and locks that other processes wait for
    "sync": (162, 81), "syncfs": (306, 267), "flock": (73, 32),
    # memory that RLIMIT_AS does not see, objects that outlive the process
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    # corners of the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_setup": (206, 0), "io_submit": (209, 2),
    "fanotify_init": (300, 262), "inotify_init": (253, -1), "inotify_init1": (294, 26), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "syslog": (103, 116), "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "vhangup": (153, 58),
    "iopl": (172, -1), "ioperm": (173, -1), "modify_ldt": (154, -1), "mbind": (237, 235),
    "set_mempolicy": (238, 237), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "uselib": (134, -1),
}
_CLONE, _CLONE3, _KILL, _TGKILL = (56, 220), (435, 435), (62, 129), (234, 131)
_PRLIMIT, _SET_AFFINITY, _SOCKETPAIR = (302, 261), (203, 122), (53, 199)
_AF_UNIX, _NOT_A_STREAM = 1, 0xE
"""SOCK_STREAM is 1; every other type of socket has one of these bits."""
_IOCTL, _SOCKET_IOCTLS = (16, 29), (0x8900, 0x8A00)
"""Of sockets: owners to be signalled, and the addresses of the machine's network interfaces."""

# (call, index of an argument, values of it that are refused)
_REFUSED_ARGUMENTS: tuple[tuple[tuple[int, int], int, tuple[int, ...]], ...] = (
    # prctl: a candidate that clears its parent-death signal would survive a killed judge; one that is dumpable may
    # have its core written by the host's core handler, whatever RLIMIT_CORE says; 62: PR_SCHED_CORE names others
    ((157, 167), 0, (PR_SET_PDEATHSIG, PR_SET_DUMPABLE, 62)),
    # fcntl F_SETOWN, F_SETSIG, F_SETOWN_EX: any signal to any process by way of a pipe; F_SETLEASE, F_NOTIFY
    ((72, 25), 1, (8, 10, 15, 1024, 1026)),
    (_IOCTL, 1, (0x5412, 0x541C)),  # TIOCSTI, TIOCLINUX: typing on a terminal
)


class _Filter:
    """Instructions of a filter, in order."""

    def __init__(self) -> None:
        self.instructions: list[tuple[int, int, int, int]] = []

    def add(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self.instructions.append((code, if_true, if_false, value))

    def refuse(self, number: int, answer: int = REFUSE) -> None:
        """Call `number` is refused."""
        self.add(_EQUAL, number, 0, 1)
        self.add(_RETURN, answer)

    def only_if_argument(self, number: int, code: int, *values: int) -> None:
        """Call `number` is allowed if its first argument is (or, with _ANY_BIT, has a bit of) one of `values`."""
        self.add(_EQUAL, number, 0, 2 + 2 * len(values))
        self.add(_LOAD, _ARGUMENT)
        for value in values:
            self.add(code, value, 0, 1)
            self.add(_RETURN, ALLOW)
        self.add(_RETURN, REFUSE)

    def refuse_arguments(self, number: int, index: int, values: tuple[int, ...]) -> None:
        """Call `number` is refused if an argument is one of `values`, and allowed otherwise."""
        self.add(_EQUAL, number, 0, 2 + 2 * len(values))
        self.add(_LOAD, _ARGUMENT + 8 * index)
        for value in values:
            self.add(_EQUAL, value, 0, 1)
            self.add(_RETURN, REFUSE)
        self.add(_RETURN, ALLOW)

    def only_stream_pairs(self, number: int) -> None:
        """socketpair makes stream sockets of AF_UNIX only."""
        self.add(_EQUAL, number, 0, 7)
        self.add(_LOAD, _ARGUMENT)
        self.add(_EQUAL, _AF_UNIX, 1, 0)
        self.add(_RETURN, REFUSE)
        self.add(_LOAD, _ARGUMENT + 8)
        self.add(_ANY_BIT, _NOT_A_STREAM, 0, 1)
        self.add(_RETURN, REFUSE)
        self.add(_RETURN, ALLOW)

    def no_socket_ioctls(self, number: int) -> None:
        self.add(_EQUAL, number, 0, 5)
        self.add(_LOAD, _ARGUMENT + 8)
        self.add(_AT_LEAST, _SOCKET_IOCTLS[0], 0, 2)
        self.add(_AT_LEAST, _SOCKET_IOCTLS[1], 1, 0)
        self.add(_RETURN, REFUSE)
        self.add(_LOAD, _NUMBER)


def build(machine: str, pid: int) -> bytes:
    """The filter for a process `pid` on `machine` (a key of AUDIT), as an array of struct sock_filter."""
    which = list(AUDIT).index(machine)
    filter = _Filter()
    filter.add(_LOAD, _ARCHITECTURE)
    filter.add(_EQUAL, AUDIT[machine], 1, 0)
    filter.add(_RETURN, KILL)
    filter.add(_LOAD, _NUMBER)
    if machine == "x86_64":  # the x32 calls have other numbers for the same things
        filter.add(_AT_LEAST, 0x40000000, 0, 1)
        filter.add(_RETURN, KILL)
    for numbers in _FORBIDDEN.values():
        if numbers[which] >= 0:
            filter.refuse(numbers[which])
    # the C library falls back from clone3, whose flags a filter cannot see, to clone
    filter.refuse(_CLONE3[which], UNKNOWN)
    filter.add(_AT_LEAST, LAST_KNOWN + 1, 0, 1)
    filter.add(_RETURN, UNKNOWN)
    filter.only_if_argument(_CLONE[which], _ANY_BIT, CLONE_THREAD)
    filter.only_if_argument(_KILL[which], _EQUAL, pid)
    filter.only_if_argument(_TGKILL[which], _EQUAL, pid)
    filter.only_if_argument(_PRLIMIT[which], _EQUAL, 0, pid)
    filter.only_if_argument(_SET_AFFINITY[which], _EQUAL, 0, pid)
    filter.only_stream_pairs(_SOCKETPAIR[which])
    filter.no_socket_ioctls(_IOCTL[which])
    for numbers, index, values in _REFUSED_ARGUMENTS:
        filter.refuse_arguments(numbers[which], index, values)
    filter.add(_RETURN, ALLOW)
    return b"".join(struct.pack("HBBI", *instruction) for instruction in filter.instructions)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """Bind this process and its later threads to the filter, for ever. OSError if the kernel refuses."""
    code = build(os.uname().machine, os.getpid())
    memory = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(memory))
    control(PR_SET_NO_NEW_PRIVS, 1)
    control(PR_SET_SECCOMP, 2, ctypes.addressof(program))


def control(option: int, *arguments: int) -> None:
    """`prctl(2)`. OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(ctypes.c_int(option), *padded) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
