"""Take the file system away from the current process with landlock, made with ctypes. Runs inside the jail.

Source: https://docs.kernel.org/userspace-api/landlock.html. Landlock sees opening, creating, renaming and removing;
it does not see stat(2), chdir(2), chmod(2) or connecting to a socket in the file system (`seccomp` forbids the last
two).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

NEEDED_VERSION = 3
"""The first that sees truncation (Linux 6.2)."""

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS = {3: (1 << 15) - 1, 5: (1 << 16) - 1}  # from this version on: rights on files that there are to take away
_NETWORK, _SCOPES = 3, 3  # TCP bind and connect (version 4); abstract sockets and signals (version 6)


def version() -> int:
    """Landlock version of the running kernel, 0 if it has none or has it switched off."""
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def restrict(readable: Iterable[str], writable: Iterable[str] = (), listable: Iterable[str] = ()) -> None:
    """From now on only what lies beneath `readable` can be read, and only `writable` files written; for ever. Of what
    lies beneath `listable` the names can be read.

    Needs PR_SET_NO_NEW_PRIVS. Paths that do not exist are left out. OSError if the kernel cannot do it.
    """
    have = version()
    if have < NEEDED_VERSION:
        raise OSError(f"landlock version {have}, needed is {NEEDED_VERSION} (Linux 6.2)")
    rights = max(mask for since, mask in _RIGHTS.items() if since <= have)
    attributes = struct.pack("QQQ", rights, _NETWORK, _SCOPES)[: 8 if have < 4 else 16 if have < 6 else 24]
    rules = _call(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(rules, path, _READ_FILE | _READ_DIR if os.path.isdir(path) else _READ_FILE)
        for path in listable:
            _allow(rules, path, _READ_DIR)
        for path in writable:
            _allow(rules, path, _READ_FILE | _WRITE_FILE)
        _call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(1), struct.pack("=Qi", rights, place), ctypes.c_uint32(0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock call {number}: {os.strerror(code)}")
    return result
