"""Gathers readings of sockets, from the BPF iterator's lines and from sock_diag, and sums them for each socket."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.sockdiag.skmeminfo import DiagLook
from perfcheck.model.flow import FlowKey, Protocol, SocketBuffers
from perfcheck.model.flow_table import address_of
from perfcheck.system.clock import now_ns

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
    """One socket that sock_diag showed; each of `values` is the number of a look, drops until then, and _MEMORY."""

    key: FlowKey
    drops_before: int
    values: list[tuple[int, ...]] = field(default_factory=list)


@dataclass(slots=True)
class _Gathered:
    """What one look saw: the moment, the iterator's lines, and of what sock_diag showed what is counted."""

    taken_ns: int
    lines: bytes = b""
    states: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STATES, 0))
    waiting: int = 0
    waiting_pct: float = 0.0


class Looks:
    """All looks of one trial."""

    def __init__(self) -> None:
        """Begin with none."""
        self._looks: list[_Gathered] = []
        self._forgotten = 0
        # Looks come in another thread than they are forgotten in.
        self._counting = threading.Lock()
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._diagnosed: dict[tuple[str, int], _Diagnosed] = {}

    @property
    def count(self) -> int:
        """How often was looked."""
        with self._counting:
            return self._forgotten + len(self._looks)

    def begin(self) -> None:
        """Begin the next look."""
        with self._counting:
            self._looks.append(_Gathered(now_ns()))

    def forget(self, before: int) -> None:
        """Let go of the looks before that number, but for the latest: it may be under way. The others keep theirs."""
        with self._counting:
            number = min(max(before - self._forgotten, 0), max(len(self._looks) - 1, 0))
            del self._looks[:number]
            self._forgotten += number
        for where, seen in tuple(self._diagnosed.items()):
            earlier = [drops for number, drops, *_ in tuple(seen.values) if number < before]
            if not earlier:
                continue
            seen.drops_before = earlier[-1]
            del seen.values[: len(earlier)]
            if not seen.values:
                self._diagnosed.pop(where, None)

    def _chosen(self, first: int, last: int | None) -> list[_Gathered]:
        with self._counting:
            begin = max(first - self._forgotten, 0)
            return self._looks[begin : None if last is None else max(last - self._forgotten, 0)]

    def add_lines(self, written: bytes, dtype: np.dtype[Any]) -> None:
        """Take the iterator's `pc_look` lines of one look; what is in them is read at the end."""
        self._looks[-1].lines = written
        self._dtype = dtype

    def add(self, host: str, protocol: Protocol, looks: Iterable[DiagLook]) -> None:
        """Take sock_diag's answer of one look at one host."""
        number = self.count - 1
        for look in looks:
            seen = self._diagnosed.get((host, look.cookie))
            if seen is None:
                key = FlowKey(
                    protocol=protocol, host=host, local=look.local[0], local_port=look.local[1], remote=look.remote[0],
                    remote_port=look.remote[1],
                )  # fmt: skip
                # What is there at the first look may have dropped packets before; the rest was born since.
                before = look.drops if number == 0 else 0
                seen = self._diagnosed[host, look.cookie] = _Diagnosed(key=key, drops_before=before)
            if protocol is Protocol.TCP:
                for name, meant in _STATES.items():
                    self._looks[-1].states[name] += look.state in meant
            memory = (look.snd_bytes, look.sndbuf_bytes, look.rcv_bytes, look.rcvbuf_bytes, look.sendq, look.recvq)
            seen.values.append((number, look.drops, *memory))

    def add_listening(self, looks: Iterable[DiagLook]) -> None:
        """Take the listening sockets of one look at one host."""
        now = self._looks[-1]
        for look in looks:
            now.waiting = max(now.waiting, look.recvq)
            if look.sendq:
                now.waiting_pct = max(now.waiting_pct, 100 * look.recvq / look.sendq)

    def metrics(self, first: int = 0, last: int | None = None) -> dict[str, float]:
        """Return what is counted over all sockets of the lab, in the looks from `first` up to before `last`."""
        chosen = self._chosen(first, last)
        counted = self._counts_of_lines(chosen)
        most = {name: max((look.states[name] for look in chosen), default=0) for name in _STATES}
        return {
            **{f"socket.{name}.max": float(max(most[name], *counts)) for name, counts in counted.items()},
            "socket.accept_queue.max": float(max((look.waiting for look in chosen), default=0)),
            "socket.accept_queue_pct.max": max((look.waiting_pct for look in chosen), default=0.0),
        }

    def _lines(self, chosen: Sequence[_Gathered]) -> npt.NDArray[Any]:
        return np.frombuffer(b"".join(look.lines for look in chosen), self._dtype)

    def _counts_of_lines(self, chosen: Sequence[_Gathered]) -> Mapping[str, Sequence[int]]:
        """How many connections of each kind each of the iterator's looks saw, and 0: there may have been none."""
        if not any(look.lines for look in chosen):
            return dict.fromkeys(_STATES, (0,))
        states = self._lines(chosen)["state"]
        look = np.repeat(np.arange(len(chosen)), [len(one.lines) // self._dtype.itemsize for one in chosen])
        return {
            name: np.bincount(look[np.isin(states, tuple(meant))], minlength=len(chosen)).tolist()
            for name, meant in _STATES.items()
        }

    def buffers(self, hosts: Mapping[int, str], first: int = 0, last: int | None = None) -> Iterator[SocketBuffers]:
        """Sum each socket up over those looks; `hosts` names network namespaces by inode number."""
        chosen = self._chosen(first, last)
        if any(look.lines for look in chosen):
            lines = self._lines(chosen)
            lines = lines[np.argsort(lines["cookie"], kind="stable")]
            _, begins = np.unique(lines["cookie"], return_index=True)
            for part in np.split(lines, begins[1:]):
                values = np.stack([part[name] for name in _MEMORY], axis=1).astype(np.int64)
                yield _summed(_key_of(part[0], hosts), values)
        end = self.count if last is None else last
        for seen in tuple(self._diagnosed.values()):
            before = [drops for number, drops, *_ in seen.values if number < first]
            mine = [(drops, memory) for number, drops, *memory in seen.values if first <= number < end]
            if mine:
                dropped = mine[-1][0] - (before[-1] if before else seen.drops_before)
                yield _summed(seen.key, np.array([memory for _, memory in mine], dtype=np.int64), dropped)

    def timed(self, hosts: Mapping[int, str]) -> Iterator[tuple[FlowKey, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield each TCP connection that the iterator saw, the moments of the looks at it, and _MEMORY at each."""
        looks = [look for look in tuple(self._looks) if look.lines]
        if not looks:
            return
        lines = self._lines(looks)
        sizes = [len(look.lines) // self._dtype.itemsize for look in looks]
        moments = np.repeat([look.taken_ns for look in looks], sizes)
        order = np.argsort(lines["cookie"], kind="stable")
        lines, moments = lines[order], moments[order]
        _, begins = np.unique(lines["cookie"], return_index=True)
        for part, times in zip(np.split(lines, begins[1:]), np.split(moments, begins[1:]), strict=True):
            yield _key_of(part[0], hosts), times, np.stack([part[name] for name in _MEMORY], axis=1).astype(np.int64)


def _key_of(line: Mapping[str, Any], hosts: Mapping[int, str]) -> FlowKey:
    family, netns = int(line["family"]), int(line["netns"])
    return FlowKey(
        protocol=Protocol.TCP,
        host=hosts.get(netns, f"netns:{netns}"),
        local=address_of(family, bytes(line["local"])),
        local_port=int(line["local_port"]),
        remote=address_of(family, bytes(line["remote"])),
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
