"""What other threads ask of a training, done by its own thread between two steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from eseg_zoo.live.learner import Learner

Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """A piece of work, and where its result goes."""

    work: Callable[[Learner], Any]
    answer: Future[Any]
    is_map: bool  # it waits until a map is worth a look


class Requests:
    """Pieces of work in the order in which they were asked for, until the training ends."""

    def __init__(self) -> None:
        self._waiting: list[Request] = []
        self._changed = threading.Condition()
        self._woken = False
        self._end: Exception | None = None

    def ask(self, work: Callable[[Learner], Result], *, is_map: bool = False) -> Future[Result]:
        """Return what will hold the result; that of a training that has ended raises what ended it."""
        answer: Future[Result] = Future()
        with self._changed:
            if self._end:
                answer.set_exception(self._end)
            else:
                self._waiting.append(Request(work, answer, is_map))
                self.wake()
        return answer

    def wake(self) -> None:
        """End the `wait` at hand, or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until something is asked for."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken)
            self._woken = False

    def serve(self, learner: Learner) -> bool:
        """Do what is asked for; returns whether there was anything that could be done."""
        done = False
        while request := self._next(maps=learner.is_worth_a_look):
            done = True
            if request.answer.set_running_or_notify_cancel():
                _answer(request, learner)
        return done

    def _next(self, *, maps: bool) -> Request | None:
        with self._changed:
            for number, request in enumerate(self._waiting):
                if maps or not request.is_map:
                    return self._waiting.pop(number)
        return None

    def end(self, error: Exception) -> None:
        """Let all that is and will be asked for raise this."""
        with self._changed:
            self._end, left, self._waiting = error, self._waiting, []
        for request in left:
            if request.answer.set_running_or_notify_cancel():
                request.answer.set_exception(error)


def _answer(request: Request, learner: Learner) -> None:
    try:
        result = request.work(learner)
    except Exception as error:  # noqa: BLE001  whoever asked for it gets it
        request.answer.set_exception(error)
    else:
        request.answer.set_result(result)
