"""What `perfctl tcp` asks of a table of connections: which come first, what limited them, which pass a trigger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow_table import FlowTable
from perfcheck.model.units import whole_pct

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """The shares of each connection's time that something limited its sending, in percent; NaN without any time.

    `app` is the time in which nothing was left to send, `cwnd` what remains: the network set the pace.
    """

    rwnd: Floats
    sndbuf: Floats
    cwnd: Floats
    app: Floats


def limits_of(table: FlowTable) -> Limits:
    """Return what limited each connection; as in analyse/tcp.py, the parts never exceed the time."""
    elapsed = table["elapsed_us"].astype(np.float64)
    rwnd, sndbuf, busy = (
        _share(table[name], elapsed) for name in ("rwnd_limited_us", "sndbuf_limited_us", "busy_us")
    )  # fmt: skip
    sndbuf = np.minimum(sndbuf, 100.0 - rwnd)
    busy = np.maximum(busy, rwnd + sndbuf)
    return Limits(rwnd=rwnd, sndbuf=sndbuf, cwnd=busy - rwnd - sndbuf, app=100.0 - busy)


def _share(part: npt.NDArray[np.uint64], whole: Floats) -> Floats:
    share = np.full(len(whole), np.nan)
    there = whole > 0
    share[there] = np.minimum(100.0, 100.0 * part[there].astype(np.float64) / whole[there])
    return share


def with_rates_of(table: FlowTable, seconds: float) -> FlowTable:
    """Return connections of an interval with rates over the whole of it, so that they add up to the machine's.

    In the table itself, rates are those of the time that a connection was there.
    """
    seconds = max(seconds, 1e-9)
    rates = {"send_bps": table["bytes_acked"] * 8 / seconds, "receive_bps": table["bytes_received"] * 8 / seconds}
    return FlowTable(columns={**table.columns, **rates}, hosts=table.hosts)


def bytes_of(table: FlowTable) -> Floats:
    """Return the payload that each connection carried in the interval, both ways."""
    carried: Floats = table["bytes_acked"].astype(np.float64) + table["bytes_received"].astype(np.float64)
    return carried


def active_rows(table: FlowTable) -> npt.NDArray[np.intp]:
    """Return the connections that carried data in the interval or ended in it."""
    sent = (table["data_segs_out"] > 0) | (table["retrans_segs"] > 0)
    return np.flatnonzero((bytes_of(table) > 0) | sent | table["closed"])


def largest(values: Floats, most: int) -> npt.NDArray[np.intp]:
    """Return the places of the largest values, the largest first, ties in their order; NaN is last."""
    ranked = np.where(np.isnan(values), -np.inf, values)
    if len(ranked) > most:
        # Without sorting all of them; those as large as the last one chosen must not be chosen at random.
        bound = np.partition(ranked, len(ranked) - most)[len(ranked) - most]
        places = np.flatnonzero(ranked >= bound)
    else:
        places = np.arange(len(ranked))
    return places[np.argsort(-ranked[places], kind="stable")][:most]


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """What makes `--event-mode ebpf` tell a connection; a retransmission does where nothing else is asked."""

    rwnd_limited_above_pct: float | None = None
    cwnd_below_segs: float | None = None

    def met(self, table: FlowTable) -> npt.NDArray[np.intp]:
        """Return the rows that pass any trigger."""
        return np.flatnonzero(np.any([mask for _, mask in self._masks(table)], axis=0))

    def reasons(self, table: FlowTable, row: int) -> str:
        """Return which triggers a row passes, with its values."""
        one = table.where(np.array([row]))
        return "; ".join(text for text, mask in self._masks(one) if mask[0])

    def _masks(self, table: FlowTable) -> list[tuple[str, npt.NDArray[np.bool_]]]:
        retransmitted = table["retrans_segs"]
        masks = [(f"{_first(retransmitted):.0f} retransmitted", retransmitted > 0)]
        if self.rwnd_limited_above_pct is not None:
            share = _share(table["rwnd_limited_us"], table["busy_us"].astype(np.float64))
            above = f"(above {self.rwnd_limited_above_pct:g} %)"
            masks.append(
                (f"receive window limits {whole_pct(_first(share))} of its busy time {above}",
                 share > self.rwnd_limited_above_pct)
            )  # fmt: skip
        if self.cwnd_below_segs is not None:
            window = np.fmin(table["cwnd_min_segs"], table["cwnd_segs"])
            masks.append(
                (f"cwnd {_first(window):.0f} segments (below {self.cwnd_below_segs:g})", window < self.cwnd_below_segs)
            )
        return masks


def _first(values: npt.NDArray[np.uint64] | Floats) -> float:
    return float(values[0]) if len(values) else 0.0
