"""The rows of the table: connections of a frame, or groups of them, as arrays; texts are made for the shown ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.bottleneck import HEALTHY, IDLE, NAMES
from perfcheck.live.flow_names import end_text, process_of
from perfcheck.live.grouping import GroupBy, Groups, group
from perfcheck.model.flow_table import FlowTable, address_of
from perfcheck.screen.frame import Frame, Keys, series
from perfcheck.screen.framing import RTT

Values = npt.NDArray[Any]
_KEPT_GROUPS: Final = 80
_COMMON: Final = frozenset({IDLE, HEALTHY})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """What can be sorted and shown. `values` are arrays by column; `text` gives a row's text of a column of texts.

    `past` gives a column of some rows over the recent intervals, a row each. `row_of_flow` of a group is the
    connection that carries the most.
    """

    by: GroupBy
    keys: Keys
    values: Mapping[str, Values]
    text: Callable[[str, int], str]
    past: Callable[[str, Sequence[int]], npt.NDArray[np.float32]]
    row_of_flow: npt.NDArray[np.intp]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.keys)


def flow_rows(frame: Frame, recent: Sequence[Frame]) -> Rows:
    """Return the connections of a frame; `recent` are the frames up to it, for its past."""
    flows = frame.flows

    def past(name: str, rows: Sequence[int]) -> npt.NDArray[np.float32]:
        return series(recent, frame.keys[np.asarray(rows, np.intp)], name)

    return Rows(
        by=GroupBy.CONNECTION, keys=frame.keys, values=_flow_values(frame),
        text=lambda name, row: flow_text_of(flows, name, row), past=past, row_of_flow=np.arange(len(flows)),
    )  # fmt: skip


def flow_text_of(flows: FlowTable, name: str, row: int) -> str:
    """Return a text of a connection: its remote or local end, process, namespace or congestion control."""
    match name:
        case "remote" | "local":
            address = address_of(int(flows["family"][row]), bytes(flows[name][row]))
            return end_text(address, int(flows[f"{name}_port"][row]))
        case "process":
            return process_of(flows, row)
        case "netns":
            netns = int(flows["netns"][row])
            return flows.hosts.get(netns, f"netns:{netns}")
    return flows.text(name, row)


def _flow_values(frame: Frame) -> dict[str, Values]:
    flows = frame.flows
    with np.errstate(divide="ignore", invalid="ignore"):
        window = 100 * flows["inflight_segs"] / flows["cwnd_segs"]
    return {
        "send_bps": flows["send_bps"], "receive_bps": flows["receive_bps"], RTT: flows[RTT],
        "rtt_p99_us": flows["rtt_p99_us"], "min_rtt_us": flows["min_rtt_us"], "cwnd_segs": flows["cwnd_segs"],
        "window_pct": np.clip(window, 0, 100), "retrans_segs": flows["retrans_segs"],
        "sendq_bytes": flows["sendq_bytes"], "recvq_bytes": flows["recvq_bytes"], "limit": frame.limits,
        "limit_pct": frame.limit_pct, "closed": flows["closed"], "pid": flows["pid"], "comm": flows["comm"],
        "remote": flows.ends()["remote"], "remote_port": flows["remote_port"], "local_port": flows["local_port"],
        "netns": flows["netns"],
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grouped:
    """A frame's groups, with what their past needs."""

    labels: tuple[str, ...]
    keys: Keys
    values: Mapping[str, Values]
    example: npt.NDArray[np.intp]
    place: Mapping[int, int]


class GroupHistory:
    """Groups of the frames that were lately asked for: each frame is grouped once."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: OrderedDict[tuple[int, int, GroupBy], _Grouped] = OrderedDict()

    def rows(self, frame: Frame, recent: Sequence[Frame], by: GroupBy) -> Rows:
        """Return the groups of a frame."""
        now = self._of(frame, by)
        parts = [self._of(each, by) for each in recent]

        def past(name: str, rows: Sequence[int]) -> npt.NDArray[np.float32]:
            found = np.full((len(rows), len(parts)), np.nan, np.float32)
            for line, row in enumerate(rows):
                key = int(now.keys[row])
                for column, part in enumerate(parts):
                    if (place := part.place.get(key)) is not None:
                        found[line, column] = part.values[name][place]
            return found

        return Rows(
            by=by, keys=now.keys, values=now.values, text=lambda _name, row: now.labels[row], past=past,
            row_of_flow=now.example,
        )  # fmt: skip

    def _of(self, frame: Frame, by: GroupBy) -> _Grouped:
        whose = (frame.index, frame.begin_ns, by)
        found = self._kept.pop(whose, None) or _grouped(frame, by)
        self._kept[whose] = found
        while len(self._kept) > _KEPT_GROUPS:
            self._kept.popitem(last=False)
        return found


def _grouped(frame: Frame, by: GroupBy) -> _Grouped:
    groups = group(frame.flows, by)
    codes, shares = _common_limits(groups, frame)
    keys = np.array([_key_of(label) for label in groups.labels], np.uint64)
    rtt, cwnd = groups.percentiles["rtt_us"], groups.percentiles["cwnd_segs"]
    values: dict[str, Values] = {
        "connections": groups.connections.astype(np.float32), "send_bps": groups.sums["send_bps"],
        "receive_bps": groups.sums["receive_bps"], RTT: rtt[:, 0], "rtt_p99_us": rtt[:, 2], "cwnd_segs": cwnd[:, 0],
        "retrans_segs": groups.sums["retrans_segs"], "sendq_bytes": groups.sums["sendq_bytes"],
        "recvq_bytes": groups.sums["recvq_bytes"], "limit": codes, "limit_pct": shares,
        "closed": groups.closed >= groups.connections,
    }  # fmt: skip
    place = {int(key): number for number, key in enumerate(keys.tolist())}
    return _Grouped(labels=groups.labels, keys=keys, values=values, example=groups.example, place=place)


def _key_of(label: str) -> int:
    return int.from_bytes(blake2b(label.encode(errors="surrogatepass"), digest_size=8).digest())


def _common_limits(groups: Groups, frame: Frame) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return each group's most frequent bottleneck, and its share of the connections; idle ones count last."""
    number = len(NAMES)
    counts = np.bincount(groups.index * number + frame.limits, minlength=len(groups) * number)
    counts = counts.reshape(len(groups), number)[: len(groups)]
    weighed = counts.astype(np.float64)
    for code, name in enumerate(NAMES):
        if name in _COMMON:
            weighed[:, code] *= 1e-6 if name == HEALTHY else 1e-12
    codes = weighed.argmax(axis=1) if len(groups) else np.zeros(0, np.intp)
    shares = 100 * counts[np.arange(len(groups)), codes] / np.maximum(groups.connections, 1)
    return codes.astype(np.int8), shares.astype(np.float32)
