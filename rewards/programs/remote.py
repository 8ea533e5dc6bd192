"""Objects of the candidate's as test code sees them: stand-ins, whose operations are carried into the candidate's jail.

Plain values come back as themselves. An object of a class of the candidate's own is a `Remote`, and the candidate's
methods answer for it: `a + b`, `m[1] = 2`, `x in s`, `with`, `sorted`, `repr`, `==` between two such objects. What a
candidate could use to forge a verdict is refused:

- `==`, `<`, `in` and arithmetic between such an object and the test's own data, unless the test made the object itself
  by calling a class (`test_code.classes`): an object that calls itself equal to 5 is no 5;
- whatever plain data comes of such arithmetic, however late: `round(abs(f(x) - 5)) == 0`, `(f(x) - day).days == 0`;
- the truth of such an object in `assert`, and questions that the tests ask of plain values (`isdigit`, `issubset`);
- a `==` that holds for a stranger, a `!=` that is not its opposite, iteration and items that disagree;
- an `__exit__` that swallows the test's AssertionError.

A refusal is no exception of the test's: `assertRaises` does not see it, and no `except` undoes it (`Link.refused`).
"""

from __future__ import annotations

from typing import Any, NoReturn

from rlvr.rewards.programs.coroutines import steps

_DUNDERS = frozenset(("__name__", "__qualname__", "__doc__", "__dict__", "__module__", "__wrapped__", "__annotations__",
                      "__defaults__", "__members__", "__slots__", "__mro__", "__bases__", "__cause__",
                      "__match_args__"))
"""What is asked of the candidate; other names in double underscores are Python's business."""
_QUESTIONS = frozenset((
    *(name for kind in (str, set, float) for name in dir(kind) if name.startswith("is")), "startswith", "endswith",
    "equals", "union", "intersection", "difference", "symmetric_difference"))
"""What the tests ask of text, sets and numbers, with what they expect: an object answers as it likes."""
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice)
"""Types whose values always come back as themselves, so that no object is of one of them."""


