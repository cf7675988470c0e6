"""Many connections: `server` echoes, `client ADDRESS N SECONDS` sends 100 bytes over each in turn.

`idle ADDRESS N` sends them once over each, and keeps the connections until standard input ends.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time
from typing import Final

PORT: Final = 5302
BACKLOG: Final = 4096
MESSAGE: Final = bytes(100)


def _raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve() -> None:
    """Echo whatever comes until standard input ends."""
    with socket.create_server(("", PORT), backlog=BACKLOG) as listener, select.epoll() as poll:
        poll.register(listener.fileno(), select.EPOLLIN)
        poll.register(sys.stdin.fileno(), select.EPOLLHUP | select.EPOLLIN)
        connections: dict[int, socket.socket] = {}
        while True:
            for fd, _ in poll.poll():
                if fd == sys.stdin.fileno():
                    return
                if fd == listener.fileno():
                    connection, _ = listener.accept()
                    connections[connection.fileno()] = connection
                    poll.register(connection.fileno(), select.EPOLLIN)
                    continue
                data = connections[fd].recv(4096)
                if data:
                    connections[fd].sendall(data)
                else:
                    poll.unregister(fd)
                    connections.pop(fd).close()


def drive(address: str, count: int, seconds: float) -> None:
    """Open the connections, say `ready`, then let them take turns; say how many turns there were."""
    connections = [socket.create_connection((address, PORT)) for _ in range(count)]
    print("ready", flush=True)
    turns, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for connection in connections:
            connection.sendall(MESSAGE)
            connection.recv(4096)
            turns += 1
            if time.monotonic() >= end:
                break
    print(turns, flush=True)


def rest(address: str, count: int) -> None:
    """Open the connections, let each have one turn, say `ready`, and do nothing more."""
    connections = [socket.create_connection((address, PORT)) for _ in range(count)]
    for connection in connections:
        connection.sendall(MESSAGE)
        connection.recv(4096)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _raise_limit()
    if sys.argv[1] == "server":
        serve()
    elif sys.argv[1] == "idle":
        rest(sys.argv[2], int(sys.argv[3]))
    else:
        drive(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
