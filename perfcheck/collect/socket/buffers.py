"""Gathers readings of sockets, from the BPF iterator's lines and from sock_diag, and sums them for each socket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.sockdiag.skmeminfo import DiagLook
from perfcheck.collect.tcp.decode import address
from perfcheck.model.flow import FlowKey, Protocol, SocketBuffers

_STATES: Final[Mapping[str, frozenset[int]]] = {
    "established": frozenset({1}),
    "closing": frozenset({4, 5, 9, 11}),  # FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING
    "close_wait": frozenset({8}),
}
_PER_PCT: Final = 10.0
_PCT_EDGES: Final = tuple(edge / _PER_PCT for edge in histogram.edges(histogram.SEGS_BUCKETS))
_BYTES_EDGES: Final = histogram.edges(histogram.RTT_BUCKETS)
_MEMORY: Final = ("snd_bytes", "sndbuf_bytes", "rcv_bytes", "rcvbuf_bytes", "sendq_bytes", "recvq_bytes")


@dataclass(slots=True)
class _Diagnosed:
    """One socket that sock_diag showed, and what it showed of it each time."""

    key: FlowKey
    drops_before: int
    drops: int = 0
    values: list[tuple[int, ...]] = field(default_factory=list)


class Looks:
    """All looks of one trial; `count` is how often was looked."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._written: list[bytes] = []
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._diagnosed: dict[tuple[str, int], _Diagnosed] = {}
        self._most = dict.fromkeys(_STATES, 0)
        self._now = dict.fromkeys(_STATES, 0)
        self._waiting = 0
        self._waiting_pct = 0.0

    def begin(self) -> None:
        """Begin the next look."""
        self.count += 1
        self._now = dict.fromkeys(_STATES, 0)

    def _count_states(self, states: Sequence[int]) -> None:
        """Add connections of one look up, over hosts, and keep the most that there were of each kind at once."""
        for name, meant in _STATES.items():
            self._now[name] += sum(state in meant for state in states)
            self._most[name] = max(self._most[name], self._now[name])

    def add_lines(self, written: bytes, dtype: np.dtype[Any]) -> None:
        """Take the iterator's `pc_look` lines of one look; what is in them is read at the end."""
        self._written.append(written)
        self._dtype = dtype

    def add(self, host: str, protocol: Protocol, looks: Iterable[DiagLook]) -> None:
        """Take sock_diag's answer of one look at one host."""
        states = []
        for look in looks:
            seen = self._diagnosed.get((host, look.cookie))
            if seen is None:
                key = FlowKey(
                    protocol=protocol, host=host, local=look.local[0], local_port=look.local[1], remote=look.remote[0],
                    remote_port=look.remote[1],
                )  # fmt: skip
                # What is there at the first look may have dropped packets before; the rest was born since.
                before = look.drops if self.count == 1 else 0
                seen = self._diagnosed[host, look.cookie] = _Diagnosed(key=key, drops_before=before)
            if protocol is Protocol.TCP:
                states.append(look.state)
            seen.drops = look.drops - seen.drops_before
            seen.values.append(
                (look.snd_bytes, look.sndbuf_bytes, look.rcv_bytes, look.rcvbuf_bytes, look.sendq, look.recvq)
            )
        self._count_states(states)

    def add_listening(self, looks: Iterable[DiagLook]) -> None:
        """Take the listening sockets of one look at one host."""
        for look in looks:
            self._waiting = max(self._waiting, look.recvq)
            if look.sendq:
                self._waiting_pct = max(self._waiting_pct, 100 * look.recvq / look.sendq)

    def metrics(self) -> dict[str, float]:
        """Return what is counted over all sockets of the lab."""
        most = {name: max(self._most[name], *counts) for name, counts in self._counts_of_lines().items()}
        return {
            **{f"socket.{name}.max": float(count) for name, count in most.items()},
            "socket.accept_queue.max": float(self._waiting),
            "socket.accept_queue_pct.max": self._waiting_pct,
        }

    def _lines(self) -> npt.NDArray[Any]:
        return np.frombuffer(b"".join(self._written), self._dtype)

    def _counts_of_lines(self) -> Mapping[str, Sequence[int]]:
        """How many connections of each kind each of the iterator's looks saw, and 0: there may have been none."""
        if not self._written:
            return dict.fromkeys(_STATES, (0,))
        states = self._lines()["state"]
        look = np.repeat(np.arange(len(self._written)), [len(one) // self._dtype.itemsize for one in self._written])
        return {
            name: np.bincount(look[np.isin(states, tuple(meant))], minlength=len(self._written)).tolist()
            for name, meant in _STATES.items()
        }

    def buffers(self, hosts: Mapping[int, str]) -> Iterator[SocketBuffers]:
        """Sum each socket up; `hosts` names network namespaces by inode number."""
        if self._written:
            lines = self._lines()
            lines = lines[np.argsort(lines["cookie"], kind="stable")]
            _, begins = np.unique(lines["cookie"], return_index=True)
            for part in np.split(lines, begins[1:]) if len(lines) else ():
                values = np.stack([part[name] for name in _MEMORY], axis=1).astype(np.int64)
                yield _summed(_key_of(part[0], hosts), values)
        for seen in self._diagnosed.values():
            yield _summed(seen.key, np.array(seen.values, dtype=np.int64), seen.drops)


def _key_of(line: Mapping[str, Any], hosts: Mapping[int, str]) -> FlowKey:
    family, netns = int(line["family"]), int(line["netns"])
    return FlowKey(
        protocol=Protocol.TCP,
        host=hosts.get(netns, f"netns:{netns}"),
        local=address(family, bytes(line["local"])),
        local_port=int(line["local_port"]),
        remote=address(family, bytes(line["remote"])),
        remote_port=int(line["remote_port"]),
    )


def _summed(key: FlowKey, values: npt.NDArray[np.int64], drops: int = 0) -> SocketBuffers:
    snd, sndbuf, rcv, rcvbuf, sendq, recvq = (np.maximum(values[:, column], 0) for column in range(len(_MEMORY)))
    return SocketBuffers(
        key=key,
        snd_use_pct=histogram.of_values("pct", _PCT_EDGES, 100 * snd / np.maximum(sndbuf, 1)),
        rcv_use_pct=histogram.of_values("pct", _PCT_EDGES, 100 * rcv / np.maximum(rcvbuf, 1)),
        sendq_bytes=histogram.of_values("bytes", _BYTES_EDGES, sendq),
        recvq_bytes=histogram.of_values("bytes", _BYTES_EDGES, recvq),
        sndbuf_bytes=int(sndbuf.max()),
        rcvbuf_bytes=int(rcvbuf.max()),
        drops=drops,
    )