class Remote:
    """An object in the candidate's jail."""

    def __init__(self, link: Any, number: int, name: str) -> None:
        vars(self).update(_rlvr_link=link, _rlvr_number=number, _rlvr_name=name, _rlvr_maker=False, _rlvr_made=False,
                          _rlvr_own=False, _rlvr_leaky=False, _rlvr_seen=None, _rlvr_owner=None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _DUNDERS:
            raise AttributeError(name)
        if name in _QUESTIONS and not self._rlvr_made:
            self._rlvr_refuse_plain()
        value = self._rlvr_ask("get", name)
        if isinstance(value, Remote):
            vars(value)["_rlvr_owner"] = self
            vars(value)["_rlvr_maker"] = vars(value)["_rlvr_maker"] or name in self._rlvr_link.classes
        return value

    def _rlvr_ask(self, do: str, *arguments: Any, mirror: bool = False, **keywords: Any) -> Any:
        return self._rlvr_trusted(self._rlvr_link.ask(do, self._rlvr_number, *arguments, mirror=mirror, **keywords))

    def _rlvr_operate(self, name: str, *arguments: Any) -> Any:
        return self._rlvr_trusted(self._rlvr_link.operate(name, self._rlvr_number, *arguments))

    def _rlvr_trusted(self, value: Any) -> Any:
        """What it answered. Objects that come of one that has seen the test's data are no better than that one."""
        if self._rlvr_leaky:
            if not isinstance(value, Remote):
                self._rlvr_refuse_plain()
            vars(value)["_rlvr_leaky"] = True
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self._rlvr_changed()
        self._rlvr_link.ask("set", self._rlvr_number, name, value)

    def __delattr__(self, name: str) -> None:
        self._rlvr_changed()
        self._rlvr_link.operate("delattr", self._rlvr_number, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._rlvr_called(arguments, keywords, mirror=False)

    def _rlvr_called(self, arguments: tuple[Any, ...], keywords: dict[str, Any], mirror: bool) -> Any:
        self._rlvr_changed()
        value = self._rlvr_ask("make" if self._rlvr_maker else "call", *arguments, mirror=mirror, **keywords)
        if isinstance(value, Remote):  # a method that hands its own object back says so in place of a value
            vars(value)["_rlvr_made"] = self._rlvr_maker
            vars(value)["_rlvr_own"] = value._rlvr_own or self._rlvr_maker
        return value

    def _rlvr_changed(self) -> None:
        """Forget what it was seen to hold, and the object whose method it is with it."""
        owner: Any = self
        while owner is not None:
            vars(owner)["_rlvr_seen"] = None
            owner = owner._rlvr_owner

    def _rlvr_view(self) -> Any:
        """What an object that the test did not make holds, as a list or dict, looked at once; None for an iterator."""
        if self._rlvr_seen is None:
            vars(self)["_rlvr_seen"] = (self._rlvr_operate("view"),)
        return self._rlvr_seen[0]

    def __getitem__(self, key: Any) -> Any:
        value = self._rlvr_ask("item", key)
        if not self._rlvr_made:
            view = self._rlvr_view()
            if isinstance(view, (list, dict)) and isinstance(key, (int, str, slice)) and _differs(view, key, value):
                self._rlvr_link.refuse(f"the items and the iteration of {self!r} disagree")
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._rlvr_changed()
        self._rlvr_link.operate("setitem", self._rlvr_number, key, value)

    def __delitem__(self, key: Any) -> None:
        self._rlvr_changed()
        self._rlvr_link.operate("delitem", self._rlvr_number, key)

    def __len__(self) -> int:
        size = self._rlvr_ask("len")
        if not isinstance(size, int):
            self._rlvr_link.refuse("a length that is no number")
        view = None if self._rlvr_made else self._rlvr_view()
        if isinstance(view, (list, dict)) and len(view) != size:
            self._rlvr_link.refuse(f"the length and the iteration of {self!r} disagree")
        return size

    def __iter__(self) -> Any:
        view = None if self._rlvr_made else self._rlvr_view()
        if view is not None:
            return iter(view)
        found = self._rlvr_ask("iter")
        if isinstance(found, (Remote, type(iter([])))):
            return found
        return iter(found)

    def __next__(self) -> Any:
        return self._rlvr_ask("next")

    def __reversed__(self) -> Any:
        view = None if self._rlvr_made else self._rlvr_view()
        return reversed(view) if view is not None else iter(self._rlvr_operate("reversed"))

    def __contains__(self, item: Any) -> bool:
        if self._rlvr_made or isinstance(item, Remote):
            return self._rlvr_plain(self._rlvr_operate("contains", item))
        view = self._rlvr_view()
        if view is None and not self._rlvr_plain(self._rlvr_operate("is_iterator")):
            self._rlvr_refuse_plain()
        return any(found is item or found == item for found in (self if view is None else view))

    def __bool__(self) -> bool:
        return self._rlvr_plain(self._rlvr_operate("truth"))

    def __hash__(self) -> int:
        return self._rlvr_operate("hash")

    def __repr__(self) -> str:
        return self._rlvr_text("repr")

    def __str__(self) -> str:
        return self._rlvr_text("str")

    def __format__(self, spec: str) -> str:
        return self._rlvr_text("format", spec)

    def _rlvr_text(self, how: str, *arguments: str) -> str:
        text = self._rlvr_operate(how, *arguments)
        return text if isinstance(text, str) else self._rlvr_link.refuse(f"a {how} that is no text")

    def __instancecheck__(self, value: Any) -> bool:
        return self._rlvr_plain(self._rlvr_operate("isinstance", value))

    def __subclasscheck__(self, value: Any) -> bool:
        return self._rlvr_plain(self._rlvr_operate("issubclass", value))

    def __enter__(self) -> Any:
        return self._rlvr_operate("enter")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        names = [] if kind is None else [base.__name__ for base in kind.__mro__]
        swallowed = self._rlvr_operate("exit", names, str(error)[:300])
        return bool(swallowed) and not _tests_own(kind)

    def __aiter__(self) -> Any:
        return self._rlvr_operate("aiter")

    def __anext__(self) -> Any:
        following = self._rlvr_operate("anext")
        return _Following(following) if isinstance(following, Awaitable) else following

    def __aenter__(self) -> Any:
        return self._rlvr_operate("aenter")

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool:
        names = [] if kind is None else [base.__name__ for base in kind.__mro__]
        swallowed = await self._rlvr_operate("aexit", names, str(error)[:300])
        return bool(swallowed) and not _tests_own(kind)

    def __copy__(self) -> Any:
        return self._rlvr_operate("copy")

    def __deepcopy__(self, memo: Any) -> Any:
        return self._rlvr_operate("deepcopy")

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._rlvr_link.refuse(f"{self!r} cannot be pickled")

    def _rlvr_plain(self, answer: Any) -> bool:
        if not isinstance(answer, bool):
            self._rlvr_link.refuse("an answer that is neither True nor False")
        return answer

    def _rlvr_refuse_plain(self) -> NoReturn:
        self._rlvr_link.refuse(f"an object of the program's class {self._rlvr_name} cannot be compared with plain data")

    def _rlvr_compare(self, name: str, other: Any) -> Any:
        if other is None and name in ("eq", "ne"):
            return name == "ne"
        if not isinstance(other, Remote) and not self._rlvr_made:
            self._rlvr_refuse_plain()
        # a program is not to know which of the two the test hopes for
        asked = ("eq", "ne") if name in ("eq", "ne") else (name,)
        answers = {asks: self._rlvr_link.operate(asks, self._rlvr_number, other) for asks in asked}
        if all(isinstance(answer, bool) for answer in answers.values()) and len(set(answers.values())) < len(asked):
            self._rlvr_link.refuse(f"both == and != of {self!r} say {answers[name]}")
        return answers[name]

    def _rlvr_combine(self, name: str, other: Any, swap: bool = False) -> Any:
        """Arithmetic. With the test's own data the result may hold what the test expects, so it must stay an object."""
        made = self._rlvr_made
        leaky = self._rlvr_leaky or (other._rlvr_leaky if isinstance(other, Remote) else not made)
        value = self._rlvr_link.operate(name, self._rlvr_number, other, swap=swap)
        if isinstance(value, Remote):
            vars(value).update(_rlvr_made=made and not leaky, _rlvr_leaky=leaky)
        elif leaky:
            self._rlvr_refuse_plain()
        return value


class Awaitable(Remote):
    """An object that can be awaited."""

    def __await__(self) -> Any:
        return self._rlvr_awaited()

    def _rlvr_awaited(self, ending: bool = False) -> Any:
        return self._rlvr_trusted((yield from steps(self._rlvr_link, self._rlvr_number, ending)))


class Coroutine(Awaitable):
    """A coroutine, for asyncio too: that goes by these methods."""

    def send(self, value: Any) -> Any:
        return self._rlvr_running().send(value)

    def __next__(self) -> Any:  # what a task of asyncio written in C calls
        return self.send(None)

    def throw(self, *error: Any) -> Any:
        return self._rlvr_running().throw(*error)

    def close(self) -> None:
        self._rlvr_running().close()

    def _rlvr_running(self) -> Any:
        return vars(self).setdefault("_rlvr_steps", self._rlvr_awaited())


class _Following:
    """The next item of an asynchronous iteration."""

    def __init__(self, remote: Awaitable) -> None:
        self.remote = remote

    def __await__(self) -> Any:
        return self.remote._rlvr_awaited(ending=True)


def _tests_own(kind: Any) -> bool:
    """Whether an exception of this class that leaves a `with` block is the test's verdict, which no program undoes."""
    return kind is None or issubclass(kind, AssertionError) or not issubclass(kind, Exception)


def _binary(name: str, swap: bool = False) -> Any:
    return lambda self, other: self._rlvr_combine(name, other, swap)


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_name}__", lambda self, other, _name=_name: self._rlvr_compare(_name, other))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul", "lshift", "rshift", "and",
              "or", "xor"):
    setattr(Remote, f"__{_name}__", _binary(_name))
    setattr(Remote, f"__r{_name}__", _binary(_name, swap=True))
