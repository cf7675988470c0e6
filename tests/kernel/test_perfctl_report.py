"""`perfctl tcp --report` of a live machine: the page has what was sent, and is there after Ctrl-C and SIGTERM, too."""

from __future__ import annotations

import html
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from live_lab import PERFCTL, LiveLab, live_lab

pytestmark = pytest.mark.kernel

PORT: Final = 9000
READER: Final = f"""
import socket
one, _ = socket.create_server(("", {PORT})).accept()
while one.recv(1 << 16):
    pass
"""
WRITER: Final = f"""
import socket, sys
one = socket.create_connection((sys.argv[1], {PORT}))
while True:
    one.sendall(bytes(60000))
"""
LINK: Final = {"hosts": {"client": {}, "server": {}}, "links": [{"between": ["client", "server"]}]}


WAYS: Final = ((None, 0), (signal.SIGINT, 0), (signal.SIGTERM, 3))
"""How a watch ends (None: with its duration), and the exit status."""


def watched(lab: LiveLab, page: Path, *words: str) -> subprocess.Popen[str]:
    where = ["--netns", lab.host("client").netns_path, "--interval", "200ms", "--rport", str(PORT)]
    return subprocess.Popen(
        [*PERFCTL, "tcp", *where, "--report", str(page), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], number: signal.Signals | None) -> str:
    """Let a watch end once it has told of the connection; return what it wrote to standard error."""
    assert process.stdout is not None
    if number is not None:
        assert any(f":{PORT}" in line for line in process.stdout)
        process.send_signal(number)
    return process.communicate(timeout=40)[1]


def test_the_page_is_there_whatever_ends_the_watch(tmp_path: Path) -> None:
    with live_lab(**LINK) as lab, ExitStack() as stack:
        lab.serve("server", PORT, sys.executable, "-c", READER)
        lab.start("client", sys.executable, "-c", WRITER, lab.host("server").address_towards("client"))
        pages = [tmp_path / f"{place}.md" for place in range(len(WAYS))]
        processes = [
            stack.enter_context(watched(lab, page, *(["--duration", "600ms"] if number is None else [])))
            for page, (number, _) in zip(pages, WAYS, strict=True)
        ]  # fmt: skip
        for process in processes:
            stack.callback(process.kill)
        told = [ended(process, number) for process, (number, _) in zip(processes, WAYS, strict=True)]
    assert [process.returncode for process in processes] == [status for _, status in WAYS], told
    for page, said in zip(pages, told, strict=True):
        assert f"report written to {page}" in said
        text = html.unescape(re.sub(r"<[^>]*>", "", page.read_text()))
        assert re.search(r"Watched \d+\.\d s in \d+ intervals?: at most 1 connection at a time", text)
        assert not re.search(r"\b0 B were sent", text)
        assert f":{PORT}" in text
