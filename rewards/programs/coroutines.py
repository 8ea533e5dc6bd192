"""What a candidate's coroutines do while test code awaits them: both ends of an `await` through the wall of a jail.

The program's coroutines run in an event loop in its own jail, a few milliseconds at a time, whenever the test code's
loop asks for one of them; so several run side by side, time-outs come in time, and cancelling reaches the program.
Runs inside the jail: standard library only, and asyncio (60 ms to import) where something is awaited.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SLICE = 0.005
"""Seconds for which the program's loop runs at a time, all that is awaited together."""


class Awaited:
    """The program's side: its event loop, and a task for each of its objects that is being awaited."""

    def __init__(self) -> None:
        self.loop: Any = None
        self.tasks: dict[int, Any] = {}

    def step(self, target: Any, cancel: bool) -> dict[str, Any]:
        """Run the loop for a moment: {"value": ...} once `target` has one, {"pending"}, {"stop"} at the end of an
        asynchronous iteration, {"cancelled"}. Raises what it raises."""
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
        task = self.tasks.get(id(target))
        if task is None:
            task = self.tasks[id(target)] = self.loop.create_task(_result_of(target))
        if cancel:
            task.cancel()
        self.loop.run_until_complete(asyncio.wait({task}, timeout=SLICE / len(self.tasks)))
        if not task.done():
            return {"pending": True}
        del self.tasks[id(target)]
        if task.cancelled():
            return {"cancelled": True}
        try:
            return {"value": task.result()}
        except StopAsyncIteration:
            return {"stop": True}


async def _result_of(target: Any) -> Any:
    return await target


def is_coroutine_function(target: Any) -> bool:
    import inspect

    return inspect.iscoroutinefunction(target)


def steps(link: Any, number: int, ending: bool = False) -> Iterator[None]:
    """The test code's side of awaiting object `number`: one request for each step, and its value at the end.

    `ending`: it is the next item of an asynchronous iteration, which may be over.
    """
    cancelled: BaseException | None = None
    while True:
        reply = link.exchange({"do": "cancel" if cancelled else "await", "on": number})
        if reply.get("cancelled"):
            import asyncio

            raise cancelled or asyncio.CancelledError
        if ending and reply.get("stop"):
            raise StopAsyncIteration
        if not reply.get("pending"):
            return link.read(reply, "value")
        try:
            yield
        except GeneratorExit:
            link.exchange({"do": "cancel", "on": number})
            raise
        except BaseException as error:  # asyncio.CancelledError: the program may have something to tidy up
            cancelled = error