for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ior", "iand", "ixor"):
    setattr(Remote, f"__{_name}__", _binary(_name))
for _name in ("neg", "pos", "abs", "invert", "int", "float", "complex", "index", "round", "trunc", "floor", "ceil"):
    setattr(Remote, f"__{_name}__", lambda self, *rest, _name=_name: self._rlvr_operate(_name, *rest))


def _differs(view: Any, key: Any, value: Any) -> bool:
    """Whether an item is another than the one that iteration gave."""
    try:
        seen = view[key]
    except (LookupError, TypeError):
        return False
    if isinstance(seen, Remote) or isinstance(value, Remote):
        return seen is not value
    return type(seen) is not type(value) or not (seen == value or seen != seen)


def type_of(value: Any) -> Any:
    """`type(value)`, of an object of the candidate's its class there."""
    if not isinstance(value, Remote):
        return type(value)
    kind = value._rlvr_link.operate("class", value._rlvr_number)
    return value._rlvr_refuse_plain() if isinstance(kind, type) and kind in _PLAIN else kind


def mirrored(function: Any) -> Any:
    """A call of the candidate's that may change the test's own arguments; whatever is none stays as it is."""
    if isinstance(function, Remote):
        return lambda *arguments, **keywords: function._rlvr_called(arguments, keywords, mirror=True)
    return function


def asserted(value: Any) -> Any:
    """What is asserted, refused where it is an object of the candidate's that may call itself true or false."""
    if isinstance(value, Remote) and not (value._rlvr_own or value._rlvr_made):
        value._rlvr_refuse_plain()
    return value
