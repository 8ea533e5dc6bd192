"""A loaded candidate and what is asked of it: calls, and operations on objects of its own. Runs inside its jail.

Once candidate code has run, nothing this process says is trusted. Standard library only.
"""

from __future__ import annotations

import builtins
import io
import operator
import sys
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

from rlvr.rewards.programs.coroutines import Awaited, is_coroutine_function
from rlvr.rewards.programs.jail_child import Channel, compiled, lock_down, raised
from rlvr.rewards.programs.leetcode import CLASSES, use_classes
from rlvr.rewards.programs.wire import TooDeep, pack, unpack


class _Stranger:
    """Equal to nothing but itself."""


class Printed:
    """What the program prints, as text, for test code that looks at it."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        sys.stdout = io.TextIOWrapper(self.bytes, "utf-8", "backslashreplace", write_through=True)

    def taken(self) -> str:
        """All since the last time. Too much fills the frame, which is then refused as `huge`."""
        text = self.bytes.getvalue().decode("utf-8", "replace")
        self.bytes.seek(0)
        self.bytes.truncate()
        return text


class Program:
    """A loaded candidate and the objects of it that the outside holds numbers of."""

    def __init__(self, channel: Channel, job: dict[str, Any]) -> None:
        self.channel, self.job = channel, job
        self.module = ModuleType("solution")
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.awaited = Awaited()

    def serve(self) -> None:
        """Load the program and answer requests until the channel closes."""
        code = compiled(self.job["program"], "<solution>")
        if isinstance(code, str):
            self.channel.send({"unparsable": code})
            return
        prelude = compile(self.job["prelude"], "<prelude>", "exec", dont_inherit=True)
        sys.modules["solution"] = self.module
        if self.job.get("leetcode"):
            self.module.__dict__.update(CLASSES)
        printed = Printed() if self.job.get("printed") else None
        lock_down(self.job["limits"])
        reply = self._guarded(lambda: (exec(prelude, self.module.__dict__), exec(code, self.module.__dict__)))
        if "value" in reply:
            reply = {"loaded": True}
        use_classes(self.module.__dict__)
        self.channel.send(reply)
        while True:
            request = self.channel.receive()
            reply = self._guarded(lambda request=request: self._answer(request), packed=True)
            self.channel.send({**reply, "printed": printed.taken()} if printed else reply)

    def _guarded(self, action: Any, packed: bool = False) -> dict[str, Any]:
        """Its result, or what it raised: whatever that is, it is the candidate's."""
        try:
            result = action()
            return result if packed else {"value": None}
        except TooDeep:
            return {"huge": True}
        except BaseException as error:
            return raised(error)

    def _keep(self, value: Any) -> int:
        """The number of an object, the same one each time; it lives as long as this process."""
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return self.numbers[id(value)]

    def _object(self, number: int, _name: str, _coroutine: bool = False) -> Any:
        return self.objects[number]

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        do, on = request["do"], request["on"]
        if do == "find":
            return {"names": {name: self._found(name) for name in on if name in self.module.__dict__}}
        arguments = [unpack(argument, self._object) for argument in request.get("args", ())]
        if do in ("call", "make"):
            return self._call(request, on, arguments)
        target = self.objects[on]
        if do == "next":
            try:
                return {"value": pack(next(target), self._keep)}
            except StopIteration:
                return {"stop": True}
        if do in ("await", "cancel"):
            reply = self.awaited.step(target, cancel=do == "cancel")
            return {"value": pack(reply["value"], self._keep)} if "value" in reply else reply
        if do == "op":
            return self._operation(request["name"], target, arguments, request["swap"])
        operation = {"get": getattr, "set": setattr, "len": len, "iter": iter,
                     "item": lambda thing, key: thing[key]}[do]
        return {"value": pack(operation(target, *arguments), self._keep)}

    def _call(self, request: dict[str, Any], on: Any, arguments: list[Any]) -> dict[str, Any]:
        target = self._entry(on) if isinstance(on, str) else self.objects[on]
        keywords = {name: unpack(value, self._object) for name, value in request.get("kwargs", {}).items()}
        given = [*arguments, *keywords.values()]
        before = [pack(argument, self._keep) for argument in given] if request.get("echo") else []
        result = target(*arguments, **keywords)
        reply = {"value": self._made(result) if request["do"] == "make" else pack(result, self._keep)}
        if before:
            after = [pack(argument, self._keep) for argument in given]
            if after != before:
                reply["args"] = after
            reply["same"] = next((place for place, argument in enumerate(given) if argument is result), None)
        return reply

    def _made(self, value: Any) -> Any:
        """What the test made by calling a class: a list or dict of the program's own kind is an object, for its
        methods; the same returned as a value goes as plain data."""
        kind = type(value)
        if issubclass(kind, (list, dict, set, deque)) and kind.__module__ == self.module.__name__:
            return {"o": self._keep(value), "type": kind.__name__[:100]}
        return pack(value, self._keep)

    def _operation(self, name: str, target: Any, arguments: list[Any], swap: bool) -> dict[str, Any]:
        operation = OPERATIONS.get(name) or getattr(operator, f"{name}_" if name in ("and", "or") else name)
        if name in ("exit", "aexit"):
            arguments = [self._error(*arguments)]
        operands = (*arguments, target) if swap else (target, *arguments)
        value = operation(*operands)
        reply = {"value": pack(value, self._keep)}
        if name in ("eq", "ne") and bool(value) is (name == "eq") and self._equals_strangers(target, arguments[0]):
            reply["stranger"] = True
        return reply

    def _equals_strangers(self, target: Any, other: Any) -> bool:
        """Whether an object calls itself equal to what it cannot be equal to: a stranger, or an empty object of its
        own class although it is not empty itself."""
        strangers: list[Any] = [_Stranger()]
        try:
            if getattr(target, "__dict__", None) and not isinstance(target, type | ModuleType) and other is not target:
                strangers.append(object.__new__(type(target)))
        except TypeError:
            pass
        for stranger in strangers:
            try:
                if target == stranger:
                    return True
            except Exception:
                continue
        return False

    def _error(self, names: list[str], text: str) -> BaseException | None:
        """The exception that left a `with` block, of the class it has here."""
        for name in names:
            kind = self.module.__dict__.get(name, getattr(builtins, name, None))
            if isinstance(kind, type) and issubclass(kind, BaseException):
                try:
                    return kind(text)
                except Exception:
                    return kind.__new__(kind)
        return None

    def _entry(self, path: str) -> Any:
        """`add`, or `Solution.add` on a new Solution; where there is no such class, the function of that name."""
        first, *rest = path.split(".")
        if rest and first not in self.module.__dict__:
            first, rest = rest[-1], []
        if first not in self.module.__dict__:
            raise NameError(f"the program defines no {first!r}")
        target = self.module.__dict__[first]
        for name in rest:
            target = getattr(target() if isinstance(target, type) else target, name)
        return target

    def _found(self, name: str) -> dict[str, Any]:
        value = self.module.__dict__[name]
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"exception": [kind.__name__ for kind in value.__mro__]}
        return {"value": pack(value, self._keep)}


