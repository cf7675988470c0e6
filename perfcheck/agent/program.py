"""The agent: `python -m perfcheck.agent.program FOLDER LOCK`, started by `remote/bootstrap.py` with its own copy.

It reads requests from its standard input and writes answers to its standard output until the input ends, which it
does when the connection is lost, whatever the reason. Then it undoes all that it has made, and removes its copy. What
an agent that was killed has left is undone by the next one.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from perfcheck.agent import facts, frames
from perfcheck.agent import requests as ask
from perfcheck.agent.codec import decode, encode
from perfcheck.agent.frames import Frame
from perfcheck.agent.own_connection import Endpoints
from perfcheck.agent.service import Service
from perfcheck.errors import CouldNotMeasure, LabError, PerfcheckError, Stopped, Unavailable
from perfcheck.system import CleanReport, Journal, clean, new_tag, run_dir, stop_on_signals
from perfcheck.system.clock import now_ns
from perfcheck.system.defects import defect_line
from perfcheck.system.processes import boot_id

_KINDS: Final = {one.__name__: one for one in ask.ANSWERS}
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Connection:
    """The two streams to the machine that measures; threads write one frame at a time."""

    def __init__(self, reading: int, writing: int) -> None:
        """Take both descriptors."""
        self._reading, self._writing = reading, writing
        self._lock = threading.Lock()

    def say(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Write a message; where nobody reads any more, it is lost."""
        with self._lock, suppress(OSError):
            frames.write_frame(self._writing, Frame(header=dict(header), payload=payload))

    def hear(self) -> Frame | None:
        """Return the next message; None at the end of the connection, or after a long silence.

        A machine that slept finds its time over when it wakes: then the other one is given the time for a word.
        """
        for wait_s in (ask.SILENCE_S, 2 * ask.BEAT_S):
            if select.select([self._reading], [], [], wait_s)[0]:
                return frames.read_frame(self._reading)
        return None


class Agent:
    """Answers requests, each in a thread of its own; the question for the time at once."""

    def __init__(self, connection: Connection, folder: Path, journal: Journal) -> None:
        """Make nothing yet."""
        self._connection = connection
        self._service = Service(folder, journal, _own_connection(), self._tell_output, self._tell_exit, self._tell_note)

    def serve(self) -> None:
        """Serve until the connection ends."""
        while (frame := self._connection.hear()) is not None:
            heard_ns = now_ns()
            number, kind = frame.header.get("id"), frame.header.get("kind")
            if kind == ask.Clock.__name__:
                look = ask.ClockLook(received_ns=heard_ns, sent_ns=now_ns())
                self._connection.say({"id": number, "answer": encode(look)})
                continue
            threading.Thread(target=self._answer, args=(number, str(kind), frame), daemon=True).start()

    def leave(self) -> None:
        """Undo everything."""
        self._service.leave()

    def _answer(self, number: object, kind: str, frame: Frame) -> None:
        try:
            answer = self._service.answer(decode(_known(kind), frame.header.get("request")), frame.payload)
        except PerfcheckError as error:
            self._connection.say({"id": number, "error": _error(error)})
        except Exception as error:  # noqa: BLE001 - told to the one who asked, who shows it
            self._connection.say({"id": number, "error": {"kind": "LabError", "text": defect_line(error)}})
        else:
            said = ask.Nothing() if answer is None or isinstance(answer, bytes) else answer
            payload = answer if isinstance(answer, bytes) else b""
            self._connection.say({"id": number, "answer": encode(said)}, payload)

    def _tell_output(self, number: int, stream: int, content: bytes) -> None:
        self._connection.say({"event": ask.OUTPUT, "number": number, "stream": stream}, content)

    def _tell_exit(self, number: int, status: int, ended_ns: int, cpu_s: float) -> None:
        self._connection.say(
            {"event": ask.EXIT, "number": number, "status": status, "ended_ns": ended_ns, "cpu_s": cpu_s}
        )  # fmt: skip

    def _tell_note(self, text: str) -> None:
        self._connection.say({"event": ask.NOTE, "text": text})


def _known(kind: str) -> type[Any]:
    try:
        return _KINDS[kind]
    except KeyError:
        raise LabError(f"an agent does not know {kind!r:.40}") from None


def _error(error: PerfcheckError) -> dict[str, str]:
    if isinstance(error, Unavailable):
        return {"kind": "Unavailable", "what": error.what, "why": error.why, "fix": error.fix}
    kind = type(error).__name__ if isinstance(error, CouldNotMeasure) else "LabError"
    return {"kind": kind, "text": str(error)}


def _own_connection() -> Endpoints | None:
    """Return local and remote address and port of the ssh connection that this process was started over."""
    match os.environ.get("SSH_CONNECTION", "").split():
        case [client, client_port, server, server_port] if client_port.isdecimal() and server_port.isdecimal():
            return server, int(server_port), client, int(client_port)
    return None


def _greeting(tag: str, folder: Path, cleaned: CleanReport) -> ask.Greeting:
    status = run_dir().stat()
    return ask.Greeting(
        tag=tag, python=(sys.executable,), folder=str(folder), hostname=socket.gethostname(),
        release=os.uname().release,
        lock=f"{boot_id()} {status.st_dev}:{status.st_ino}", kernel_types=facts.kernel_types_digest(),
        undone=tuple(map(str, cleaned.undone)), failed=(*map(str, cleaned.failed), *cleaned.unreadable),
    )  # fmt: skip


def _refuse_signals() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _private_streams() -> tuple[int, int]:
    """Keep the two streams to ourselves: what a library prints goes to standard error, and nobody reads requests."""
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return reading, writing


def main(folder: Path) -> int:
    """Serve one connection; status 1 where not even a journal could be made, which the greeting then says."""
    reading, writing = _private_streams()
    # Compiled programs are private to this copy, and go with it.
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    with stop_on_signals():
        return _served(folder, reading, writing)


def _served(folder: Path, reading: int, writing: int) -> int:
    connection = Connection(reading, writing)
    status, greeted = 0, False
    try:
        cleaned = clean()
        with Journal.create(new_tag()) as journal:
            agent = Agent(connection, folder, journal)
            try:
                greeted = _announce(writing, encode(_greeting(journal.tag, folder, cleaned)))
                agent.serve()
            finally:
                _refuse_signals()
                agent.leave()
    except (Stopped, KeyboardInterrupt):
        status = 1
    except PerfcheckError as error:
        if not greeted:
            _announce(writing, {"error": _error(error)})
        status = 1
    finally:
        _refuse_signals()
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _announce(writing: int, said: Mapping[str, Any]) -> bool:
    """Say in a line who this is, or why it cannot be; gives True, whoever hears it."""
    with suppress(OSError):
        os.write(writing, b"\n" + ask.MARK + json.dumps(said).encode() + b"\n")
    return True


if __name__ == "__main__":
    # Threads that still wait for a lock or an answer must not hold the process up.
    os._exit(main(Path(sys.argv[1])))
