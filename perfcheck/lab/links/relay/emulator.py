"""The relay as a link emulator: starts one process a link and asks it for counts."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, Final

from perfcheck.errors import LabError
from perfcheck.lab.links.relay import limits
from perfcheck.lab.links.relay.config import config_of
from perfcheck.lab.links.relay.page import QueuePage
from perfcheck.model.link import LinkDirection, LinkSpec
from perfcheck.model.observation import LinkReport, QueueLook
from perfcheck.model.seams import LinkEnd, UndoLog
from perfcheck.system import checks, commands, processes

START_TIMEOUT_S: Final = 10.0
REPLY_TIMEOUT_S: Final = 5.0
END_TIMEOUT_S: Final = 2.0
MESSAGE_BYTES: Final = 1 << 16
PROCESS_NAME: Final = "relay"
BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")
_PLAIN: Final = frozenset(
    {"received", "delivered", "dropped_loss", "dropped_queue", "dropped_policer", "dropped_other", "max_queue_bytes"}
)


class RelayEmulator:
    """Links as two TAP devices with a process between them; works on any kernel with tun."""

    name = "relay"

    def check(self) -> None:
        """Raise Unavailable without /dev/net/tun or without root."""
        checks.require_privileges()
        checks.require_tun()

    def floor(self, link: LinkSpec) -> str | None:
        """Say why the relay cannot carry this link, or None where it can."""
        return limits.floor(link)

    def up(self, index: int, link: LinkSpec, ends: tuple[LinkEnd, LinkEnd], undo: UndoLog) -> RelayLink:
        """Start the link's process and return when both interfaces are there; LabError says what was refused."""
        undo.note("process", PROCESS_NAME)
        parent, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page, shared = QueuePage.create()
        with child, shared, _memory_file(json.dumps(config_of(link, ends)).encode()) as config:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(BOOTSTRAP),
                    str(child.fileno()),
                    str(config.fileno()),
                    str(shared.fileno()),
                ],
                pass_fds=(child.fileno(), config.fileno(), shared.fileno()),
                env={commands.TAG_VARIABLE: undo.tag},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,
            )
        relay = RelayLink(index, link, process, parent, page)
        try:
            running = processes.identify(process.pid)
            if running is not None:
                undo.note("process", PROCESS_NAME, pid=str(running.pid), start=str(running.start_ticks))
            relay.await_ready()
        except BaseException:
            relay.close()
            raise
        return relay


class RelayLink:
    """A relay process that is up; one trial at a time."""

    def __init__(
        self, index: int, link: LinkSpec, process: subprocess.Popen[bytes], control: socket.socket, page: QueuePage
    ) -> None:  # fmt: skip
        """Take over the process, its control socket, and the page in which it notes its queues."""
        self._page = page
        self._note_every_ns = 0
        self._index = index
        self._link = link
        self._process = process
        self._control = control
        self._between = "-".join(link.between)

    @property
    def pid(self) -> int:
        """Process id of the relay."""
        return self._process.pid

    def await_ready(self) -> None:
        """Wait until the interfaces are there; LabError says what was refused."""
        reply = self._receive(START_TIMEOUT_S)
        if "error" in reply:
            raise LabError(
                f"links[{self._index}] {self._between}: the relay could not make its devices: {reply['error']}"
            )

    def begin_trial(self, index: int) -> None:
        """Start a trial: counters to 0 and the loss pattern back to its seed."""
        self._send({"op": "begin", "trial": index, "note_every_ns": self._note_every_ns})
        self._receive(REPLY_TIMEOUT_S)

    def watch_queues(self, every_ns: int) -> None:
        """Have the queues noted so often in all trials from the next one on; 0: not at all."""
        self._note_every_ns = every_ns

    def queues(self) -> tuple[QueueLook, QueueLook]:
        """Return the queues as they were noted last, forward first; the relay is not asked."""
        first, second = (
            QueueLook(size_bytes=size_bytes, received=received, drops=drops, policed=policed, losses=losses)
            for size_bytes, received, drops, policed, losses in self._page.read()
        )
        return first, second

    def end_trial(self) -> tuple[LinkReport, ...]:
        """Return the reports of both directions since begin_trial, forward first."""
        self._send({"op": "end"})
        reply = self._receive(REPLY_TIMEOUT_S)
        return tuple(
            self._report(direction, counts, reply)
            for direction, counts in zip(self._link.directions, reply["directions"], strict=True)
        )

    def close(self) -> None:
        """End the process, which takes both interfaces with it; safe to call twice."""
        self._control.close()
        self._page.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _report(self, direction: LinkDirection, counts: dict[str, Any], reply: dict[str, Any]) -> LinkReport:
        plain = {name: counts[name] for name in _PLAIN}
        extra = {name: value for name, value in counts.items() if name not in _PLAIN and isinstance(value, int | float)}
        return LinkReport(
            link=self._index,
            way=direction.name,
            emulator=RelayEmulator.name,
            lateness_us=counts["lateness_us"],
            invalid_reason=limits.invalid_reason(counts, direction.delay_ns),
            extra=extra | {"cpu_pct": reply["cpu_pct"], "wall_s": reply["wall_ns"] / 1e9},
            **plain,
        )

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._control.sendall(json.dumps(message).encode())
        except OSError:
            raise self._gone() from None

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        if not select.select([self._control], [], [], timeout_s)[0]:
            raise LabError(f"links[{self._index}] {self._between}: the relay did not answer within {timeout_s:.0f} s")
        try:
            message = self._control.recv(MESSAGE_BYTES)
        except OSError:
            message = b""
        if not message:
            raise self._gone()
        reply: dict[str, Any] = json.loads(message)
        return reply

    def _gone(self) -> LabError:
        status: int | None
        try:
            status = self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = None
        last = b""
        if status is not None and self._process.stderr is not None and not self._process.stderr.closed:
            last = self._process.stderr.read()
        said = last.decode(errors="replace").strip().rpartition("\n")[2] or "nothing on its standard error"
        return LabError(f"links[{self._index}] {self._between}: the relay process ended (status {status}): {said}")


def _memory_file(content: bytes) -> BinaryIO:
    """Return a file without a name, at its beginning: a trace is too long for one message."""
    file = os.fdopen(os.memfd_create("relay"), "w+b")
    file.write(content)
    file.flush()
    file.seek(0)
    return file
