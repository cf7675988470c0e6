"""The connection with one agent: requests and their answers, processes' output, and the comparison of clocks."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from perfcheck import errors
from perfcheck.agent import frames
from perfcheck.agent import requests as ask
from perfcheck.agent.codec import decode, encode
from perfcheck.agent.frames import Frame
from perfcheck.errors import CouldNotMeasure, LabError, Unavailable
from perfcheck.model.printable import printable
from perfcheck.model.scenario import HostSpec
from perfcheck.remote.clock import Exchange, Offset, offset_of
from perfcheck.remote.transport import Transport
from perfcheck.system.clock import now_ns

COMPARISONS: Final = 12
"""Questions for the time before a trial and after it: the tightest of them counts."""
KEPT: Final = 64
ANSWER_S: Final = 120.0
"""How long an answer is waited for while the agent is known to live; what takes longer by nature says so."""

T = TypeVar("T")


class Sink(Protocol):
    """Takes a process's output and its end; called from the channel's thread."""

    def output(self, stream: int, content: bytes) -> None:
        """Take what the process wrote to stream 1 or 2."""

    def ended(self, status: int, ended_ns: int, cpu_s: float) -> None:
        """Take its status, when it ended by the agent's clock, and its CPU seconds."""


class _Pending:
    """A request that is not answered yet."""

    def __init__(self) -> None:
        self.answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self.received_ns = 0


