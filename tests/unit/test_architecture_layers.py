"""One word a layer on four floors, and stages that compute read nothing: the rules of docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "perfcheck"
LAYERS: Final = frozenset({"app", "socket", "tcp", "udp", "ip", "qdisc", "nic", "cpu", "detail"})
"""The layers of metrics, and detail mode, which goes through all of them."""
FLOORS: Final = {
    "bpf": ROOT / "bpf",
    "collect": PACKAGE / "collect",
    "analyse": PACKAGE / "analyse",
    "catalogue": PACKAGE / "model/catalogue",
}
NO_LAYER: Final = {
    "bpf": {
        "drops": "packets dropped in any layer",
        "times": "functions of the IP layer, where the kernel traces functions",
        "scope": "which hosts and which time count, for every text but TCP's",
        "sendside": "TCP at the moment at which segments leave, where that is asked for",
        "packets": "detail mode: devices",
        "streams": "detail mode: sockets",
        "events": "what is rare and told one by one, in any layer",
        "connections": "which connections TCP's programs follow, and where their records are",
        "address": "addresses of sockets and packets",
        "filter": "which flows of a live machine are looked at",
        "packet": "what packets say of themselves, for detail mode and events",
        "perfcheck": "the contract of TCP's text, and the scale of all histograms",
        "layers": "the contract of every text but TCP's",
        "histogram": "distributions, for every text",
        "tcp_record": "the record of a socket, read from the kernel's",
    },
    "collect": {
        "base": "what collectors share",
        "kernel": "what the kernel counts by itself, in several layers",
        "sockdiag": "sockets as sock_diag shows them, in several layers",
        "series": "what is read at each interval, in any layer",
        "drops": "packets dropped in any layer",
        "drop_reasons": "the kernel's reasons for them",
        "events": "what is rare and told one by one, in any layer",
        "declared": "what each collector says of itself",
        "session": "the collectors as one",
        "phases": "the collectors' snapshots at the begin of each phase",
        "shedding": "what the collectors do less of",
        "doctor": "what they need of the machine",
    },
    "analyse": {
        "aggregate": "trials to a run",
        "trial": "observations to a trial",
        "subjects": "the same, by traffic entry, host and direction of a link",
        "entries": "what a traffic entry asked for and got",
        "phases": "a trial by phase",
        "cut": "a generator's report of a span of time",
        "recovery": "how long traffic takes until it is as it was",
        "together": "rates of several flows",
        "flows": "which sockets belong to which traffic",
        "layers": "what collectors and links give by name",
        "histogram": "distributions of any layer",
        "bucket_rows": "percentiles of many distributions at once",
        "series": "samples to curves",
        "spans": "stretches of time",
        "crosscheck": "one figure from two sources",
        "layerchecks": "the same, of the layers beside TCP",
        "detailchecks": "the same, of detail mode",
        "bounds": "no figure above its whole",
        "validity": "whether a trial counts",
        "events": "the stream of events, one schema for every mode",
        "alerts": "what is rare, and what led to it",
        "anomalies": "changes of time series",
        "paths": "detail mode: packets from end to end",
        "ranges": "detail mode: ranges of sequence numbers",
        "stages": "detail mode: times between stations",
    },
    "catalogue": {
        "cost": "instructions of a load in a guest, of all layers together",
        "declare": "how metrics are declared",
    },
}
"""Names that are no layer's, each with what it is about."""
READERS: Final = {"diagnose/graph_files.py", "diagnose/loading.py", "diagnose/located.py"}
"""Rules are loaded from files once; what is diagnosed afterwards reads nothing."""
PURE: Final = ("analyse", "diagnose", "compare")
LAYERS_WITHOUT_A_COLLECTOR: Final = {"app", "udp"}
"""Generators and the hosts' own counters have their figures."""


INPUT: Final = re.compile(r"^\s*(from|import) (perfcheck\.system|os|pathlib|socket|subprocess)\b", re.MULTILINE)


def names_on(folder: Path) -> set[str]:
    """Return the names of a floor's modules, folders and C sources."""
    found = {
        path.name.split(".")[0] for path in folder.iterdir() if path.suffix in {".py", ".c", ".h"} or is_room(path)
    }
    return found - {"__init__"}


def is_room(path: Path) -> bool:
    return path.is_dir() and (path / "__init__.py").exists()


@pytest.mark.parametrize("floor", FLOORS)
def test_a_name_on_a_floor_is_a_layers_or_is_listed(floor: str) -> None:
    assert names_on(FLOORS[floor]) - LAYERS == NO_LAYER[floor].keys()


def test_what_the_kernels_side_counts_has_a_collector_of_the_same_name() -> None:
    collected = names_on(FLOORS["collect"])
    assert LAYERS & names_on(FLOORS["bpf"]) == LAYERS & collected
    assert LAYERS - collected == LAYERS_WITHOUT_A_COLLECTOR
    assert names_on(FLOORS["catalogue"]) >= LAYERS


def test_stages_that_compute_read_nothing() -> None:
    impure = {
        str(path.relative_to(PACKAGE))
        for stage in PURE
        for path in (PACKAGE / stage).rglob("*.py")
        if re.search(
            r"^\s*(from|import) (perfcheck\.system|os|pathlib|socket|subprocess)\b", path.read_text(), re.MULTILINE
        )
    }
    assert impure <= READERS
