"""From the metrics of the catalogue to families of Prometheus: base units, `_total`, and one name for one thing; pure.

    tcp.rtt_us.p99       perfctl_tcp_rtt_seconds (histogram)           perfcheck_tcp_rtt_seconds{stat="p99"}
    tcp.retrans_rto_segs perfctl_tcp_retransmissions_total{kind="rto"} perfcheck_tcp_retransmissions{kind="rto"}
    qdisc.drops_full     perfctl_drops_total{layer,reason="full"}      perfcheck_drops{layer,reason="full"}
    cpu.busy_pct         perfctl_cpu_busy_ratio                        perfcheck_cpu_busy_ratio
    app.redis_get_us     (of an application)                           perfcheck_app_redis_get_seconds
    app.errors_count     (app.errors is perfcheck's)                   perfcheck_own_errors_in_number

A live machine's counts of an interval become counters over the whole run; what records hold is of one run: gauges.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from perfcheck.export.family import LIVE, RECORDS, Family, Kind, Place
from perfcheck.live.whole import NUMBERS_NOW, SUMMED_TIMES
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import STATS, MetricSpec

HISTOGRAMS: Final = frozenset({
    "tcp.rtt_us", "tcp.srtt_us", "tcp.cwnd_segs", "tcp.inflight_segs", "tcp.handshake_us", "ip.route_lookup_us",
    "ip.conntrack_us", "qdisc.depth_packets", "qdisc.depth_bytes", "qdisc.sojourn_us", "nic.rx_softirq_delay_us",
    "nic.rx_softirq_run_us", "nic.tx_softirq_delay_us", "nic.tx_softirq_run_us", "nic.napi_work_packets",
    "cpu.runq_delay_us",
})  # fmt: skip
"""Quantities whose distribution a live interval has: their stats are read from the histogram's buckets."""
BY_INTERFACE: Final = frozenset({
    "qdisc.packets", "qdisc.drops", "qdisc.overlimits", "qdisc.requeues", "qdisc.drop_pct",
})  # fmt: skip
"""Metrics that a live interval has of each interface; their series have the label `interface`."""
RETRANSMISSIONS: Final = ("fast", "rto", "tlp", "syn")
"""Kinds of retransmissions, as the label `kind` names them."""

_UNITS: Final = {
    "us": ("seconds", 1e-6), "ms": ("seconds", 1e-3), "ns": ("seconds", 1e-9), "s": ("seconds", 1.0),
    "bytes": ("bytes", 1.0), "bps": ("bytes_per_second", 1 / 8), "pct": ("ratio", 1 / 100), "ratio": ("ratio", 1.0),
    "per_s": ("per_second", 1.0), "segs": ("segments", 1.0), "packets": ("packets", 1.0),
}  # fmt: skip
"""The unit of the catalogue, which names end with, to the base unit and the factor."""
_UNIT_ENDINGS: Final = tuple({f"_{unit}" for unit, _ in _UNITS.values()})
_UNNAMED: Final = frozenset({"count", "events", "insns"})
"""Units that are no ending of a name."""
_WORDS: Final = MappingProxyType({"segs": "segments", "insns": "instructions"})
_COUNTED: Final = frozenset({"count", "events", "segs"})
_NOW: Final = NUMBERS_NOW | {"tcp.connections"}
"""Counts of what there is, not of what happened."""
_LARGEST: Final = frozenset({"tcp.reordering_segs", "tcp.ssthresh_segs"})
"""Of segments, but no number of those that were sent."""
_DROPS: Final = re.compile(r"(socket|ip|qdisc|nic)\.drops_(\w+)")
_KINDS: Final = re.compile(rf"tcp\.retrans_({'|'.join(RETRANSMISSIONS)})_segs")
_STAT_WORDS: Final = re.compile(
    r", (p\d+|median|[\d.]+th percentile|mean|smallest|largest|min|max)(?=( \(whole machine\))?$)"
)
_WARM_UP: Final = re.compile(r",? (warm-up included|after the warm-up)|(?<=, )warm-up and ")

_HUNDRED: Final = re.compile(r"\b100 times|\b100\b")
"""In the meaning of a percentage, which is told as a ratio."""

