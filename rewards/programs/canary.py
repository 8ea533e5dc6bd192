"""What a jail must hold: tries to get out in every way that can be tried without harm. Runs inside, as a candidate.

`escapes` returns the names of the attempts that succeeded, and "lawful" if an allowed computation did.
"""

import os
import sys

READABLE = ["/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/1/cmdline", os.path.expanduser("~")]
WRITABLE = ["/", "/tmp", "/var/tmp", "/dev/shm", os.getcwd()]


def escapes(directory, outside_pid, name, queue, leave_out=()):
    """`directory`: a place of the host's that anyone may write, with a file "secret" and the datagram socket "socket".
    `outside_pid`: a process outside the jail. `name`: of an abstract datagram socket. `queue`: a System V message queue
    that anyone may use.
    """
    attempts = {
        "read": lambda: [open(path).close() for path in [directory + "/secret"]],
        "write": lambda: open(directory + "/planted", "w").close(),
        "overwrite": lambda: open(directory + "/secret", "w").close(),
        "rename": lambda: os.rename(directory + "/secret", directory + "/moved"),
        "chmod": lambda: os.chmod(directory + "/secret", 0),
        "list": lambda: os.listdir(directory),
        "fork": _fork,
        "exec": lambda: os.execv(sys.executable or "/bin/true", ["x"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "tcp": lambda: _socket("AF_INET", "SOCK_STREAM"),
        "udp": lambda: _socket("AF_INET", "SOCK_DGRAM"),
        "unix socket": lambda: _socket("AF_UNIX", "SOCK_STREAM"),
        "datagram to a path": lambda: _datagram(directory + "/socket"),
        "datagram to a name": lambda: _datagram("\0" + name),
        "descriptor to a path": lambda: _descriptor(directory + "/socket"),
        "packet socket pair": lambda: _pair("SOCK_SEQPACKET"),
        "network interfaces": _interfaces,
        "socket option": _socket_option,
        "message queue": lambda: _call("msgctl", queue, 2, bytes(4096)),
        "semaphores": lambda: _call("semctl", 0, 0, 19, bytes(4096)),
        "shared memory": lambda: _call("shmctl", 0, 14, bytes(4096)),
        "posix queue": _posix_queue,
        "flush of all disks": lambda: _call("syncfs", os.open(os.__file__, os.O_RDONLY)),
        "lock": _lock,
        "watch": _watch,
        "signal": lambda: os.kill(outside_pid, 0),
        "signal parent": lambda: os.kill(os.getppid(), 0),
        "uid 0": lambda: os.setuid(0),
        "ptrace": lambda: _call("ptrace", 16, outside_pid, 0, 0),
        "namespace": lambda: _call("unshare", 0x10000000),
        "mount": lambda: _call("mount", b"none", b"/", b"tmpfs", 0, None),
        "memory": lambda: bytearray(1 << 30),
        "environment": lambda: os.environ["PATH"],
    }
    for path in READABLE:
        attempts["open " + path] = lambda path=path: os.close(os.open(path, os.O_RDONLY))
    for path in WRITABLE:
        attempts["create in " + path] = lambda path=path: _create(path)
    got = [name for name, attempt in attempts.items() if name not in leave_out and _succeeds(attempt)]
    import json

    return got + ["lawful"] * (json.loads(json.dumps([20, 22])) == [20, 22])


def _succeeds(attempt):
    try:
        attempt()
    except BaseException:
        return False
    return True


def _fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _socket(family, kind):
    import socket

    socket.socket(getattr(socket, family), getattr(socket, kind)).close()


def _pair(kind):
    import socket

    return socket.socketpair(socket.AF_UNIX, getattr(socket, kind))


def _datagram(address):
    ours, _ = _pair("SOCK_DGRAM")
    ours.sendto(b"from the jail", address)


def _descriptor(address):
    import socket

    ours, _ = _pair("SOCK_DGRAM")
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, ours.fileno().to_bytes(4, sys.byteorder))
    ours.sendmsg([b"from the jail"], [rights], 0, address)


def _interfaces():
    import fcntl

    ours, _ = _pair("SOCK_STREAM")
    fcntl.ioctl(ours.fileno(), 0x8912, bytes(16))


def _socket_option():
    import socket

    ours, _ = _pair("SOCK_STREAM")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def _lock():
    import fcntl

    with open(os.__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _watch():
    import fcntl

    place = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    fcntl.fcntl(place, 1026, 4)  # F_NOTIFY


def _posix_queue():
    name = b"/rlvr-canary-%d" % os.getpid()
    _call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, None)
    _call("mq_unlink", name)


def _call(name, *arguments):
    import ctypes

    if getattr(ctypes.CDLL(None), name)(*arguments) < 0:
        raise OSError(name)


def _create(directory):
    path = os.path.join(directory, f"rlvr-canary-{os.getpid()}")
    open(path, "w").close()
    os.unlink(path)
