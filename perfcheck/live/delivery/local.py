"""Appends alerts to a file, and brings them to the machine's log."""

from __future__ import annotations

import os
import socket
import stat
from typing import Final

from perfcheck.live.delivery.notice import NotDelivered, Notice
from perfcheck.live.delivery.target import FileTarget, SyslogTarget

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""Not blocking: the path may be a pipe that nobody reads."""
_USER: Final = 1 << 3
_WARNING: Final = 4
_NOTICE: Final = 5


class FileSender:
    """Appends a line of JSON for each notice; the file is opened each time, so that it may be moved away."""

    def __init__(self, target: FileTarget, *, limit_bytes: int | None = None) -> None:
        """Take the path; the file may not grow beyond `limit_bytes` here."""
        self._target = target
        self._limit_bytes = limit_bytes
        self._broken_line = False

    @property
    def label(self) -> str:
        """The path."""
        return f"file {self._target.path}"

    def send(self, notice: Notice, timeout_s: float) -> None:  # noqa: ARG002 - a file answers at once
        """Append the line."""
        line = f"{notice.body}\n".encode()
        if self._broken_line:
            line = b"\n" + line
        try:
            descriptor = os.open(self._target.path, _FLAGS, 0o640)
            try:
                self._append(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise NotDelivered(problem.strerror or str(problem)) from None

    def _append(self, descriptor: int, line: bytes) -> None:
        found = os.fstat(descriptor)
        if self._limit_bytes is not None and found.st_size + len(line) > self._limit_bytes:
            raise NotDelivered(f"it has {self._limit_bytes} bytes, which is its limit", final=True)
        written = os.write(descriptor, line)
        if written == len(line):
            self._broken_line = False
            return
        if stat.S_ISREG(found.st_mode) and os.fstat(descriptor).st_size == found.st_size + written:
            os.ftruncate(descriptor, found.st_size)  # nobody else has appended: no part of a line is left
        else:
            self._broken_line = True
        raise NotDelivered("the disk is full")


class SyslogSender:
    """Sends a datagram in the local form of syslog: priority, tag and text."""

    def __init__(self, target: SyslogTarget) -> None:
        """Take the socket's path."""
        self._target = target

    @property
    def label(self) -> str:
        """The log."""
        return "syslog"

    def send(self, notice: Notice, timeout_s: float) -> None:
        """Send the text; the daemon's queue may be full, which the timeout bounds."""
        priority = _USER | (_WARNING if notice.urgent else _NOTICE)
        line = f"<{priority}>perfctl[{os.getpid()}]: {notice.text}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as log:
                log.settimeout(timeout_s)
                log.connect(str(self._target.path))
                log.send(line.encode())
        except TimeoutError:
            raise NotDelivered(f"{self._target.path} took nothing within {timeout_s:.2g} s") from None
        except OSError as problem:
            raise NotDelivered(f"{self._target.path}: {problem.strerror or problem}") from None
