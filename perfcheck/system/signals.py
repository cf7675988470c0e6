"""Signals: a request to stop becomes an exception, so that `finally` runs; an undo is never interrupted."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from perfcheck.errors import Stopped

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_AGAIN_S: Final = 0.01

_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into Stopped and SIGINT into KeyboardInterrupt, once; later ones are passed over.

    Only the first is raised: a second Ctrl-C must not break the unwinding that the first began.
    Signals reach the main thread alone, so elsewhere this does nothing. An ignored signal (nohup)
    stays ignored. Python drops an exception that a signal raises in a destructor or in a callback of
    the garbage collector; such a signal is sent again.
    """
    raised: list[tuple[int, BaseException]] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if raised:
            return
        is_interrupt = number == signal.SIGINT
        error = KeyboardInterrupt() if is_interrupt else Stopped(f"stopped by {signal.Signals(number).name}")
        raised.append((number, error))
        raise error

    def drop(unraisable: sys.UnraisableHookArgs) -> None:
        if raised and unraisable.exc_value is raised[0][1]:
            ((number, _),) = raised
            raised.clear()
            # Not from here: it would be dropped once more. What `threading` locks may be what was interrupted.
            _thread.start_new_thread(_send_again, (number,))
        else:
            former(unraisable)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled(_ENDING, stop):
        former, sys.unraisablehook = sys.unraisablehook, drop
        try:
            yield
        finally:
            sys.unraisablehook = former


def _send_again(number: int) -> None:
    time.sleep(_AGAIN_S)
    os.kill(os.getpid(), number)


@contextmanager
def interrupt_calls(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT call `stop`, from a thread of its own, and later ones raise KeyboardInterrupt.

    A thread, since what `stop` does may need a lock that the interrupted code holds.
    """
    called = False

    def call(_number: int, _frame: FrameType | None) -> None:
        nonlocal called
        if called:
            raise KeyboardInterrupt
        called = True
        threading.Thread(target=stop, name="stop", daemon=True).start()

    with _handled((signal.SIGINT,), call):
        yield


@contextmanager
def signals_call(tell: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Let each SIGINT, SIGTERM and SIGHUP call `tell`, which must not block; one that is ignored stays ignored."""

    def call(number: int, _frame: FrameType | None) -> None:
        tell(signal.Signals(number))

    with _handled(_ENDING, call):
        yield


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP until the block is left, then deliver the first that came."""
    pending: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        pending.append(number)

    try:
        with _handled(_ENDING, hold):
            yield
    finally:
        if pending:
            signal.raise_signal(signal.Signals(pending[0]))


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former: dict[signal.Signals, _Handler] = {}
    try:
        for number in numbers:
            old = signal.getsignal(number)
            # A handler that Python did not install (None) could not be put back.
            if old is not None and old != signal.SIG_IGN:
                former[number] = old
                signal.signal(number, handler)
        yield
    finally:
        for number, old in former.items():
            signal.signal(number, old)
