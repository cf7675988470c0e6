"""The data of detail mode in one trial: records of stations, as the kernel wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from perfcheck.model.flow import FlowKey

if TYPE_CHECKING:
    import numpy.typing as npt


class Kind(IntEnum):
    """What a record tells: `enum pc_kind_of_event` of bpf/detail.h; a unit test holds them alike."""

    FLOW_SOURCE = 1
    FLOW_TARGET = 2
    WRITE = 3
    TX_QUEUE = 4
    TX_NIC = 5
    RX_NIC = 6
    RX_IP = 7
    RX_TCP = 8
    READY = 9
    READ = 10
    RETRANSMIT = 11
    BUSY = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailFilter:
    """Whose packets detail mode follows, beside the lab's alone: None and () leave a condition out.

    `protocol` is the number in the IP header, `port` and `addresses` stand at either end.
    """

    protocol: int | None = None
    port: int | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetailStream:
    """Records of one trial in the order of time.

    `events` is an array of `struct pc_event` (bpf/detail.h). `hosts` are names by number, from 1.
    `flows` names the hash of each direction of a flow, its source as `local`. What counts was sent from
    `start_ns` to `end_ns` (CLOCK_MONOTONIC). `share` of all packets was followed all the time; `lost`
    records found no room in the ring, of `lost + written` in all. `filtered`: only some of the flows were asked for.
    """

    events: npt.NDArray[Any]
    hosts: tuple[str, ...]
    flows: Mapping[int, FlowKey]
    start_ns: int
    end_ns: int
    share: float = 1.0
    lost: int = 0
    written: int = 0
    told: tuple[str, ...] = ()
    filtered: bool = False
