"""The jails hold, in each tier this machine has: canary, kill, what is left behind, refusal, the seccomp filter.

Run: python -m pytest tests/rewards/test_sandbox.py -rs     (-rs prints why a tier was skipped)
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rlvr.judging.judge import Judge
from rlvr.rewards.programs import jail as jail_module
from rlvr.rewards.programs import jail_command, landlock, seccomp
from rlvr.rewards.programs.jail import Budget, Jails, Stopped, limits
from rlvr.rewards.programs.jail_command import SandboxError, interpreter
from rlvr.rewards.programs.sandbox import TIERS, _Targets, choose_tier
from rlvr.rewards.unit_tests import UnitTestsVerifier
from rlvr.types import Problem, Reason, UserError
from tests.support.sandbox_tiers import each_tier, missing

ROOT = Path(__file__).parents[2]
CALL = {"kind": "call", "entry": "f", "cases": [{"args": [], "expected": 1}]}


def problem(tests: dict[str, object] = CALL, verifier: str = "unit_tests", **bounds: float) -> Problem:
    return Problem(id="p", prompt="", gold="", verifier=verifier, extra={"tests": tests, "limits": bounds})


def block(program: str) -> str:
    return f"```python\n{program}\n```"


def descendants(pid: int) -> set[int]:
    """All living processes below `pid`, zombies left out."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it ended meanwhile
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= new
    return found