def _view(target: Any) -> Any:
    """All that iteration gives: a dict of an object with keys, a list of others; None where there may be no end."""
    kind = type(target)
    if hasattr(kind, "__next__") or not hasattr(kind, "__iter__"):
        return [target[place] for place in range(len(target))] if hasattr(kind, "__len__") else None
    if hasattr(target, "keys") and hasattr(target, "__getitem__"):
        return {key: target[key] for key in target}
    return list(target)


def _exit(target: Any, error: BaseException | None) -> Any:
    return bool(target.__exit__(type(error) if error else None, error, None))


def _copied(target: Any, how: str) -> Any:
    import copy

    return getattr(copy, how)(target)


def _rounded(name: str) -> Callable[[Any], Any]:
    import math

    return getattr(math, name)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "truth": bool, "str": str, "repr": repr, "hash": hash, "int": int, "float": float, "complex": complex,
    "round": round, "format": format, "divmod": divmod, "delattr": delattr, "reversed": reversed, "view": _view,
    "trunc": lambda target: _rounded("trunc")(target), "floor": lambda target: _rounded("floor")(target),
    "ceil": lambda target: _rounded("ceil")(target),
    "class": type, "is_iterator": lambda target: hasattr(type(target), "__next__"),
    "isinstance": lambda target, value: isinstance(value, target),
    "issubclass": lambda target, value: issubclass(value, target),
    "enter": lambda target: target.__enter__(), "exit": _exit,
    "aiter": lambda target: target.__aiter__(), "anext": lambda target: target.__anext__(),
    "aenter": lambda target: target.__aenter__(),
    "aexit": lambda target, error: target.__aexit__(type(error) if error else None, error, None),
    "is_coroutine_function": is_coroutine_function,
    "copy": lambda target: _copied(target, "copy"), "deepcopy": lambda target: _copied(target, "deepcopy"),
}
"""What is asked of objects and is not a function of the module `operator`."""
