"""Verifiers that misbehave on command, for the judge's tests. A text that is no command is right if it is the gold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rlvr.interfaces import Verifier
from rlvr.types import Problem, Reason, Verdict


class Obedient(Verifier):
    """Does what the text says: `sleep 0.1`, `spin`, `die`, `die unless FILE`, `raise`, `fill GiB`, `tell pid` ..."""

    name = "obedient"
    version = "1"

    def check_gold(self, problem: Problem) -> str | None:
        return "this gold answer is bad" if problem.gold == "bad" else None

    def verify(self, problem: Problem, text: str) -> Verdict:
        command, _, argument = text.strip().partition(" ")
        if command == "sleep":
            time.sleep(float(argument))
        elif command == "spin":
            sum(range(10**13))  # one C loop: no signal handler and no other thread of this process runs
        elif command == "die" and (not argument or not Path(argument.removeprefix("unless ")).exists()):
            if argument:
                Path(argument.removeprefix("unless ")).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif command == "spawn":
            child = subprocess.Popen(["sleep", "99"])
            return Verdict(True, Reason.IDENTICAL, f"{os.getpid()} {child.pid}")
        elif command == "raise":
            raise ValueError("boom")
        elif command == "exit":
            sys.exit(3)
        elif command == "nothing":
            return None  # type: ignore[return-value]
        elif command == "half":
            return Verdict(0.5, Reason.IDENTICAL)  # type: ignore[arg-type]
        elif command == "words":
            return Verdict(True, "identical")  # type: ignore[arg-type]
        elif command == "number":
            return Verdict(True, Reason.IDENTICAL, 18)  # type: ignore[arg-type]
        elif command == "told":
            return Verdict(True, Reason.IDENTICAL, detail=None)  # type: ignore[arg-type]
        elif command == "fill":
            bytearray(int(float(argument) * 2**30))
        elif command == "print":
            print("noise from a verifier", flush=True)
        elif command == "tell":
            told = {"pid": os.getpid, "torch": lambda: "torch" in sys.modules, "hash": lambda: hash("rlvr"),
                    "time": time.monotonic}
            return Verdict(True, Reason.IDENTICAL, str(told[argument]()))
        correct = text == problem.gold
        return Verdict(correct, Reason.IDENTICAL if correct else Reason.WRONG_ANSWER, text)


class Unmakeable(Obedient):
    """Cannot be constructed."""

    def __init__(self) -> None:
        raise OSError("no such tool")


class CountsPictures(Obedient):
    """Says how many pictures it can see."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        return Verdict(True, Reason.IDENTICAL, str(len(problem.images)))


class Remote(Obedient):
    """Asks a service that hangs while the file RLVR_TEST_HANGS exists."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        while Path(os.environ["RLVR_TEST_HANGS"]).exists():
            time.sleep(0.01)
        return super().verify(problem, text)


class SameLength(Verifier):
    """Accepts every answer that is as long as the gold one: its false positives can be counted by hand."""

    name = "same_length"
    version = "1"

    def check_gold(self, problem: Problem) -> str | None:
        return None

    def verify(self, problem: Problem, text: str) -> Verdict:
        correct = len(text) == len(problem.gold)
        return Verdict(correct, Reason.IDENTICAL if correct else Reason.WRONG_ANSWER, text)


class Forks(Obedient):
    """Leaves a copy of its process behind that returns as well."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        os.fork()
        return super().verify(problem, text)


class WritesAnywhere(Obedient):
    """Writes to whatever descriptor is open, as a library does whose own was closed behind its back."""

    stray = b"stray" * 10

    def verify(self, problem: Problem, text: str) -> Verdict:
        for descriptor in range(3, 64):
            with suppress(OSError):
                os.write(descriptor, self.stray)
        return super().verify(problem, text)


class WritesAMessage(WritesAnywhere):
    """What it writes has the length of a message before it, and is none."""

    stray = b"\0\0\0\x05stray"
