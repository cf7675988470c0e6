"""A headless browser of its own, told what to do through a pair of pipes, which end it when they close.

Only this process can speak through them: nothing listens on a port.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from perfcheck.errors import OutputError, UsageError
from perfcheck.model.printable import printable

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS: Final = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--disable-breakpad", "--disable-dev-shm-usage", "--no-proxy-server", "--no-pings",
    "--password-store=basic", "--use-mock-keychain", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
_TO_BROWSER: Final = 3
_FROM_BROWSER: Final = 4
"""Descriptors that the browser reads from and writes to."""
_ABOVE: Final = 10
"""Descriptors of ours are at least this, so that none of them is one of the browser's."""
_GRACE_S: Final = 5.0
_LOOK_S: Final = 0.02
_CHUNK_BYTES: Final = 1 << 20
_SAID_CHARS: Final = 300


def find() -> str:
    """Return the path of an installed browser; UsageError where there is none."""
    for name in NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    raise UsageError(
        "a PDF is printed by Chromium or Chrome, and neither is in PATH: apt-get install chromium, or write HTML"
    )


@contextmanager
def running(limit_s: float) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it with the block; all answers must come within `limit_s`."""
    path = find()
    with tempfile.TemporaryDirectory(prefix="perfcheck-pdf.", ignore_cleanup_errors=True) as folder:
        commands, answers = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for end in (commands[0], answers[1])]
        for end in (commands[0], answers[1]):
            os.close(end)
        try:
            pid = _start(path, Path(folder), *theirs)
        except BaseException:
            os.close(commands[1])
            raise
        finally:
            for end in theirs:
                os.close(end)
        browser = Browser(commands[1], answers[0], Path(folder) / "said", time.monotonic() + limit_s)
        try:
            yield browser
        finally:
            _end(browser, pid)
            for end in (commands[1], answers[0]):
                os.close(end)


def _start(path: str, folder: Path, reads: int, writes: int) -> int:
    argv = [path, *_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    if os.geteuid() == 0:
        # Chromium refuses to make a sandbox as root.
        argv.append("--no-sandbox")
    said = str(folder / "said")
    try:
        return os.posix_spawn(
            path, [*argv, "about:blank"], {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, said, os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, reads, _TO_BROWSER), (os.POSIX_SPAWN_DUP2, writes, _FROM_BROWSER),
            ],
            setsid=True, setsigdef=[signal.SIGPIPE],
        )  # fmt: skip
    except OSError as problem:
        raise OutputError(f"{path} cannot be started: {problem.strerror}") from None


def _end(browser: Browser, pid: int) -> None:
    """End the browser and all that it started: by its own way, then by force."""
    with contextlib.suppress(OSError, OutputError):
        browser.send("Browser.close", {})
    deadline = time.monotonic() + _GRACE_S
    try:
        # Not reaped yet, so that no other group of processes can have its number.
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Browser:
    """A running browser: calls of the DevTools protocol and their answers, each ended by a zero byte."""

    def __init__(self, write: int, read: int, said: Path, deadline: float) -> None:
        """Take both pipes, the file of its standard error, and when the last answer must be here."""
        self._write, self._read, self._said, self._deadline = write, read, said, deadline
        self._buffer = bytearray()
        self._last = 0
        self._session: str | None = None
        self.events: list[str] = []

    def open_page(self) -> None:
        """Open a page; later calls are about it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        """Return the answer to a call; OutputError where it fails or comes too late."""
        number = self.send(method, parameters)
        while True:
            message = self._message(method)
            if "method" in message:
                self.events.append(str(message["method"]))
            elif message.get("id") == number:
                if "error" in message:
                    raise OutputError(f"the browser refused {method}: {message['error'].get('message', 'no reason')}")
                result: Mapping[str, Any] = message["result"]
                return result

    def wait_for(self, event: str) -> None:
        """Wait until an event has come since the page was opened."""
        while event not in self.events:
            self.events.append(str(self._message(event).get("method")))

    def send(self, method: str, parameters: Mapping[str, Any]) -> int:
        """Send a call and return its number."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None and not method.startswith("Browser."):
            message["sessionId"] = self._session
        waiting = memoryview(json.dumps(message).encode() + b"\0")
        try:
            while waiting:
                waiting = waiting[os.write(self._write, waiting) :]
        except BrokenPipeError:
            raise self._ended() from None
        return self._last

    def _message(self, awaited: str) -> Mapping[str, Any]:
        while (end := self._buffer.find(0)) < 0:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise OutputError(f"the browser did not print in time: no answer to {awaited}")
            chunk = os.read(self._read, _CHUNK_BYTES)
            if not chunk:
                raise self._ended()
            self._buffer += chunk
        text = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        found: Mapping[str, Any] = json.loads(text)
        return found

    def _ended(self) -> OutputError:
        """Return the error of a browser that is gone, with its last words."""
        try:
            lines = self._said.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        last = f": {printable(lines[-1][-_SAID_CHARS:])}" if lines else ""
        return OutputError(f"the browser ended before it printed{last}")
