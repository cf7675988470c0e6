"""Connections of one interval as columns: with thousands of them an object each would cost more than measuring.

`COLUMNS` declares each column. Integers are counts of the interval unless said otherwise; floats are NaN where there is
no value. A table from sock_diag lacks what only BPF programs see: NaN, or 0 for counts (`Interval.lacks` says which).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow import FlowKey, Protocol

AF_INET: Final = 2
_MAPPED: Final = bytes(10) + b"\xff\xff" + bytes(4)
_ADDRESS: Final = np.dtype("V16")
_NAME: Final = np.dtype("S16")
_COUNT: Final = np.dtype("u8")
_VALUE: Final = np.dtype("f8")

IDENTITY: Final[Mapping[str, np.dtype[Any]]] = {
    "cookie": np.dtype("u8"), "netns": np.dtype("u4"), "family": np.dtype("u2"), "local": _ADDRESS,
    "local_port": np.dtype("u2"), "remote": _ADDRESS, "remote_port": np.dtype("u2"), "pid": np.dtype("u4"),
    "comm": _NAME, "cgroup": np.dtype("u8"), "ifindex": np.dtype("u4"), "passive": np.dtype("?"),
    "closed": np.dtype("?"), "congestion": _NAME, "established_ns": np.dtype("u8"), "last_ns": np.dtype("u8"),
}  # fmt: skip
"""Whose a row is. `netns` is the namespace's inode, `local` and `remote` the kernel's bytes (IPv4: the first four).

`pid` 0: the process is not known. `cgroup` is the number of the socket's cgroup. `closed`: the connection ended in this
interval, and will not be in the next. `established_ns` 0: it was there before. `last_ns`: when a segment last came.
"""
COUNTS: Final = (
    "bytes_acked", "bytes_received", "segs_out", "data_segs_out", "retrans_segs", "lost_segs", "delivered_segs",
    "delivered_ce_segs", "dsack_dups_segs", "reord_seen_events", "ooo_segs", "busy_us", "rwnd_limited_us",
    "sndbuf_limited_us", "elapsed_us", "state_open_us", "state_disorder_us", "state_cwr_us", "state_recovery_us",
    "state_loss_us", "retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs", "retrans_syn_segs", "rto_events",
    "recovery_events", "resets", "resets_late", "resets_sent", "rtt_count",
)  # fmt: skip
"""Counted in the interval, as `TcpSocket.counters` (collect/tcp/collector.py); `rtt_count` are samples of RTT."""
TOTALS: Final = (
    "total_bytes_acked",
    "total_bytes_received",
    "total_retrans_segs",
    "total_segs_out",
    "total_data_segs_out",
)
"""Counted since the connection began."""
VALUES: Final = (
    "rtt_mean_us", "rtt_min_us", "rtt_max_us", "rtt_p50_us", "rtt_p90_us", "rtt_p99_us", "srtt_us", "min_rtt_us",
    "rttvar_us", "handshake_us", "cwnd_segs", "cwnd_min_segs", "cwnd_max_segs", "ssthresh_segs", "inflight_segs",
    "inflight_mean_segs", "inflight_max_segs", "mss_bytes", "snd_wnd_bytes", "rcv_wnd_bytes", "pacing_rate_bps",
    "delivery_rate_bps", "sendq_bytes", "recvq_bytes", "sndbuf_bytes", "rcvbuf_bytes", "wmem_bytes", "rmem_bytes",
    "reordering_segs", "send_bps", "receive_bps",
)  # fmt: skip
"""`rtt_*`, `cwnd_m*`, `inflight_m*` are of the interval's samples, and so are `send_bps` (acknowledged payload) and
`receive_bps`; the others are the latest. `ssthresh_segs` 0: never set. `wmem_bytes`, `rmem_bytes` are memory in use of
`sndbuf_bytes` and `rcvbuf_bytes`; `sendq_bytes`, `recvq_bytes` data as ss(8) shows them."""
COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    **IDENTITY, **dict.fromkeys((*COUNTS, *TOTALS), _COUNT), **dict.fromkeys(VALUES, _VALUE)
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlowTable:
    """Connections of one interval; every column of `COLUMNS` is there, all of one length.

    `hosts` names network namespaces by inode; the machine's own has the name "".
    """

    columns: Mapping[str, npt.NDArray[Any]]
    hosts: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, rows: int = 0, hosts: Mapping[int, str] | None = None) -> FlowTable:
        """Return a table whose counts are 0 and whose values are absent."""
        made = {name: np.zeros(rows, kind) for name, kind in COLUMNS.items()}
        for name in VALUES:
            made[name][:] = np.nan
        return cls(columns=made, hosts=hosts or {})

    @classmethod
    def of(cls, columns: Mapping[str, npt.NDArray[Any]], hosts: Mapping[int, str]) -> FlowTable:
        """Return a table of these columns in their declared types: missing ones are 0 or absent, others left out."""
        rows = len(columns["cookie"])
        empty = cls.empty(rows, hosts)
        made = {
            name: np.asarray(columns[name]).astype(kind, copy=False) if name in columns else empty.columns[name]
            for name, kind in COLUMNS.items()
        }
        return cls(columns=made, hosts=hosts)

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self.columns["cookie"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return a column."""
        return self.columns[name]

    def where(self, chosen: npt.NDArray[Any]) -> FlowTable:
        """Return the rows of a mask, or of an array of indexes, in its order."""
        return FlowTable(columns={name: column[chosen] for name, column in self.columns.items()}, hosts=self.hosts)

    def key(self, row: int) -> FlowKey:
        """Return whose a row is, from its socket's side."""
        family = int(self.columns["family"][row])
        netns = int(self.columns["netns"][row])
        return FlowKey(
            protocol=Protocol.TCP, host=self.hosts.get(netns, f"netns:{netns}"),
            local=address_of(family, bytes(self.columns["local"][row])),
            local_port=int(self.columns["local_port"][row]),
            remote=address_of(family, bytes(self.columns["remote"][row])),
            remote_port=int(self.columns["remote_port"][row]),
        )  # fmt: skip

    def keys(self) -> Iterator[FlowKey]:
        """Yield whose each row is."""
        return map(self.key, range(len(self)))

    def ends(self) -> npt.NDArray[Any]:
        """Return each row's addresses and ports, local end first: an IPv4 address has one form in both families."""
        made = np.zeros(len(self), np.dtype([("local", "V18"), ("remote", "V18")]))
        for end in ("local", "remote"):
            raw = np.ascontiguousarray(self.columns[end]).view("u1").reshape(len(self), 16)
            plain = raw.copy()
            ipv4 = self.columns["family"] == AF_INET
            plain[ipv4] = np.frombuffer(_MAPPED, "u1")
            plain[ipv4, 12:] = raw[ipv4, :4]
            ports = self.columns[f"{end}_port"].astype(">u2").view("u1").reshape(len(self), 2)
            made[end] = np.ascontiguousarray(np.concatenate([plain, ports], axis=1)).view("V18").reshape(len(self))
        return made

    def text(self, name: str, row: int) -> str:
        """Return a name's column (`comm`, `congestion`) as text; it may hold any byte but 0."""
        return bytes(self.columns[name][row]).decode(errors="replace")


def address_of(family: int, raw: bytes) -> str:
    """Return the text of an address of 16 bytes (IPv4: the first four); an IPv4 address mapped into IPv6 is IPv4."""
    if family == AF_INET:
        return str(ipaddress.IPv4Address(raw[:4]))
    ip = ipaddress.IPv6Address(raw)
    return str(ip.ipv4_mapped or ip)
