"""What tests of detail mode share: the collector, other sources, and messages that carry their time."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from collect_lab import Pair, run

from perfcheck.analyse import Followed, follow
from perfcheck.collect.detail.collector import DetailCollector
from perfcheck.model.detail import DetailFilter, DetailStream, Kind
from perfcheck.model.flow import FlowKey
from perfcheck.model.observation import Observation, Scope

MESSAGE_BYTES = 4000
_STAMP = struct.Struct("<q")


@contextmanager
def detail(ring_bytes: int = 16 << 20, most: int = 2_000_000) -> Iterator[DetailCollector]:
    """The collector, attached."""
    collector = DetailCollector(ring_bytes, most)
    collector.open()
    try:
        yield collector
    finally:
        collector.close()


def filtered(scope: Scope, chosen: DetailFilter, budget_pct: float = 100.0) -> Scope:
    """The scope with a filter; by default detail mode may take a whole CPU, so that tests see every packet."""
    return Scope(
        namespaces=scope.namespaces, netns_paths=scope.netns_paths, warmup_ns=scope.warmup_ns, detail=chosen,
        detail_budget_pct=budget_pct,
    )  # fmt: skip


def stream_of(seen: Observation) -> DetailStream:
    assert seen.detail is not None
    return seen.detail


def count(stream: DetailStream, kind: Kind, host: str) -> int:
    """How many packets on the wire the host's records of this kind make up."""
    number = stream.hosts.index(host) + 1
    chosen = stream.events[(stream.events["kind"] == kind) & (stream.events["host"] == number)]
    return int(chosen["segments"].sum())


def flow_hash(stream: DetailStream, host: str, port: int, remote_port: int | None = None) -> int:
    """The hash of the one flow that this host sends from or to the port."""
    (found,) = (
        number for number, key in stream.flows.items()
        if key.host == host and port in {key.local_port, key.remote_port}
        and (remote_port is None or key.remote_port == remote_port)
    )  # fmt: skip
    return found


def busiest(followed: Followed) -> tuple[FlowKey, npt.NDArray[Any]]:
    """The flow with most packets, and these."""
    flows, counts = np.unique(followed.packets["flow"], return_counts=True)
    flow = int(flows[counts.argmax()])
    return followed.stream.flows[flow], followed.packets[followed.packets["flow"] == flow]


def followed_of(seen: Observation) -> Followed:
    return follow(stream_of(seen))


def nstat(pair: Pair, end: int) -> dict[str, int]:
    """The host's own counters, as nstat(8) reads them."""
    listing = json.loads(run("ip", "netns", "exec", pair.names[end], "nstat", "-asz", "-j"))
    return {name: int(value) for name, value in listing["kernel"].items()}


def interface(pair: Pair, end: int) -> dict[str, int]:
    """Packets that the host's device has sent and received, as ip(8) shows them."""
    (listing,) = json.loads(run("ip", "-n", pair.names[end], "-s", "-j", "link", "show", "dev", "eth0"))
    return {way: int(listing["stats64"][way]["packets"]) for way in ("tx", "rx")}


def talk(pair: Pair, messages: int, pause_s: float = 0.002) -> list[tuple[int, int]]:
    """Send stamped messages one after the other; give, for each, when send() was called and recv() had all of it."""
    sender, receiver = pair.connect()
    times: list[tuple[int, int]] = []

    def receive() -> None:
        for _ in range(messages):
            got = b""
            while len(got) < MESSAGE_BYTES:
                got += receiver.recv(MESSAGE_BYTES - len(got))
            times.append((_STAMP.unpack_from(got)[0], time.monotonic_ns()))

    with sender, receiver:
        reading = threading.Thread(target=receive)
        reading.start()
        for _ in range(messages):
            sender.sendall(_STAMP.pack(time.monotonic_ns()) + bytes(MESSAGE_BYTES - _STAMP.size))
            time.sleep(pause_s)
        reading.join()
    return times