def gone(pids: set[int], seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may end between the opening and the reading
        return False


def test_a_tier_holds_on_this_machine(caplog: pytest.LogCaptureFixture) -> None:
    """The one test that may not be skipped: candidates can be run here at all, and the log says in which tier."""
    with caplog.at_level(logging.INFO, "rlvr.sandbox"):
        tier = choose_tier()
    assert tier == next(tier for tier in TIERS if not missing(tier))
    assert f"in {tier} jails" in caplog.text
    print(f"\nproven sandbox tier: {tier}, Python {interpreter().version}")


@each_tier
def test_the_canary_stays_inside(tier: str) -> None:
    """Each attempt of rewards/programs/canary.py fails, and its lawful computation works."""
    assert choose_tier(tier) == tier


def test_the_canary_finds_open_doors() -> None:
    """Bug: a canary whose attempts fail for reasons of their own, and that would call anything a jail."""
    with tempfile.TemporaryDirectory() as directory:  # pytest's tmp_path is closed to other users
        found = escapes_of_a_bare_process(Path(directory))
    assert {"read", "write", "overwrite", "list", "fork", "spawn", "tcp", "udp", "unix socket", "signal", "memory",
            "environment", "open /etc/passwd", "open /proc/self/environ", "create in /tmp", "lawful",
            "datagram to a path", "datagram to a name", "descriptor to a path", "packet socket pair", "socket option",
            "network interfaces", "message queue", "semaphores", "shared memory", "flush of all disks", "lock", "watch",
            } <= found


def escapes_of_a_bare_process(directory: Path) -> set[str]:
    """The canary as an ordinary process, less what would change this machine or end the canary."""
    with _Targets(str(directory)) as targets:
        code = (ROOT / "rewards/programs/canary.py").read_text() + (
            f"\nnames, left = {targets.names}, ('exec', 'rename', 'chmod', 'ptrace', 'mount')"
            "\nprint(json.dumps(escapes(sys.argv[1], os.getpid(), *names, left)))")
        run_as = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([interpreter().executable, "-c", "import json, sys\n" + code, str(directory)], text=True,
                              cwd="/", env={"PATH": "/usr/bin"}, capture_output=True, check=True, **run_as)
        assert targets.touched() == "made a file"
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("version", [3, 4, 5])
def test_older_landlock_lets_nothing_out_either(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before version 6 it does not see abstract sockets and signals, before 4 no network: seccomp has to."""
    if missing("landlock"):
        pytest.skip(missing("landlock"))
    read_text = Path.read_text

    def older(path: Path, *args: object, **kwargs: object) -> str:
        text = read_text(path, *args, **kwargs)  # type: ignore[arg-type]
        return text.replace("have = version()", f"have = {version}") if path.name == "landlock.py" else text

    monkeypatch.setattr(Path, "read_text", older)
    jail_command.payload.cache_clear()
    assert choose_tier("landlock") == "landlock"
    jail_command.payload.cache_clear()


@each_tier
def test_an_escape_disqualifies_the_tier(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: the canary runs, and what it reports is not looked at."""
    read_text = Path.read_text

    def escaped(path: Path, *args: object, **kwargs: object) -> str:
        text = read_text(path, *args, **kwargs)  # type: ignore[arg-type]
        return text.replace("got = [", "got = ['tcp'] + [") if path.name == "canary.py" else text

    monkeypatch.setattr(Path, "read_text", escaped)
    with pytest.raises(UserError, match="tcp"):
        choose_tier(tier)


def test_without_a_tier_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: falling back to a plain subprocess. The refusal is one sentence that says what to install."""
    monkeypatch.setattr(jail_command.shutil, "which", lambda name: None)
    monkeypatch.setattr(landlock, "version", lambda: 0)
    jail_command.command.cache_clear()
    with pytest.raises(UserError, match="apt-get install bubblewrap") as caught:
        UnitTestsVerifier()
    jail_command.command.cache_clear()
    assert "\n" not in str(caught.value)


def test_the_second_tier_says_that_it_is_the_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if missing("landlock"):
        pytest.skip(missing("landlock"))
    monkeypatch.setattr(jail_command.shutil, "which", lambda name: None)
    jail_command.command.cache_clear()
    assert choose_tier() == "landlock"
    jail_command.command.cache_clear()
    assert "weaker than bwrap" in caplog.text and "bwrap is not installed" in caplog.text


@each_tier
def test_nothing_is_alive_after_the_verdict(tier: str) -> None:
    """Bug: a kill that returns before the processes are gone, or that reaches only the first of them."""
    others = jails()
    verifier = UnitTestsVerifier(tier)
    programs = ["import time, threading\nthreading.Thread(target=time.sleep, args=(99,)).start()\ntime.sleep(99)",
                "while True: pass", "def f(): return 1"]
    stdin = {"kind": "stdin", "cases": [{"input": "", "output": "1"}]}
    for program in programs:
        for tests in (CALL, stdin):
            verifier.verify(problem(tests, seconds=0.2), block(program))
            alive = jails() - others  # first: waiting jails still fork
            waiting = {jail._process.pid for jail in verifier._jails._waiting}
            assert not alive - waiting - {pid for jail in waiting for pid in descendants(jail)}
    verifier.close()
    assert not jails() - others


OWNER = """
import sys, os
from rlvr.rewards.unit_tests import UnitTestsVerifier
from tests.rewards.test_sandbox import problem, block
verifier = UnitTestsVerifier(sys.argv[1])
print("ready", flush=True)
verifier.verify(problem({"kind": sys.argv[2], "entry": "f", "cases": [{"args": [], "expected": 1, "input": "",
                         "output": ""}]}, seconds=60, total_seconds=60), block(sys.argv[3]))
"""
STUBBORN = """
import ctypes, os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
for attempt in (os.setsid, lambda: ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)):
    try: attempt()
    except OSError: pass
while True: time.sleep(1)
"""


@each_tier
@pytest.mark.parametrize("kind", ["call", "stdin"])
def test_a_killed_owner_takes_its_jails_along(tier: str, kind: str) -> None:
    """Bugs: a judge worker that is killed leaves a candidate that runs for ever; a candidate that sheds the signal."""
    with subprocess.Popen([sys.executable, "-c", OWNER, tier, kind, STUBBORN], stdout=subprocess.PIPE, text=True,
                          cwd=ROOT) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        time.sleep(0.4)  # the candidate is asleep in its jail, others wait for work
        below = descendants(owner.pid)
        assert len(below) >= 2
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert gone(below)


def in_session(leader: int) -> set[int]:
    """Processes of a session, also those whose parent is gone."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.add(int(stat.parent.name))
    return found


@each_tier
def test_closing_while_jails_boot_leaves_none(tier: str) -> None:
    """Bug: bubblewrap's child, killed jail or not, waited for ever for the word of a bubblewrap that was dead.

    In a session of its own: tests that run beside this one have jails, too.
    """
    with subprocess.Popen([sys.executable, "-c", OPEN_AND_CLOSE, tier], start_new_session=True, cwd=ROOT) as process:
        assert process.wait() == 0
    assert gone(in_session(process.pid))


OPEN_AND_CLOSE = """
import sys, time
from rlvr.rewards.programs.jail import Jails

for number in range(24):
    jails = Jails(sys.argv[1], ahead=2)
    jails.refill()
    time.sleep(0.001 * number)
    jails.close()
"""


def test_a_judge_that_gives_up_leaves_nothing_and_goes_on() -> None:
    """The judge kills its worker in the middle of a candidate: time-out, no process left, the next verdict is right."""
    sleeper, others = "import time\ntime.sleep(99)", jails()
    with Judge(workers=1, timeout=0.7) as judge:
        assert judge.judge([problem()], [block("def f(): return 1")])[0].correct is True
        verdicts = judge.judge([problem()] * 2, [block(sleeper), block("def f(): return 2")])
        assert [verdict.reason for verdict in verdicts] == [Reason.TIMEOUT, Reason.WRONG_ANSWER]
        below = jails() - others
    assert gone(below)


def _is_jail(pid: int) -> bool:
    try:
        return b"jail_child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def jails() -> set[int]:
    """Jails below this process. The judge that all tests share has some, too."""
    return {pid for pid in descendants(os.getpid()) if _is_jail(pid)}


@each_tier
def test_a_jail_that_dies_while_it_waits_is_replaced(tier: str) -> None:
    jails = Jails(tier, ahead=2)
    jails.refill()
    time.sleep(0.3)
    for jail in jails._waiting:
        jail._process.kill()
        jail._process.wait()
    jail = jails.take()
    assert jail.ready()
    jail.kill()
    jails.close()


def test_jails_that_do_not_start_are_our_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail_module, "command", lambda *_: ["/bin/false"])
    with pytest.raises(SandboxError, match="3 landlock jails in a row"):
        Jails("landlock").take()


