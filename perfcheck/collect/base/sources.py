"""Which files of bpf/ are compiled as one text: small enough to be compiled side by side, few enough to be worth it.

A text that does nothing takes some 30 ms, so that there are as many as keep two CPUs busy alike. What belongs to one
layer stays together. Imports nothing, so that compilation can begin before anything else does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

Group = tuple[str, ...]

TCP: Final[Group] = ("tcp.bpf.c",)
TRAFFIC: Final[Group] = ("scope.bpf.c", "socket.bpf.c", "ip.bpf.c", "qdisc.bpf.c", "drops.bpf.c")
MACHINE: Final[Group] = ("scope.bpf.c", "nic.bpf.c", "cpu.bpf.c")
TIMES: Final[Group] = ("scope.bpf.c", "times.bpf.c")
"""Of use where the kernel traces functions."""
DETAIL: Final[Group] = ("scope.bpf.c", "detail.bpf.c", "packets.bpf.c", "streams.bpf.c", "anomalies.bpf.c")

_LAYERS: Final[tuple[tuple[Group, frozenset[str]], ...]] = (
    (TCP, frozenset({"tcp"})),
    (TRAFFIC, frozenset({"socket", "udp", "ip", "qdisc", "nic"})),
    (MACHINE, frozenset({"nic", "cpu"})),
)


def groups(layers: Literal["all"] | Collection[str], mode: str) -> tuple[Group, ...]:
    """Return what these layers need in a mode, without the optional times of functions."""
    wanted = [group for group, serves in _LAYERS if layers == "all" or not serves.isdisjoint(layers)]
    if mode == "detail":
        wanted = [group for group in wanted if group == TCP]
    return (*wanted, *([DETAIL] if mode != "summary" else []))
