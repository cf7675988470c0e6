"""Every metric of the catalogue has a family, or a reason why it has none; no two metrics are one series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

import pytest
from prometheus_programs import complaints

from perfcheck.export import own_families
from perfcheck.export.family import Family, Kind, Place
from perfcheck.export.names import (
    BY_INTERFACE,
    HISTOGRAMS,
    histogram_place,
    live_families,
    live_place,
    not_live,
    record_families,
    record_place,
    split,
)
from perfcheck.model.catalogue import CATALOGUE

ALL_LIVE = (
    *live_families(), *own_families.SELF, *own_families.TRAFFIC, *own_families.OBSERVED, *own_families.FLOWS,
    *own_families.SEND_SIDE.values(),
)  # fmt: skip
ALL_RECORDS = (*record_families(), *own_families.RUN)


@pytest.mark.parametrize(
    ("metric", "family", "labels", "scale"),
    [
        ("tcp.rtt_us.p99", "perfctl_tcp_rtt_seconds", {}, 1e-6),
        ("tcp.cwnd_segs.max", "perfctl_tcp_cwnd_segments", {}, 1),
        ("tcp.retrans_rto_segs", "perfctl_tcp_retransmissions_total", {"kind": "rto"}, 1),
        ("tcp.retrans_segs", "perfctl_tcp_retrans_segments_total", {}, 1),
        ("tcp.data_segs_out", "perfctl_tcp_data_segments_out_total", {}, 1),
        ("tcp.bdp_bytes", "perfctl_tcp_bdp_bytes", {}, 1),
        ("tcp.delivery_rate_bps", "perfctl_tcp_delivery_rate_bytes_per_second", {}, 1 / 8),
        ("tcp.limited_rwnd_pct", "perfctl_tcp_limited_rwnd_ratio", {}, 0.01),
        ("ip.drops_no_route", "perfctl_drops_total", {"layer": "ip", "reason": "no_route"}, 1),
        ("qdisc.drops", "perfctl_qdisc_drops_total", {}, 1),
        ("cpu.off_forced_us", "perfctl_cpu_off_forced_seconds_total", {}, 1e-6),
        ("ip.conntrack_entries", "perfctl_ip_conntrack_entries", {}, 1),
        ("socket.established.max", "perfctl_socket_established", {"stat": "max"}, 1),
        ("tcp.connections", "perfctl_tcp_connections", {}, 1),
    ],
)
def test_live_names(metric: str, family: str, labels: dict[str, str], scale: float) -> None:
    place = live_place(metric)
    assert place is not None
    assert (place.family.name, dict(place.labels), place.scale) == (family, labels, scale)
    assert place.family.labels == tuple(labels)


@pytest.mark.parametrize(
    ("metric", "family", "labels"),
    [
        ("tcp.rtt_us.p99", "perfcheck_tcp_rtt_seconds", {"stat": "p99"}),
        ("tcp.retrans_segs", "perfcheck_tcp_retrans_segments", {}),
        ("app.recovery_ms", "perfcheck_app_recovery_seconds", {}),
        ("qdisc.drops_full", "perfcheck_drops", {"layer": "qdisc", "reason": "full"}),
        ("cpu.insns_per_byte", "perfcheck_cpu_instructions_per_byte", {}),
    ],
)
def test_names_of_records(metric: str, family: str, labels: dict[str, str]) -> None:
    place = record_place(metric)
    assert place is not None
    assert (place.family.name, dict(place.labels)) == (family, labels)


@pytest.mark.parametrize("metric", CATALOGUE)
def test_a_metric_has_a_live_family_or_a_reason(metric: str) -> None:
    assert (live_place(metric) is None) == bool(not_live(metric))
    assert record_place(metric) is not None


def test_no_two_metrics_are_one_series() -> None:
    live = [place for metric in CATALOGUE if split(metric)[0] not in HISTOGRAMS and (place := live_place(metric))]
    records = [place for metric in CATALOGUE if (place := record_place(metric))]
    for places in (live, records):
        assert not _twice((place.family.name, *sorted(place.labels.items())) for place in places)
    quantities = [place.family.name for quantity in HISTOGRAMS if (place := histogram_place(quantity))]
    assert len(quantities) == len(HISTOGRAMS)
    assert not _twice([*quantities, *{place.family.name for place in live}])
    for families in (ALL_LIVE, ALL_RECORDS):
        assert not _twice(family.name for family in families), "a name belongs to one family"


def test_every_stat_of_a_distribution_is_in_its_histogram() -> None:
    for metric in CATALOGUE:
        base, stat = split(metric)
        if stat and base in HISTOGRAMS:
            place = live_place(metric)
            assert place is not None
            assert place == histogram_place(base)


def test_metrics_of_interfaces_are_metrics() -> None:
    assert all(live_place(metric) for metric in BY_INTERFACE)


def test_a_name_that_no_metric_has_goes_nowhere() -> None:
    assert live_place("tcp.nothing") is None
    assert record_place("tcp.nothing") is None
    assert histogram_place("tcp.nothing") is None


@pytest.mark.parametrize("families", [ALL_LIVE, ALL_RECORDS], ids=["live", "records"])
def test_promtool_finds_nothing_to_mend(families: tuple[Family, ...]) -> None:
    assert complaints("".join(_exposed(family) for family in families)) == ""


def _exposed(family: Family) -> str:
    labels = ",".join(f'{name}="x"' for name in family.labels)
    head = f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind.value}\n"
    if family.kind is not Kind.HISTOGRAM:
        return f"{head}{family.name}{{{labels}}} 1\n"
    return f'{head}{family.name}_bucket{{le="+Inf"}} 1\n{family.name}_sum 1\n{family.name}_count 1\n'


def _twice(things: Iterable[Hashable]) -> list[Hashable]:
    return [thing for thing, number in Counter(things).items() if number > 1]


def test_a_place_has_the_labels_that_its_family_names() -> None:
    places: list[Place] = [
        place for metric in CATALOGUE for place in (live_place(metric), record_place(metric)) if place
    ]
    assert all(tuple(place.labels) == place.family.labels for place in places)