@pytest.mark.skipif(os.geteuid() != 0, reason="there is no root to give up")
@pytest.mark.parametrize("setpriv", [True, False])
@each_tier
def test_a_jail_of_root_is_nobodys(tier: str, setpriv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By setpriv, which needs no fork, and without it: real, effective and saved user, and no rights."""
    real = shutil.which
    monkeypatch.setattr(jail_command.shutil, "which", lambda name: real(name) if setpriv or name == "bwrap" else None)
    jail_command.identity.cache_clear()
    words, arguments = jail_command.identity()
    assert bool(words) == (setpriv and bool(real("setpriv"))) and bool(arguments) != bool(words)
    jail = Jails(tier, ahead=0).take()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{jail._pid}/status").read_text().splitlines())
    jail.kill()
    jail_command.identity.cache_clear()
    assert status["Uid"].split() == status["Gid"].split() == 4 * ["65534"]
    assert status["Groups"].split() in ([], ["65534"])
    assert [int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Inh", "Amb")] == 4 * [0]


@each_tier
def test_limits_of_the_process(tier: str) -> None:
    """Memory, output, open files, no way to raise them, empty environment, unprivileged user, no writable place."""
    program = """
import os, resource
def f():
    def refused(action):
        try: action()
        except (OSError, ValueError, MemoryError): return True
        return False
    return [os.getuid() != 0, dict(os.environ), refused(lambda: bytearray(600 << 20)), len(bytearray(100 << 20)),
            refused(lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))),
            refused(lambda: [os.open('/dev/null', 0) for _ in range(100)]),
            [place for place in ('.', '/', '/tmp', '/dev', '/dev/shm', '/var/tmp') if os.path.isdir(place)
             and not refused(lambda: open(place + '/x', 'w'))]]
"""
    expected = [True, {}, True, 100 << 20, True, True, []]
    tests = {"kind": "call", "entry": "f", "cases": [{"args": [], "expected": expected}]}
    verifier = UnitTestsVerifier(tier)
    assert verifier.verify(problem(tests, memory_mib=512), block(program)).reason is Reason.TESTS_PASSED
    verifier.close()


@each_tier
def test_string_hashes_do_not_vary(tier: str) -> None:
    """Bug: the order of a set of strings, and with it a verdict, differs from run to run."""
    done = subprocess.run([interpreter().executable, "-c", "print(hash('rlvr'))"], env={"PYTHONHASHSEED": "0"},
                          capture_output=True, text=True, check=True)
    tests = {"kind": "call", "entry": "hash", "cases": [{"args": ["rlvr"], "expected": int(done.stdout)}]}
    verifier = UnitTestsVerifier(tier)
    assert verifier.verify(problem(tests), block("from builtins import hash")).correct is True
    verifier.close()


@each_tier
def test_jails_run_a_python_that_cannot_read_our_bytecode(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: compiled modules are sent to an interpreter of another version; it gets source instead."""
    other = dataclasses.replace(interpreter(), magic="00000000")
    monkeypatch.setattr(jail_command, "interpreter", lambda: other)
    jail_command.payload.cache_clear()
    jail = Jails(tier, ahead=0).take()
    jail.kill()
    jail_command.payload.cache_clear()