class Channel:
    """One agent, from its greeting to its end; requests may come from any thread.

    A connection that ends, or is silent for long, fails every request with LabError and ends every process.
    """

    def __init__(
        self, name: str, spec: HostSpec, told: Callable[[str], None] = lambda _: None,
        connecting: Callable[[Transport], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Connect; Unavailable says why that is not possible. `told` is given what an answer waits for.

        `connecting` is given the client before it has connected, so that it can be killed meanwhile.
        """
        self._told = told
        self.transport = Transport(name, spec)
        connecting(self.transport)
        try:
            self.greeting = decode(ask.Greeting, self.transport.begin())
        except BaseException:
            self.transport.kill()
            self.transport.close()
            raise
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._sinks: dict[int, Sink] = {}
        self._writing = threading.Lock()
        self._lost: LabError | None = None
        self._closing = False
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)
        self._reader = threading.Thread(target=self._read, name=f"agent of {name}", daemon=True)
        self._reader.start()
        self._stop_beating = threading.Event()
        self._beater = threading.Thread(target=self._beat, name=f"clock of {name}", daemon=True)
        self._beater.start()

    @property
    def where(self) -> str:
        """How messages speak of the host."""
        return self.transport.where

    def ask(self, request: object, payload: bytes = b"", *, timeout_s: float | None = ANSWER_S) -> Any:
        """Return the answer to a request; what went wrong there is raised here, with the host's name before it."""
        kind = ask.ANSWERS[type(request)]
        answer, _ = self._exchange(request, payload, timeout_s)
        return decode(kind, answer)

    def ask_for_payload(self, request: object) -> bytes:
        """Return the bytes that come with the answer to a request."""
        return self._exchange(request, b"", ANSWER_S)[1]

    def watch(self, number: int, sink: Sink) -> None:
        """Have a process's output and end told to `sink`, from before it is started on."""
        self._sinks[number] = sink
        if self._lost is not None:
            self._end_sinks()

    def new_number(self) -> int:
        """Return a number that no other process has."""
        return next(self._numbers)

    def compare_clocks(self) -> Offset:
        """Ask for the time several times, and return how far that clock is from this one."""
        exchanges = [self._ask_time() for _ in range(COMPARISONS)]
        self._exchanges.extend(exchanges)
        return offset_of(exchanges)

    @property
    def clock(self) -> Offset:
        """How far that clock is from this one, by the last exchanges."""
        if not self._exchanges:
            return self.compare_clocks()
        return offset_of(list(self._exchanges)[-COMPARISONS:])

    def leave(self) -> tuple[str, ...]:
        """Have the agent undo everything, and end the connection; return what it could not undo. Safe to call twice."""
        failed: tuple[str, ...] = ()
        if self._lost is None and not self._closing:
            with suppress(LabError):
                failed = self.ask(ask.Leave()).failed
        self.close()
        return failed

    def close(self) -> None:
        """End the connection: the agent undoes what it has made; safe to call twice."""
        self._closing = True
        self._stop_beating.set()
        self._beater.join()
        self.transport.close()
        self._reader.join()

    # asking

    def _exchange(self, request: object, payload: bytes, timeout_s: float | None) -> tuple[Any, bytes]:
        pending = _Pending()
        number = self._send(pending, request, payload)
        try:
            frame = pending.answers.get(timeout=timeout_s)
        except queue.Empty:
            raise LabError(f"{self.where}: no answer to {type(request).__name__} within {timeout_s:g} s") from None
        finally:
            self._pending.pop(number, None)
        if frame is None:
            raise self._lost or self.transport.lost()
        if (error := frame.header.get("error")) is not None:
            raise self._error(error)
        return frame.header.get("answer"), frame.payload

    def _send(self, pending: _Pending, request: object, payload: bytes) -> int:
        with self._writing:
            if self._lost is not None:
                raise self._lost
            number = next(self._numbers)
            self._pending[number] = pending
            header = {"id": number, "kind": type(request).__name__, "request": encode(request)}
            try:
                frames.write_frame(self.transport.writing, Frame(header=header, payload=payload))
            except (OSError, ValueError):
                self._pending.pop(number, None)
                raise self._lost or self.transport.lost() from None
            return number

    def _error(self, error: Mapping[str, Any]) -> CouldNotMeasure:
        """Return the error that was raised there as one of here."""
        kind, text = str(error.get("kind")), printable(str(error.get("text", "")))
        if kind == "Unavailable":
            what, why, fix = (printable(str(error.get(key, ""))) for key in ("what", "why", "fix"))
            return Unavailable(f"{self.where}: {what}", why, fix)
        found = getattr(errors, kind, LabError)
        if isinstance(found, type) and issubclass(found, CouldNotMeasure) and found is not Unavailable:
            return found(f"{self.where}: {text}")
        return LabError(f"{self.where}: {text}")

    def _ask_time(self) -> Exchange:
        pending = _Pending()
        sent_ns = now_ns()
        number = self._send(pending, ask.Clock(count=0), b"")
        try:
            frame = self._patiently(pending)
        except queue.Empty:
            self.transport.kill()
            raise LabError(f"{self.where} has been silent for {ask.SILENCE_S:g} s") from None
        finally:
            self._pending.pop(number, None)
        if frame is None:
            raise self._lost or self.transport.lost()
        look = decode(ask.ClockLook, frame.header.get("answer"))
        return Exchange(
            sent_ns=sent_ns, there_ns=look.received_ns, back_ns=look.sent_ns, received_ns=pending.received_ns
        )  # fmt: skip

    def _patiently(self, pending: _Pending) -> Frame | None:
        """Return an answer; when this machine slept meanwhile, the other one is given the time for it once more."""
        with suppress(queue.Empty):
            return pending.answers.get(timeout=ask.SILENCE_S)
        return pending.answers.get(timeout=2 * ask.BEAT_S)

    def _beat(self) -> None:
        """Say a word now and then: without any, the agent takes the connection for lost."""
        while not self._stop_beating.wait(ask.BEAT_S):
            with suppress(LabError):
                self._exchanges.append(self._ask_time())

    # hearing

    def _read(self) -> None:
        try:
            while (frame := frames.read_frame(self.transport.reading)) is not None:
                self._take(frame)
        except (LabError, OSError, ValueError):
            self.transport.kill()
        closed = LabError(f"the connection to {self.where} was closed")
        lost = closed if self._closing else self.transport.lost()
        with self._writing:
            # Who asks has either been noted, and is told, or is refused.
            self._lost = lost
            waiting = list(self._pending.values())
        for pending in waiting:
            pending.answers.put(None)
        self._end_sinks()

    def _take(self, frame: Frame) -> None:
        header = frame.header
        event = header.get("event")
        if event is None:
            pending = self._pending.get(int(header.get("id", 0)))
            if pending is not None:
                pending.received_ns = now_ns()
                pending.answers.put(frame)
        elif event == ask.NOTE:
            self._told(f"{self.where}: {printable(str(header.get('text')))}")
        elif (sink := self._sinks.get(int(header.get("number", 0)))) is not None:
            if event == ask.OUTPUT:
                sink.output(int(header.get("stream", 1)), frame.payload)
            elif event == ask.EXIT:
                self._sinks.pop(int(header["number"]), None)
                sink.ended(int(header.get("status", 0)), int(header.get("ended_ns", 0)), float(header.get("cpu_s", 0)))

    def _end_sinks(self) -> None:
        """Tell processes' readers that nothing more comes: as if they had been killed."""
        while self._sinks:
            _, sink = self._sinks.popitem()
            sink.ended(-9, 0, 0.0)
