"""The connections of a watch that carried the most: what they did, and what limited them."""

from __future__ import annotations

from typing import Final

import numpy as np

from perfcheck.live.bottleneck import HEALTHY, IDLE, bottlenecks
from perfcheck.live.bottleneck_advice import ADVICE
from perfcheck.live.connections import limits_of
from perfcheck.live.figures import again_pct
from perfcheck.live.flow_names import flow_texts, process_of
from perfcheck.live.short_values import ABSENT
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.units import format_value, whole_pct
from perfcheck.report.causes import words_of
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.shares import bars
from perfcheck.report.document import Block, Bullets, Cell, Figures, Paragraph, Table, Tone
from perfcheck.report.live.gathering import Gathering

MOST_ROWS: Final = 20
MOST_BARS: Final = 8
UNLIMITED: Final = frozenset({HEALTHY, IDLE})
_HEADINGS: Final = (
    "connection", "process", "sent", "received", "rate", "RTT, mean", "path", "queues", "retransmitted", "cwnd, segs",
    "limited by",
)  # fmt: skip


def flow_blocks(gathering: Gathering) -> tuple[Block, ...]:
    """Return the table of connections, what limited the time of the first of them, and advice on what did."""
    table = gathering.busiest.table(MOST_ROWS)
    if not len(table):
        return (Paragraph(text="No connection that passes the filters carried data."),)
    found = bottlenecks(table)
    names = found.names.tolist()
    rows = tuple(
        _row(table, row, f"{row + 1}. {_parted(name)}", _bottleneck(names[row], share))
        for row, (name, share) in enumerate(zip(flow_texts(table), found.shares_pct.tolist(), strict=True))
    )
    blocks: list[Block] = [
        Table(headings=_HEADINGS, rows=rows, numeric=frozenset(range(2, 10)), caption=_caption(gathering, len(table)))
    ]
    limits = _limits(table)
    if limits:
        labels = Labels(name="limits", title="What limited the sending of each: share of its time",
                        quantity="share of the time", unit="pct")  # fmt: skip
        blocks.append(Figures(charts=(bars(labels, limits),)))
    advice = tuple(f"{words_of(name)}: {text}" for name in dict.fromkeys(names) if (text := ADVICE.get(name)))
    if advice:
        blocks.append(Bullets(items=advice, tone=Tone.INFO))
    return tuple(blocks)


def _parted(flow: str) -> str:
    """Return a connection's name so that it wraps between its ends."""
    return flow.replace("->", " → ")


def _bottleneck(name: str, share_pct: float) -> str:
    return name if name in UNLIMITED else f"{words_of(name)} {whole_pct(share_pct)}"


def _caption(gathering: Gathering, shown: int) -> str:
    more = len(gathering.busiest) - shown
    parts = [f"the {shown} that carried the most"] if more > 0 or gathering.busiest.left_out else []
    if gathering.busiest.left_out:
        parts.append("each summed up from the interval on in which it first was among the busiest")
    return ", ".join(parts)


def _row(table: FlowTable, row: int, name: str, bottleneck: str) -> tuple[Cell, ...]:
    value = {each: float(table[each][row]) for each in _READ}
    seconds = value["elapsed_us"] / 1e6
    rate = 8 * max(value["bytes_acked"], value["bytes_received"]) / seconds if seconds else np.nan
    mean_us = value["rtt_mean_us"] if np.isfinite(value["rtt_mean_us"]) else value["srtt_us"]
    path_us = float(np.fmin(value["min_rtt_us"], value["rtt_min_us"]))
    again = again_pct(value["retrans_segs"], value["data_segs_out"])
    limited = bottleneck not in UNLIMITED
    texts = (
        process_of(table, row), format_value(value["bytes_acked"], "bytes"),
        format_value(value["bytes_received"], "bytes"), _shown(rate, "bps"), _shown(mean_us, "us"),
        _shown(path_us, "us"), _shown(mean_us - path_us, "us"), _shown(again, "pct"),
        _shown(value["cwnd_segs"], "segs"),
    )  # fmt: skip
    cells = [Cell(text=text) for text in (name, *texts)]
    return (*cells, Cell(text=bottleneck, tone=Tone.WARNING if limited else Tone.NEUTRAL))


_READ: Final = (
    "elapsed_us", "bytes_acked", "bytes_received", "rtt_mean_us", "srtt_us", "min_rtt_us", "rtt_min_us",
    "retrans_segs", "data_segs_out", "cwnd_segs",
)  # fmt: skip


def _shown(value: float, unit: str) -> str:
    return format_value(max(value, 0.0), unit) if np.isfinite(value) else ABSENT


def _limits(table: FlowTable) -> dict[str, dict[str, float]]:
    """Return the shares of the sending time of the first connections that sent, by what limited them."""
    places = np.flatnonzero(table["data_segs_out"] > 0)[:MOST_BARS].tolist()
    first = table.where(np.array(places, np.intp))
    limits = limits_of(first)
    return {
        f"{place + 1}. {process_of(first, row)}": {
            "congestion window or path": float(limits.cwnd[row]), "receive window": float(limits.rwnd[row]),
            "send buffer": float(limits.sndbuf[row]), "application": float(limits.app[row]),
        }
        for row, place in enumerate(places)
        if np.isfinite(limits.cwnd[row])
    }  # fmt: skip
