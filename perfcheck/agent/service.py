"""Does what an agent is asked: one method a request, found by the request's type."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfcheck.agent import facts, probing
from perfcheck.agent import requests as ask
from perfcheck.agent.measuring import Measuring
from perfcheck.agent.own_connection import Endpoints
from perfcheck.agent.own_programs import OwnPrograms
from perfcheck.agent.processes import Processes, TellExit, TellOutput
from perfcheck.agent.setting_up import SettingUp
from perfcheck.errors import LabError
from perfcheck.system import commands, sysctl
from perfcheck.system.lock import measuring_lock

if TYPE_CHECKING:
    from perfcheck.system.journal import Journal

_FLUSHED: Final = ("net.ipv4.route.flush", "net.ipv6.route.flush")

Handler = Callable[[Any, bytes], Any]
"""Does what a request asks; is given its payload, and returns the answer, or the answer's payload as bytes."""


class Service:
    """What one agent does for one connection; all that it makes is undone by `leave`."""

    def __init__(
        self, folder: Path, journal: Journal, unmeasured: Endpoints | None, tell_output: TellOutput,
        tell_exit: TellExit, tell_note: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Make nothing yet."""
        self._journal = journal
        self._tell_note = tell_note
        self._processes = Processes(journal, tell_output, tell_exit)
        self._programs = OwnPrograms(folder, self._processes.run)
        self._setting_up = SettingUp(self._processes.run, facts.has_carrier)
        self._measuring = Measuring(unmeasured)
        self._lock = ExitStack()
        self._files: set[int] = set()
        self._answerer: probing.Answerer | None = None
        self._handlers: Mapping[type[Any], Handler] = {
            ask.Describe: lambda one, _: facts.describe(one.interface, one.address),
            ask.Lock: self._take_lock,
            ask.Unlock: self._free_lock,
            ask.Require: lambda one, _: _required(one.program),
            ask.Run: lambda one, _: self._processes.run(one),
            ask.Start: lambda one, _: self._processes.start(one),
            ask.Signal: lambda one, _: self._signal(one),
            ask.Listening: lambda one, _: facts.listening(one.port, one.protocol),
            ask.MakeFile: lambda one, payload: self._make_file(one.label, payload),
            ask.ReadFile: lambda one, _: self._read_file(one.number),
            ask.CloseFile: lambda one, _: self._close_file(one.number),
            ask.PlaceProgram: self._programs.place,
            ask.Apply: lambda one, _: self._apply(one),
            ask.Restore: lambda *_: self._setting_up.restore(),
            ask.Counters: lambda one, _: facts.counters(one.interface),
            ask.ForgetRoutes: lambda *_: _forget_routes(),
            ask.Answer: lambda one, _: self._answer(one.address),
            ask.StopAnswering: lambda *_: self._stop_answering(),
            ask.Probe: lambda one, _: probing.probe(one),
            ask.Push: lambda one, _: probing.push(one),
            ask.WantedImages: lambda one, _: self._measuring.wanted(one),
            ask.Images: lambda one, payload: self._measuring.keep(one, all_of_them=payload == b"all"),
            ask.KernelTypes: lambda *_: facts.VMLINUX.read_bytes(),
            ask.Attach: lambda one, _: self._measuring.attach(one),
            ask.Begin: lambda one, _: self._measuring.begin(one),
            ask.End: lambda *_: self._measuring.end(),
            ask.Abandon: lambda *_: self._measuring.abandon(),
            ask.Detach: lambda *_: self._measuring.detach(),
            ask.Leave: lambda *_: self.leave(),
        }

    def answer(self, request: object, payload: bytes) -> object:
        """Do what a request asks and return the answer; None where there is nothing to say."""
        handler = self._handlers.get(type(request))
        if handler is None:
            raise LabError(f"an agent does not know {type(request).__name__}")
        return handler(request, payload)

    def leave(self) -> ask.Restored:
        """Undo everything that was made here; safe to call twice."""
        failed: list[str] = []
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            stack.callback(lambda: failed.extend(_failures(self._journal)))
            stack.callback(self._processes.close)
            stack.callback(lambda: failed.extend(self._setting_up.restore().failed))
            stack.callback(self._close_files)
            stack.callback(self._programs.close)
            stack.callback(self._stop_answering)
            stack.callback(self._measuring.detach)
        return ask.Restored(failed=tuple(failed))

    def _take_lock(self, request: object, payload: bytes) -> None:
        del request, payload
        self._lock.enter_context(measuring_lock(self._tell_note))

    def _free_lock(self, request: object, payload: bytes) -> None:
        del request, payload
        self._lock.close()
        self._lock = ExitStack()

    def _signal(self, request: ask.Signal) -> None:
        self._processes.signal(request.number, request.signal)

    def _apply(self, request: ask.Apply) -> None:
        self._setting_up.apply(request)

    def _make_file(self, label: str, content: bytes) -> ask.MadeFile:
        number = os.memfd_create(label)
        self._files.add(number)
        with open(number, "wb", closefd=False) as file:
            file.write(content)
        return ask.MadeFile(folder=f"/proc/{os.getpid()}/fd", number=number)

    def _read_file(self, number: int) -> bytes:
        if number not in self._files:
            raise LabError(f"there is no file {number}")
        return Path(f"/proc/self/fd/{number}").read_bytes()

    def _close_file(self, number: int) -> None:
        if number in self._files:
            self._files.remove(number)
            os.close(number)

    def _close_files(self) -> None:
        for number in tuple(self._files):
            self._close_file(number)

    def _answer(self, address: str) -> ask.Answering:
        self._stop_answering()
        self._answerer = probing.Answerer(address)
        return self._answerer.ports

    def _stop_answering(self) -> None:
        if self._answerer is not None:
            self._answerer.close()
            self._answerer = None


def _required(program: str) -> None:
    commands.find(program)


def _forget_routes() -> None:
    """Forget path MTUs and redirects learned by earlier trials."""
    for key in _FLUSHED:
        with contextlib.suppress(OSError):
            sysctl.write(key, "1")


def _failures(journal: Journal) -> list[str]:
    return [str(outcome) for outcome in journal.undo() if outcome.outcome == "failed"]
