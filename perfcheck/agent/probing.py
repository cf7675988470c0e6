"""Probes between two agents over the real link: datagrams that are answered, and one TCP connection for a moment."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Final

from perfcheck.agent.requests import Answering, Echo, Echoes, Probe, Push, Pushed
from perfcheck.errors import LabError
from perfcheck.system.clock import now_ns

WAIT_S: Final = 0.25
"""How long an answer is waited for: real links on one site answer within milliseconds."""
PUSH_TIMEOUT_S: Final = 5.0
LARGEST_DATAGRAM: Final = 65_000
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_PROBE: Final = 3
"""Send with "do not fragment", whatever is known of the path (linux/in.h)."""
_QUESTION: Final = struct.Struct("!Q")
_ANSWER: Final = struct.Struct("!QQQ")
_RESULT: Final = struct.Struct("!QQ")
_CHUNK: Final = 1 << 18


class Answerer:
    """Answers datagrams with its own times, and takes connections and says how much came; one thread each."""

    def __init__(self, address: str) -> None:
        """Bind both sockets; LabError where the address is not this machine's."""
        family = _family(address)
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._tcp = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._udp.bind((address, 0))
            self._tcp.bind((address, 0))
            self._tcp.listen(1)
        except OSError as problem:
            self.close()
            raise LabError(f"{address} cannot be used for a probe: {problem.strerror}") from None
        for work in (self._answer, self._take):
            threading.Thread(target=work, daemon=True).start()

    @property
    def ports(self) -> Answering:
        """The ports on which it answers."""
        return Answering(udp=self._udp.getsockname()[1], tcp=self._tcp.getsockname()[1])

    def close(self) -> None:
        """Answer no longer; safe to call twice."""
        for one in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, sender = self._udp.recvfrom(LARGEST_DATAGRAM)
                there_ns = now_ns()
                if len(question) >= _QUESTION.size:
                    number = _QUESTION.unpack_from(question)[0]
                    self._udp.sendto(_ANSWER.pack(number, there_ns, now_ns()), sender)

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection:
                    connection.settimeout(PUSH_TIMEOUT_S)
                    connection.sendall(_RESULT.pack(*_taken(connection)))


def _taken(connection: socket.socket) -> tuple[int, int]:
    size, first_ns, last_ns = 0, 0, 0
    room = memoryview(bytearray(_CHUNK))
    while count := connection.recv_into(room):
        last_ns = now_ns()
        first_ns = first_ns or last_ns
        size += count
    return size, last_ns - first_ns


def probe(asked: Probe) -> Echoes:
    """Send datagrams one after the other, each when the one before is answered or given up."""
    with _datagrams(asked) as one:
        padding = bytes(max(asked.size_bytes - _QUESTION.size, 0))
        end_ns = now_ns() + asked.most_ns
        found: list[Echo] = []
        sent = 0
        for number in range(asked.count):
            if asked.most_ns and number and now_ns() > end_ns:
                break
            sent += 1
            sent_ns = now_ns()
            try:
                one.send(_QUESTION.pack(number) + padding)
            except OSError:
                continue  # longer than the interface's MTU
            answer = _answer_to(one, number)
            if answer is not None:
                there_ns, back_ns, received_ns = answer
                found.append(Echo(sent_ns=sent_ns, there_ns=there_ns, back_ns=back_ns, received_ns=received_ns))
    return Echoes(sent=sent, echoes=tuple(found))


def _answer_to(one: socket.socket, number: int) -> tuple[int, int, int] | None:
    deadline = time.monotonic() + WAIT_S
    while (left := deadline - time.monotonic()) > 0:
        one.settimeout(left)
        try:
            answer = one.recv(LARGEST_DATAGRAM)
        except OSError:
            return None
        received_ns = now_ns()
        if len(answer) == _ANSWER.size:
            found, there_ns, back_ns = _ANSWER.unpack(answer)
            if found == number:
                return there_ns, back_ns, received_ns
    return None


@contextlib.contextmanager
def _datagrams(asked: Probe) -> Iterator[socket.socket]:
    family = _family(asked.source)
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        if asked.unfragmented:
            if family == socket.AF_INET:
                one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
            else:
                one.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        try:
            one.bind((asked.source, 0))
            one.connect((asked.target, asked.port))
        except OSError as problem:
            raise LabError(
                f"no datagram can be sent from {asked.source} to {asked.target}: {problem.strerror}"
            ) from None
        yield one


def push(asked: Push) -> Pushed:
    """Send over one connection for the time asked, and return what the other side says has come."""
    block = bytes(_CHUNK)
    with socket.socket(_family(asked.source), socket.SOCK_STREAM) as one:
        one.settimeout(PUSH_TIMEOUT_S)
        try:
            one.bind((asked.source, 0))
            one.connect((asked.target, asked.port))
            end_ns = now_ns() + asked.duration_ns
            while now_ns() < end_ns:
                one.sendall(block)
            one.shutdown(socket.SHUT_WR)
            answer = one.recv(_RESULT.size, socket.MSG_WAITALL)
        except OSError as problem:
            raise LabError(
                f"no connection from {asked.source} to {asked.target}: {problem.strerror or 'timed out'}"
            ) from None
    if len(answer) < _RESULT.size:
        raise LabError(f"the connection from {asked.source} to {asked.target} was cut off")
    size_bytes, took_ns = _RESULT.unpack(answer)
    return Pushed(size_bytes=size_bytes, took_ns=took_ns)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