_BY_GENERATORS: Final = "only a traffic generator knows it; a live machine has none of perfcheck's"
_OF_THE_LAB: Final = "it belongs to the emulated links of a lab"
_NOT_IN_INTERVALS: Final = "a live interval does not have it: the programs that would see it run in trials alone"
_FOLLOWED: Final = "packets have to be followed through the kernel: `perfctl latency` does that"
_GUEST: Final = "it is counted in a guest of the kernel lab"
_NEEDS_SCENARIO: Final = "it needs a scenario, which says what the path or the entries are"
_MEANINGS: Final = MappingProxyType({
    "app.throughput_bps": "payload acknowledged or received, of each connection once",
    "tcp.connections": "connections that were seen in the interval",
    "tcp.min_rtt_us": "smallest RTT of any connection that sends, as TCP keeps it",
    "tcp.rtt_inflation_ratio": "median RTT over minimum RTT",
    "tcp.queue_delay_us": "median RTT minus minimum RTT: standing queue",
    "tcp.delivery_rate_bps": "rate at which data is acknowledged, all flows that send",
    "tcp.bdp_bytes": "bandwidth-delay product: delivery rate times minimum RTT",
})  # fmt: skip
"""What metrics mean on a live machine, where the catalogue speaks of a lab."""
_COLLECTORS: Final = frozenset({"tcp", "socket", "host", "drops", "routes", "route times", "netlink", "conntrack",
                                "conntrack times", "ovs", "qdisc", "nic", "machine", "cpu"})  # fmt: skip
_SCENARIO_ONLY: Final = frozenset({"tcp.inflight_share_pct", "tcp.bdp_use_pct"})
_TRIALS_ONLY: Final = (
    "tcp.slow_start_rtt_us", "socket.snd_use_pct", "socket.rcv_use_pct", "socket.sendq_bytes", "socket.recvq_bytes",
    "socket.sndbuf_bytes", "socket.rcvbuf_bytes", "socket.drops",
)  # fmt: skip
_LIVE_STAND_INS: Final = frozenset({"app.throughput_bps"})
"""What the kernel sees in place of what a generator reports."""


def not_live(metric: str) -> str | None:
    """Return why a metric of the catalogue has no family of live machines; None where it has one."""
    spec = CATALOGUE[metric]
    base, _ = split(metric)
    if metric in _LIVE_STAND_INS:
        return None
    if metric.startswith("cpu.emulator_") or "link" in spec.needs:
        return _OF_THE_LAB
    if "guest" in spec.needs:
        return _GUEST
    if "detail" in spec.needs:
        return _FOLLOWED
    if base in _TRIALS_ONLY:
        return _NOT_IN_INTERVALS
    if metric in _SCENARIO_ONLY:
        return _NEEDS_SCENARIO
    return None if set(spec.needs) & _COLLECTORS else _BY_GENERATORS


@functools.cache
def live_place(metric: str) -> Place | None:
    """Return where a metric of a live interval goes; None where it has no family (`not_live` says why)."""
    if metric not in CATALOGUE or not_live(metric) is not None:
        return None
    spec = CATALOGUE[metric]
    base, stat = split(metric)
    if base in HISTOGRAMS:
        return _place(LIVE, base, spec, Kind.HISTOGRAM)
    return _place(LIVE, metric, spec, Kind.COUNTER if is_counted(metric) else Kind.GAUGE, stat)


@functools.cache
def record_place(metric: str, own: MetricSpec | None = None) -> Place | None:
    """Return where a metric of a record goes, of whatever subject; `own` declares one that the catalogue lacks."""
    spec = CATALOGUE.get(metric, own)
    if spec is None:
        return None
    return _place(RECORDS, metric, spec, Kind.GAUGE, split(metric)[1])


def histogram_place(quantity: str) -> Place | None:
    """Return where a live distribution goes, by its name without a stat; None for what has no family."""
    if quantity not in HISTOGRAMS:
        return None
    return next(live_place(f"{quantity}.{stat}") for stat in STATS if f"{quantity}.{stat}" in CATALOGUE)


def live_families() -> tuple[Family, ...]:
    """Return all families of live machines that come from the catalogue, each once, in its order."""
    return tuple(dict.fromkeys(_families(live=True)))


