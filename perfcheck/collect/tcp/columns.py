"""From records of bpf/perfcheck.h to columns of a table: what `decode.socket_of` does, for thousands at once.

`Grown` holds what each record's counts were at the last look; what they grew by since is the interval's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.tcp import decode

Array = npt.NDArray[Any]
_CHRONOS: Final = ("busy", "rwnd_limited", "sndbuf_limited")
_OWN: Final = (
    "cookie", "netns", "family", "local_port", "remote_port", "cgroup", "ifindex", "passive", "last_ns",
)  # fmt: skip
_BYTES: Final = {"local": "V16", "remote": "V16", "comm": "S16", "congestion": "S16"}
"""Members that are arrays of single bytes, and what they are together."""
_LATEST: Final = (
    "rttvar_us", "cwnd_segs", "inflight_segs", "mss_bytes", "snd_wnd_bytes", "rcv_wnd_bytes", "sendq_bytes",
    "recvq_bytes", "sndbuf_bytes", "rcvbuf_bytes", "wmem_bytes", "rmem_bytes", "reordering_segs",
)  # fmt: skip
_SPREADS: Final = ("rtt", "cwnd", "inflight")


class Grown:
    """What the counts of all records were at the last look, by the records' numbers."""

    def __init__(self, records: int, jiffy_us: int) -> None:
        """Begin with no record known."""
        self._cookie = np.zeros(records, np.uint64)
        self._before: dict[str, Array] = {}
        self._jiffy_us = jiffy_us

    def known(self, rows: Array, cookies: Array) -> npt.NDArray[np.bool_]:
        """Return which of the records were the same connections' at the last look."""
        same: npt.NDArray[np.bool_] = self._cookie[rows] == cookies
        return same

    def since(self, rows: Array, records: Array, now_ns: int) -> dict[str, Array]:
        """Return by how much each count of the records (copies of the elements `rows`) grew since the last look."""
        same = self.known(rows, records["cookie"])
        grown: dict[str, Array] = {}
        for name, value in self._counted(records, now_ns):
            before = self._before.setdefault(name, np.zeros(len(self._cookie), np.int64))
            # Times that last while they are read may turn out shorter.
            grown[name] = np.maximum(value - np.where(same, before[rows], 0), 0)
            before[rows] = value
        self._cookie[rows] = records["cookie"]
        _add_up(grown)
        return grown

    def forget(self, rows: Array) -> None:
        """Know these records no more."""
        self._cookie[rows] = 0

    def _counted(self, records: Array, now_ns: int) -> Iterator[tuple[str, Array]]:
        """Yield each count as it is since its window opened, or since the connection began."""
        opened = records["in_window"] != 0
        now, base = records["now"], records["base"]
        chronos: dict[str, Array] = {}
        for name in now.dtype.names or ():
            if name.startswith(decode.PADDING):
                continue
            bits = 8 * now.dtype[name].itemsize
            counted = (now[name] - base[name]).astype(np.uint64)
            if bits < 64:
                counted &= np.uint64((1 << bits) - 1)
            value = np.where(opened, counted, 0).astype(np.int64)
            if name.endswith("_jiffies"):
                chronos[name.removesuffix("_jiffies")] = value * self._jiffy_us
            else:
                yield name, value
        yield from self._limits(records, chronos)
        for group in ("window_events", "whole_events"):
            for name in records.dtype[group].names or ():
                if not name.startswith(decode.PADDING):
                    yield name, records[group][name].astype(np.int64)
        yield "rto_events", records["state_entries"][:, decode.LOSS].astype(np.int64)
        yield "recovery_events", records["state_entries"][:, decode.RECOVERY].astype(np.int64)
        yield from _states(records, opened, now_ns)
        yield "elapsed_us", _elapsed_us(records, opened, now_ns)

    @staticmethod
    def _limits(records: Array, chronos: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        busy = sum((chronos[name] for name in _CHRONOS), np.zeros(len(records), np.int64))
        limited = ((records["sndbuf_ns"] + records["sndbuf_last_ns"]) // 1000).astype(np.int64)
        yield "busy_us", busy
        yield "rwnd_limited_us", chronos["rwnd_limited"]
        yield "sndbuf_limited_us", limited


def _elapsed_us(records: Array, opened: Array, now_ns: int) -> Array:
    until = _until_ns(records, now_ns)
    return np.where(opened, np.maximum(until - records["window_ns"].astype(np.int64), 0) // 1000, 0)


def _until_ns(records: Array, now_ns: int) -> Array:
    """Return up to when each is counted; one that closed after the look, before it was copied, has the rest next time.

    Otherwise it would have lived for longer than the interval is.
    """
    return np.where(records["closed"] != 0, np.minimum(records["end_ns"], np.uint64(now_ns)), now_ns).astype(np.int64)


def _states(records: Array, opened: Array, now_ns: int) -> Iterator[tuple[str, Array]]:
    until = _until_ns(records, now_ns)
    # Below 0 where the state changed after `now_ns`, before the record was copied: the state before has that time too
    # much, so that the sum is right, and the next look gives it back.
    lasting = until - records["state_since_ns"].astype(np.int64)
    for index, state in enumerate(decode.STATES):
        spent = records["state_ns"][:, index].astype(np.int64) + np.where(records["state"] == index, lasting, 0)
        yield f"state_{state}_us", np.where(opened, spent // 1000, 0)


def _add_up(grown: dict[str, Array]) -> None:
    """Keep the parts within the whole: jiffies tick in steps, and clocks are read one after the other."""
    elapsed = grown["elapsed_us"]
    grown["busy_us"] = np.minimum(grown["busy_us"], elapsed)
    grown["rwnd_limited_us"] = np.minimum(grown["rwnd_limited_us"], grown["busy_us"])
    grown["sndbuf_limited_us"] = np.minimum(grown["sndbuf_limited_us"], grown["busy_us"] - grown["rwnd_limited_us"])
    left = elapsed.copy()
    for state in decode.STATES:
        name = f"state_{state}_us"
        grown[name] = np.minimum(grown[name], left)
        left -= grown[name]


def identity(records: Array) -> dict[str, Array]:
    """Return whose the records are."""
    made = {name: records[name] for name in _OWN}
    made["passive"] = records["passive"] != 0
    for name, kind in _BYTES.items():
        made[name] = np.ascontiguousarray(records[name]).view(kind).reshape(len(records))
    begun = (records["syn_ns"] != 0) | (records["passive"] != 0)
    made["established_ns"] = np.where(begun, records["established_ns"], 0)
    made["pid"] = records["tgid"]
    return made


def totals(records: Array) -> dict[str, Array]:
    """Return what was counted since each connection began."""
    now = records["now"]
    # An active open's SYN took a sequence number, which the kernel counts as a byte acknowledged.
    syn = (records["syn_ns"] != 0) & (records["established_ns"] != 0) & (now["bytes_acked"] > 0)
    return {
        "total_bytes_acked": now["bytes_acked"] - syn, "total_bytes_received": now["bytes_received"],
        "total_retrans_segs": now["retrans_segs"], "total_segs_out": now["segs_out"],
        "total_data_segs_out": now["data_segs_out"],
    }  # fmt: skip


def latest(records: Array) -> dict[str, Array]:
    """Return the gauges at the latest look; NaN where there is no value."""
    made = {name: records[name].astype(np.float64) for name in _LATEST}
    made["srtt_us"] = _present(records["srtt_us"], records["srtt_us"] != 0)
    made["min_rtt_us"] = _present(
        records["min_rtt_us"], (records["min_rtt_us"] != 0) & (records["min_rtt_us"] != decode.NO_VALUE)
    )
    ssthresh = records["ssthresh_segs"]
    made["ssthresh_segs"] = np.where(ssthresh >= decode.INFINITE_SSTHRESH, 0, ssthresh).astype(np.float64)
    connected = (records["syn_ns"] != 0) & (records["established_ns"] != 0)
    made["handshake_us"] = _present(records["handshake_us"], connected)
    with np.errstate(divide="ignore", invalid="ignore"):
        made["pacing_rate_bps"] = _present(
            records["pacing_total"] / records["pacing_samples"] * 8, records["pacing_samples"] != 0
        )
        bits = records["rate_delivered_segs"].astype(np.float64) * records["mss_bytes"] * 8
        made["delivery_rate_bps"] = _present(bits * 1e6 / records["rate_interval_us"], records["rate_interval_us"] != 0)
    return made


def _present(values: Array, where: Array) -> Array:
    return np.where(where, values, np.nan)
