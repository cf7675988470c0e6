"""How an agent is reached: the system's ssh client with the user's own config, a namespace, or this machine itself.

ssh is asked for nothing but this one connection: no password, no forwarding, nothing written to known_hosts that the
user's config does not ask for. It runs in a session of its own, so that Ctrl-C reaches perfcheck alone, which then
undoes everything in order.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from perfcheck.agent.requests import MARK as AGENT_MARK
from perfcheck.errors import LabError, Unavailable
from perfcheck.model.printable import printable
from perfcheck.model.scenario import HostSpec
from perfcheck.remote import bootstrap
from perfcheck.system import commands

CONNECT_S: Final = 15
START_S: Final = 60.0
"""How long an agent may take from the connection to its greeting: its machine may be slow, and compiles its modules."""
CLEANING_S: Final = 45.0
LAST_WORDS_S: Final = 2.0
_LONGEST_LINE: Final = 1 << 16
_OPTIONS: Final = (
    "BatchMode=yes", f"ConnectTimeout={CONNECT_S}", "ControlMaster=no", "ServerAliveInterval=5",
    "ServerAliveCountMax=3", "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no",
    "RemoteCommand=none", "RequestTTY=no", "EscapeChar=none", "UpdateHostKeys=no", "LogLevel=ERROR",
)  # fmt: skip
_REASONS: Final[Sequence[tuple[str, str, str]]] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one in known_hosts",
     "ask who runs the machine whether its key was changed; if so, `ssh-keygen -R {host}` and log in once by hand"),
    (r"No \S+ host key is known|Host key verification failed", "its host key is not known",
     "log in once by hand (ssh {destination}) and check the fingerprint"),
    (r"Permission denied", "it refuses the login: {said}",
     "give it a key that needs no passphrase now (ssh-copy-id {destination}, ssh-agent)"),
    (r"Could not resolve hostname", "{said}", "check the name, or the HostName in ssh's config"),
    (r"Connection refused|No route to host|Network is unreachable|timed out|Connection reset|Connection closed",
     "{said}", "check that the machine is up and that its sshd can be reached: ssh {destination}"),
    (r"not found|No such file or directory", "{said}",
     "install Python 3.11 or later there, or say where it is: hosts.{name}.python"),
)  # fmt: skip
"""What ssh, or the shell there, says; why that is; and what helps."""


class Transport:
    """A running client with an agent at its other end: two descriptors, and what it says in the end."""

    def __init__(self, name: str, spec: HostSpec) -> None:
        """Start the client; Unavailable where ssh is not installed."""
        self.name = name
        self.where = where(name, spec)
        self._spec = spec
        argv = client_argv(spec)
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._said = b""

    @property
    def pid(self) -> int:
        """The client's pid."""
        return self._process.pid

    @property
    def reading(self) -> int:
        """The descriptor that answers come from."""
        assert self._process.stdout is not None  # noqa: S101 - it is piped
        return self._process.stdout.fileno()

    @property
    def writing(self) -> int:
        """The descriptor that requests go to."""
        assert self._process.stdin is not None  # noqa: S101 - it is piped
        return self._process.stdin.fileno()

    def begin(self) -> Mapping[str, Any]:
        """Send our copy and start the agent; return its greeting. Unavailable says why there is none."""
        hello = self._line(bootstrap.MARK, CONNECT_S + START_S)
        version, user = hello.get("python", []), hello.get("uid")
        if tuple(version) < bootstrap.OLDEST_PYTHON:
            shown = ".".join(str(part) for part in version)
            raise Unavailable(
                self.where, f"its {self._spec.python} is Python {shown}, older than 3.11",
                f"install Python 3.11 or later there, or say where it is: hosts.{self.name}.python",
            )  # fmt: skip
        if user != 0:
            raise Unavailable(
                self.where, f"the login is no root there (user {user})", "log in as root: ssh: root@ADDRESS"
            )
        try:
            _write_all(self.writing, bootstrap.package(str(hello.get("bytecode", ""))))
        except OSError:
            raise self._why_closed() from None
        return self._line(AGENT_MARK, START_S + CLEANING_S)

    def lost(self) -> LabError:
        """Return the error for a connection that ended, with the client's last words."""
        said = self._last_words()
        return LabError(f"lost the connection to {self.where}{f': {said}' if said else ''}")

    def close(self) -> None:
        """End the connection, which ends the agent, and wait for the client; safe to call twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(CLEANING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        commands.release(self._process)

    def kill(self) -> None:
        """End the client at once."""
        self._process.kill()

    def _line(self, mark: bytes, timeout_s: float) -> Mapping[str, Any]:
        """Return the object in the line that begins with the mark; a login shell may print others before it."""
        deadline = time.monotonic() + timeout_s
        line = bytearray()
        while len(line) < _LONGEST_LINE:
            ready, _, _ = select.select([self.reading], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                self._process.kill()
                raise Unavailable(
                    self.where, f"no agent answered within {timeout_s:g} s", f"try: ssh {self._spec.ssh} true"
                )
            # Byte by byte: what follows the line is not ours to read.
            byte = os.read(self.reading, 1)
            if not byte:
                raise self._why_closed()
            if byte != b"\n":
                line += byte
                continue
            if line.startswith(mark):
                return self._object(bytes(line[len(mark) :]))
            line.clear()
        raise Unavailable(
            self.where, "its login shell prints without end", "have it print nothing where no terminal is"
        )

    def _object(self, text: bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise LabError(f"{self.where}: its agent does not speak as ours does")
        error = found.get("error")
        if isinstance(error, dict):
            raise Unavailable(
                f"{self.where}: {error.get('what', 'its agent')}", str(error.get("why", error.get("text"))),
                str(error.get("fix", "see the reason")),
            )  # fmt: skip
        return found

    def _why_closed(self) -> Unavailable:
        said = self._last_words() or f"the client ended with status {self._process.poll()}"
        for pattern, why, fix in _REASONS:
            if re.search(pattern, said):
                words = {
                    "said": _shortest(said, pattern), "destination": self._spec.ssh, "name": self.name,
                    "host": str(self._spec.ssh).rpartition("@")[2],
                }  # fmt: skip
                return Unavailable(self.where, why.format(**words), fix.format(**words))
        return Unavailable(self.where, said, f"try: {shlex.join(client_argv(self._spec)[:-1])} true")

    def _last_words(self) -> str:
        """Return what the client wrote to its standard error, as far as it came."""
        if self._process.stderr is not None and not self._process.stderr.closed:
            deadline = time.monotonic() + LAST_WORDS_S
            fd = self._process.stderr.fileno()
            while (left := deadline - time.monotonic()) > 0 and select.select([fd], [], [], left)[0]:
                chunk = os.read(fd, 1 << 16)
                if not chunk:
                    break
                self._said = (self._said + chunk)[-(1 << 14) :]
        lines = [printable(line.strip()) for line in self._said.decode(errors="replace").splitlines()]
        return "; ".join(line for line in lines if line.strip("@ "))[:2000]


def where(name: str, spec: HostSpec) -> str:
    """Return how messages speak of a host: its name, and where it is."""
    if spec.ssh is not None:
        return f"host {name} ({spec.ssh})"
    return f"host {name} (namespace {spec.netns})" if spec.netns is not None else f"host {name} (this machine)"


def client_argv(spec: HostSpec) -> list[str]:
    """Return the words that start the bootstrap where the host is."""
    if spec.ssh is not None:
        options = [word for option in _OPTIONS for word in ("-o", option)]
        command = shlex.join([spec.python, "-c", bootstrap.PROGRAM])
        return [commands.find("ssh"), "-T", *options, "--", spec.ssh, command]
    python = [sys.executable if spec.python == "python3" else spec.python, "-c", bootstrap.PROGRAM]
    if spec.netns is not None:
        return [commands.find("ip"), "netns", "exec", spec.netns, *python]
    return python


def _shortest(said: str, pattern: str) -> str:
    """Return the one sentence of what was said that tells why."""
    return next(part for part in said.split("; ") if re.search(pattern, part)).rstrip(".")


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]