def record_families() -> tuple[Family, ...]:
    """Return all families of records that come from the catalogue, each once, in its order."""
    return tuple(dict.fromkeys(_families(live=False)))


def is_counted(metric: str) -> bool:
    """Return whether a metric counts what happened in an interval, so that intervals add up to a counter."""
    _, stat = split(metric)
    if stat or metric in _NOW or metric in _LARGEST:
        return False
    return CATALOGUE[metric].unit in _COUNTED or metric in SUMMED_TIMES


def split(metric: str) -> tuple[str, str]:
    """Return a metric's name without its stat, and the stat ("" where it has none)."""
    base, _, stat = metric.rpartition(".")
    return (base, stat) if stat in STATS else (metric, "")


def _families(*, live: bool) -> Iterator[Family]:
    for metric in CATALOGUE:
        place = live_place(metric) if live else record_place(metric)
        if place is not None:
            yield place.family


def _place(prefix: str, metric: str, spec: MetricSpec, kind: Kind, stat: str = "") -> Place:
    total = "_total" if kind is Kind.COUNTER else ""
    if found := _DROPS.fullmatch(metric):
        family = Family(
            name=f"{prefix}drops{total}", kind=kind, help="Packets dropped, by layer and the kernel's reason",
            labels=("layer", "reason"),
        )  # fmt: skip
        return Place(family=family, labels=MappingProxyType({"layer": found[1], "reason": found[2]}))
    if found := _KINDS.fullmatch(metric):
        family = Family(
            name=f"{prefix}tcp_retransmissions{total}", kind=kind, unit="segments", labels=("kind",),
            help="Segments retransmitted: in recovery (fast), after a timeout (rto), tail loss probes (tlp), SYN (syn)",
        )  # fmt: skip
        return Place(family=family, labels=MappingProxyType({"kind": found[1]}))
    base, _ = split(metric)
    name, unit, scale = _named(base, spec)
    if spec.name not in CATALOGUE and not _is_clear(base, spec, f"{prefix}{name}"):
        name = f"own_{base.removeprefix('app.').removesuffix(f'_{spec.unit}')}_in_{unit or 'number'}"
    family = Family(
        name=f"{prefix}{name}{total}", kind=kind, help=_help(spec, live=prefix == LIVE), unit=unit,
        labels=("stat",) if stat else (),
    )  # fmt: skip
    return Place(family=family, labels=MappingProxyType({"stat": stat} if stat else {}), scale=scale)


def _named(base: str, spec: MetricSpec) -> tuple[str, str, float]:
    """Return the name without prefix and `_total`, the base unit, and the factor to it."""
    if spec.unit in _UNNAMED:
        # A name that ends with `_count` is taken for a histogram's.
        return _words(base.removesuffix("_count")), "", 1.0
    unit, scale = _UNITS[spec.unit]
    if base.endswith(f"_{spec.unit}"):
        return f"{_words(base.removesuffix(f'_{spec.unit}'))}_{unit}", unit, scale
    # Names such as `tcp.segs_out`, whose unit is a word within.
    return _words(base), unit, scale


def _is_clear(base: str, spec: MetricSpec, family: str) -> bool:
    """Return whether no other metric, of perfcheck or of an application, has this family as its own."""
    quantity = base.removesuffix(f"_{spec.unit}")
    if family in _catalogue_names() or _words(quantity) != quantity.replace(".", "_"):
        return False
    if spec.unit == "per_s":
        return not quantity.endswith("_bytes")
    return spec.unit not in _UNNAMED or not quantity.endswith(_UNIT_ENDINGS)


@functools.cache
def _catalogue_names() -> frozenset[str]:
    return frozenset(family.name for family in record_families())


def _words(base: str) -> str:
    return "_".join(_WORDS.get(word, word) for word in base.replace(".", "_").split("_"))


def _help(spec: MetricSpec, *, live: bool) -> str:
    text = _STAT_WORDS.sub("", spec.meaning) if split(spec.name)[1] else spec.meaning
    if live:
        text = _MEANINGS.get(spec.name) or _WARM_UP.sub("", text)
    if spec.unit == "pct":
        text = _HUNDRED.sub(lambda found: "" if "times" in found[0] else "1", text).replace("is  the", "is the")
    return text[:1].upper() + text[1:]