@each_tier
@pytest.mark.parametrize("reply", [b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x02{]", b"\xff\xff\xff\xff", b"\x00\x00",
                                   b"\x00\x00\x00\x05\xff\xfe\x00ab"])
def test_forged_frames_are_the_candidates_crash(tier: str, reply: bytes) -> None:
    """Bug: garbage on the channel is an exception of ours, and so 'not judged' instead of wrong."""
    jail = Jails(tier, ahead=0).take()
    program = (f"import os\nfor n in range(3, 64):\n    try: os.write(n, {reply!r})\n    except OSError: pass\n"
               "os._exit(0)")
    budget = Budget(5)
    jail.send({"kind": "program", "program": program, "prelude": "", "limits": limits(256, 5, 2**20)}, budget)
    with pytest.raises(Stopped) as caught:
        while True:
            jail.receive(budget)
    jail.kill()
    assert caught.value.reason is Reason.CRASHED


def decide(machine: str, number: int, *arguments: int, pid: int = 77, architecture: int | None = None) -> int:
    """What the filter answers: a small interpreter of classic BPF."""
    code = seccomp.build(machine, pid)
    program = [struct.unpack("HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    data = struct.pack("<IIQ6Q", number, architecture or seccomp.AUDIT[machine], 0, *arguments,
                       *[0] * (6 - len(arguments)))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, value = program[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += if_true if holds else if_false


@pytest.mark.parametrize(("machine", "which"), [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_decides_as_written(machine: str, which: int) -> None:
    """Bugs: a jump that is off by one; numbers of the other architecture; a call newer than the list is allowed."""
    refuse, unknown = seccomp.REFUSE, seccomp.UNKNOWN
    for name, numbers in seccomp._FORBIDDEN.items():
        assert numbers[which] < 0 or decide(machine, numbers[which]) == refuse, name
    for name, numbers in {"read": (0, 63), "write": (1, 64), "openat": (257, 56), "mmap": (9, 222), "futex": (202, 98),
                          "exit_group": (231, 94), "getrandom": (318, 278)}.items():
        assert decide(machine, numbers[which]) == seccomp.ALLOW, name
    clone, clone3, kill, tgkill = (56, 220)[which], 435, (62, 129)[which], (234, 131)[which]
    prlimit, prctl, fcntl, ioctl = (302, 261)[which], (157, 167)[which], (72, 25)[which], (16, 29)[which]
    assert decide(machine, clone, 0x3D0F00) == seccomp.ALLOW, "a thread as glibc makes it"
    assert decide(machine, clone, 0x01200011) == refuse, "fork as glibc makes it"
    assert decide(machine, clone3) == unknown and decide(machine, 463) == unknown
    for number in (kill, tgkill):
        assert decide(machine, number, 77) == seccomp.ALLOW and decide(machine, number, 78) == refuse
        assert decide(machine, number, 2**64 - 1) == refuse, "kill(-1)"
    assert decide(machine, prlimit, 0) == seccomp.ALLOW and decide(machine, prlimit, 1) == refuse
    assert decide(machine, prctl, 1) == decide(machine, prctl, 4) == refuse
    assert decide(machine, prctl, 15) == decide(machine, fcntl, 8, 3) == seccomp.ALLOW
    assert decide(machine, ioctl, 3, 0x5401) == seccomp.ALLOW
    for command in (8, 10, 15):
        assert decide(machine, fcntl, 3, command) == refuse, "signals by way of a pipe"
    assert decide(machine, ioctl, 3, 0x5412) == refuse
    for command in (0x8901, 0x8912, 0x89FF):
        assert decide(machine, ioctl, 3, command) == refuse, "of sockets"
    assert decide(machine, ioctl, 3, 0x541B) == decide(machine, ioctl, 3, 0x8A00) == seccomp.ALLOW
    pair = (53, 199)[which]
    assert decide(machine, pair, 1, 1) == decide(machine, pair, 1, 0x80801) == seccomp.ALLOW, "as asyncio makes it"
    for domain, kind in ((1, 2), (1, 3), (1, 5), (1, 0x80002), (30, 1), (2, 1)):
        assert decide(machine, pair, domain, kind) == refuse, "datagrams reach any path"
    assert decide(machine, 0, architecture=0x40000003) == seccomp.KILL, "32-bit calls have other numbers"
    if machine == "x86_64":
        assert decide(machine, 0x40000000 + 57) == seccomp.KILL, "x32 calls too"
