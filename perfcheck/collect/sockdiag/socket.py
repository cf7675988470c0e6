"""Netlink sockets of sock_diag(7): a request for all sockets of a kind or for named ones, and the answers' payloads."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from typing import Final

from perfcheck.collect.sockdiag.tcp_info import NLMSG_DONE, NLMSG_ERROR, messages

RECEIVE_BYTES: Final = 1 << 15  # what the kernel puts into one message of a dump at most
_NETLINK_SOCK_DIAG: Final = 4


def opened() -> socket.socket:
    """Open one in the network namespace of the calling thread; OSError where that is refused."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def dumped(netlink: socket.socket, request: bytes) -> Iterator[bytes]:
    """Ask for all sockets of a kind; OSError where the kernel refuses."""
    netlink.send(request)
    while True:
        for kind, payload in messages(netlink.recv(RECEIVE_BYTES)):
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                number = -int.from_bytes(payload[:4], "little", signed=True)
                raise OSError(number, f"sock_diag: {os.strerror(number)}")
            yield payload


def asked(netlink: socket.socket, requests: Collection[bytes]) -> Iterator[bytes]:
    """Ask for sockets by name. Each request has one answer: of a socket that is gone an error, and nothing comes."""
    netlink.send(b"".join(requests))
    for _ in requests:
        yield from payloads(netlink.recv(RECEIVE_BYTES))


def payloads(data: bytes) -> Iterator[bytes]:
    """Leave errors out of what was received."""
    return (payload for kind, payload in messages(data) if kind != NLMSG_ERROR)
