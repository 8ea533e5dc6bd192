"""The candidate as test code sees it: requests carried into its jail, replies read, exceptions raised again."""

from __future__ import annotations

import builtins
import sys
from _thread import allocate_lock
from contextlib import suppress
from typing import Any, NoReturn

from rlvr.rewards.programs.jail_child import Channel, describe
from rlvr.rewards.programs.remote import Awaitable, Coroutine, Remote
from rlvr.rewards.programs.wire import MAX_FRAME, TooDeep, dump, pack, unpack
from rlvr.rewards.programs.wire_rare import update

_ENDINGS = (StopIteration, StopAsyncIteration)


class Refused(BaseException):
    """The candidate's answer cannot count. No Exception, so that neither the tests nor unittest take it for theirs."""


class Unsendable(TypeError):
    """The test code hands the candidate something that is not plain data."""


class Link:
    """Calls into the candidate's jail, through the trusted process between the two."""

    def __init__(self, channel: Channel, classes: frozenset[str] = frozenset()) -> None:
        """`classes`: names that the test code uses as the program's classes."""
        self.channel, self.classes = channel, classes
        self.turn = allocate_lock()
        """Of a request and its reply: test code may call the program from several threads."""
        self.calls = 0
        self.exceptions: dict[str, type[BaseException]] = {}
        self.remotes: dict[int, Remote] = {}
        self.unusable = ""
        """Why the tests themselves cannot be run, "" if nothing is known of that."""
        self.refused = ""
        """The first answer that could not count: from then on the verdict is wrong, whatever the tests say."""

    def refuse(self, why: str) -> NoReturn:
        self.refused = self.refused or why
        raise Refused(why)

    def ask(self, do: str, on: Any, *arguments: Any, mirror: bool = False, **keywords: Any) -> Any:
        """The reply's value. Raises what the candidate raised: the nearest built-in exception, or its own class.

        `mirror`: what the candidate does to its arguments happens to the test's own objects.
        """
        reply = self.exchange({
            "do": do, "on": on, "echo": mirror, "args": [self._pack(argument) for argument in arguments],
            "kwargs": {name: self._pack(value) for name, value in keywords.items()},
        })
        if do == "next" and "stop" in reply:
            raise StopIteration
        value = self.read(reply, "value")
        after = self.read(reply, "args") if mirror and "args" in reply else []
        given = (*arguments, *keywords.values())
        for argument, changed in zip(given, after, strict=False):
            update(argument, changed)
        for argument in given:
            if isinstance(argument, Remote):
                argument._rlvr_changed()
        place = reply.get("same")
        return given[place] if mirror and isinstance(place, int) and 0 <= place < len(given) else value

    def operate(self, name: str, on: int, *arguments: Any, swap: bool = False) -> Any:
        """The value of an operation of the module `operator`, or of one of its relatives, in the candidate's jail."""
        reply = self.exchange({"do": "op", "on": on, "name": name, "swap": swap,
                                "args": [self._pack(argument) for argument in arguments]})
        if reply.get("stranger"):
            self.refuse("an object equals whatever it is compared with")
        return self.read(reply, "value")

    def find(self, names: list[str]) -> dict[str, Any]:
        """Those of `names` that the candidate defines."""
        found = self.exchange({"do": "find", "on": names}).get("names")
        if not isinstance(found, dict):
            self.refuse("an answer that cannot be read")
        values = {}
        for name in names:
            if name in found:
                kinds = found[name].get("exception")
                values[name] = self._exception(kinds) if kinds else self.read(found[name], "value")
                if isinstance(values[name], Remote):
                    vars(values[name])["_rlvr_maker"] = name in self.classes
        return values

    def remote(self, number: int, name: str, coroutine: bool | None = None) -> Remote:
        """The stand-in for object `number`, the same one each time. `coroutine`: None for one that is not awaited.

        An object that the test made is none any more when the program hands it back in place of a value.
        """
        kind = Remote if coroutine is None else Coroutine if coroutine else Awaitable
        found = self.remotes.setdefault(number, kind(self, number, name))
        vars(found)["_rlvr_made"] = False
        return found

    def read(self, reply: dict[str, Any], key: str) -> Any:
        """A value in a reply. One that cannot be read is the candidate's doing."""
        try:
            return unpack(reply[key], self.remote)
        except Exception as error:
            self.refuse(f"an answer that cannot be read: {type(error).__name__}")

    def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises what the candidate raised."""
        self.calls += request["do"] in ("call", "make")
        frame = dump({"ask": request})
        if len(frame) > MAX_FRAME:
            self.refuse("too much is handed to the program at once")
        try:
            with self.turn:
                self.channel.send_frame(frame)
                reply = self.channel.receive()["reply"]
        except TooDeep:
            self.refuse("an answer that is nested too deep")
        if not isinstance(reply, dict) or "huge" in reply:
            self.refuse("an answer that is too large or nested too deep")
        if reply.get("printed") and isinstance(reply["printed"], str):
            sys.stdout.write(reply["printed"])
        if "raised" in reply:
            raise self._raised(reply)
        return reply

    def _pack(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"o": value._rlvr_number}
        try:
            return pack(value, self._keep)
        except TooDeep:
            self.refuse("what is handed to the program is nested too deep")
        except TypeError as error:
            self.unusable = self.unusable or describe(error)
            raise Unsendable(self.unusable) from error

    def _keep(self, value: Any) -> int:
        if isinstance(value, Remote):
            return value._rlvr_number
        raise TypeError(f"a value of type {type(value).__name__} cannot be sent")

    def _raised(self, reply: dict[str, Any]) -> BaseException:
        """What the candidate raised, with its arguments where the class takes them, else with its text alone."""
        names = reply["raised"] if isinstance(reply["raised"], list) else []
        kind = self._exception([str(name) for name in names])
        text = str(reply.get("text", ""))
        try:
            error = kind(*[unpack(argument, self.remote) for argument in reply.get("args", [text])])
        except Exception:  # UnicodeDecodeError wants five arguments: one that a candidate subclassed may have others
            error = kind.__new__(kind)
            error.args = (text,)
        with suppress(Exception):  # what cannot be read of its attributes is left out
            vars(error).update(unpack({"d": list(map(list, reply.get("vars", {}).items()))}, self.remote))
        vars(error)["candidate_text"] = text
        return error

    def _exception(self, names: list[str]) -> type[BaseException]:
        """A class of this name whose base is the first built-in exception among `names` (its method resolution order).

        Only relatives of Exception, so that a candidate cannot end the tests by SystemExit, and not StopIteration,
        which would end `all(map(candidate, inputs))` early and in favour of the candidate.
        """
        for position, name in enumerate(names):
            known = getattr(builtins, name, None)
            if isinstance(known, type) and issubclass(known, Exception) and known not in _ENDINGS:
                if position == 0:
                    return known
                own = type(names[0], (known,), {"__str__": lambda error: vars(error).get("candidate_text", "")})
                return self.exceptions.setdefault(names[0], own)
        return RuntimeError
