"""The tables of `perfctl tcp`: one row a connection or a group; only the rows that are shown become texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.cli.perfctl.columns import Column, percent
from perfcheck.live.connections import limits_of
from perfcheck.live.flow_names import flow_texts, process_of
from perfcheck.live.grouping import Groups, rtt_of
from perfcheck.live.short_values import ABSENT, short
from perfcheck.model.flow_table import FlowTable

_NS_A_SECOND: Final = 1e9


def connection_columns(rows: FlowTable, extra: Sequence[Column] = ()) -> tuple[Column, ...]:
    """Return the columns of connections, all of which are shown; `extra` come last."""
    limits = limits_of(rows)
    limited = [
        "/".join(map(percent, parts)) if not np.isnan(parts[0]) else ABSENT
        for parts in zip(limits.rwnd.tolist(), limits.sndbuf.tolist(), limits.app.tolist(), strict=True)
    ]
    return (
        Column(heading="LOCAL -> REMOTE", rank=0, cells=flow_texts(rows), is_text=True, shrinks=True),
        Column(heading="PROCESS", rank=7, cells=[process_of(rows, row) for row in range(len(rows))], is_text=True),
        _values("SEND bit/s", 1, rows["send_bps"], "bps"),
        _values("RECV bit/s", 5, rows["receive_bps"], "bps"),
        _values("RTT", 2, rtt_of(rows), "us"),
        _values("RTT p99", 8, rows["rtt_p99_us"], "us"),
        _values("RTT min", 14, rows["min_rtt_us"], "us"),
        _values("CWND", 6, rows["cwnd_segs"], "count"),
        Column(heading="SSTHRESH", rank=15, cells=_thresholds(rows["ssthresh_segs"])),
        _values("INFLIGHT", 12, rows["inflight_segs"], "count"),
        _values("RETRANS", 4, rows["retrans_segs"].astype(np.float64), "count"),
        Column(heading="RWND/SNDBUF/APP %", rank=9, cells=limited),
        _values("RWND", 13, rows["snd_wnd_bytes"], "bytes"),
        _values("SEND-Q", 10, rows["sendq_bytes"], "bytes"),
        _values("RECV-Q", 11, rows["recvq_bytes"], "bytes"),
        _use("SNDBUF", 16, rows["wmem_bytes"], rows["sndbuf_bytes"]),
        _use("RCVBUF", 17, rows["rmem_bytes"], rows["rcvbuf_bytes"]),
        *extra,
    )  # fmt: skip


def group_columns(
    groups: Groups, chosen: npt.NDArray[np.intp], extra: Sequence[Column] = ()
) -> tuple[Column, ...]:  # fmt: skip
    """Return the columns of these groups."""
    sums = groups.sums
    return (
        Column(heading="GROUP", rank=0, cells=[groups.labels[number] for number in chosen], is_text=True,
               shrinks=True),
        _values("CONNECTIONS", 3, groups.connections[chosen].astype(np.float64), "count"),
        _values("SEND bit/s", 1, sums["send_bps"][chosen], "bps"),
        _values("RECV bit/s", 4, sums["receive_bps"][chosen], "bps"),
        _values("RETRANS", 5, sums["retrans_segs"][chosen].astype(np.float64), "count"),
        _spread("RTT p50/p90/p99", 2, groups.percentiles["rtt_us"][chosen], "us"),
        _spread("CWND p50/p90/p99", 6, groups.percentiles["cwnd_segs"][chosen], "count"),
        _spread("SEND p50/p90/p99", 7, groups.percentiles["send_bps"][chosen], "bps"),
        _values("SEND-Q", 8, sums["sendq_bytes"][chosen], "bytes"),
        _values("RECV-Q", 9, sums["recvq_bytes"][chosen], "bytes"),
        *extra,
    )  # fmt: skip


def closed_columns(rows: FlowTable) -> tuple[Column, ...]:
    """Return what each of these connections did from its begin to its end."""
    lasted = (rows["last_ns"].astype(np.float64) - rows["established_ns"]) / 1e3
    known = (rows["established_ns"] > 0) & (lasted >= 0)
    return (
        Column(heading="CLOSED", rank=0, cells=flow_texts(rows), is_text=True, shrinks=True),
        Column(heading="PROCESS", rank=5, cells=[process_of(rows, row) for row in range(len(rows))], is_text=True),
        _values("LASTED", 3, np.where(known, lasted, np.nan), "us"),
        _values("SENT", 1, rows["total_bytes_acked"].astype(np.float64), "bytes"),
        _values("RECEIVED", 2, rows["total_bytes_received"].astype(np.float64), "bytes"),
        Column(heading="RETRANS", rank=4, cells=[
            f"{again:,} of {segments:,}" if again else "0"
            for again, segments in zip(
                rows["total_retrans_segs"].tolist(), rows["total_data_segs_out"].tolist(), strict=True)
        ]),
    )  # fmt: skip


def _values(heading: str, rank: int, values: npt.NDArray[np.float64], unit: str) -> Column:
    return Column(heading=heading, rank=rank, cells=[short(value, unit) for value in values.tolist()])


def _spread(heading: str, rank: int, values: npt.NDArray[np.float64], unit: str) -> Column:
    return Column(
        heading=heading, rank=rank,
        cells=[
            ABSENT if np.isnan(row[0]) else "/".join(short(value, unit) for value in row) for row in values.tolist()
        ],
    )  # fmt: skip


def _use(heading: str, rank: int, used: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> Column:
    return Column(
        heading=heading, rank=rank,
        cells=[
            ABSENT if np.isnan(whole) else f"{short(part, 'bytes')}/{short(whole, 'bytes')}"
            for part, whole in zip(used.tolist(), size.tolist(), strict=True)
        ],
    )  # fmt: skip


def _thresholds(values: npt.NDArray[np.float64]) -> list[str]:
    """Return slow start's threshold; the kernel's infinite one, and 0, were never set."""
    return [ABSENT if not 0 < value < 2**31 - 1 else short(value, "count") for value in values.tolist()]
