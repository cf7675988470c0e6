"""Listening sockets of other processes, made to listen with a longer queue."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from perfcheck.system.listeners import LONGEST_BACKLOG, lengthen_backlogs

SERVER = (
    "import socket, sys; one = socket.create_server(('127.0.0.1', 0), backlog=1); other = socket.socket(); "
    "print(one.getsockname()[1], flush=True); sys.stdin.read()"
)


def started_in_a_namespace() -> subprocess.Popen[str]:
    argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", SERVER]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def backlogs(pid: int) -> list[int]:
    """Return the lengths of the accept queues of the namespace, as ss tells them (Send-Q of a listener)."""
    said = subprocess.run(
        ["nsenter", "--net", "--target", str(pid), "ss", "-Hltn"], capture_output=True, text=True, check=True
    ).stdout
    return [int(line.split()[2]) for line in said.splitlines()]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_a_server_listens_with_the_longest_queue_that_its_host_allows() -> None:
    with started_in_a_namespace() as server:
        assert server.stdout is not None
        assert server.stdin is not None
        server.stdout.readline()
        namespace = f"/proc/{server.pid}/ns/net"
        assert backlogs(server.pid) == [1]
        assert lengthen_backlogs(namespace, 77) == 1
        assert backlogs(server.pid) == [77]
        limit = ["nsenter", "--net", "--target", str(server.pid), "cat", "/proc/sys/net/core/somaxconn"]
        allowed = int(subprocess.run(limit, capture_output=True, text=True, check=True).stdout)
        assert lengthen_backlogs(namespace) == 1
        assert backlogs(server.pid) == [min(allowed, LONGEST_BACKLOG)]
        server.stdin.close()


def test_sockets_of_other_namespaces_stay_as_they_are(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=3):
        assert lengthen_backlogs(str(tmp_path)) == 0
