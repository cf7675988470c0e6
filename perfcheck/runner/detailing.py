"""What detail mode needs from a scenario, and how its lost records change a record; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from perfcheck.analyse import Followed, complete
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.detail import DetailFilter
from perfcheck.model.record import DetailRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Host
from perfcheck.model.verdict import Verdict
from perfcheck.runner.left_open import Line, left_open

DETAIL: Final = "detail"
_PROTOCOLS: Final = {"tcp": 6, "udp": 17}
_FOUND: Final = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.REGRESSED, Verdict.IMPROVED})


def packet_filter(scenario: Scenario, hosts: Mapping[str, Host]) -> DetailFilter:
    """Return whose packets are to be followed, a host as its addresses in this lab."""
    chosen = scenario.measure.filter
    if chosen is None:
        return DetailFilter()
    return DetailFilter(
        protocol=None if chosen.protocol is None else _PROTOCOLS[chosen.protocol],
        port=chosen.port,
        addresses=() if chosen.host is None else tuple(hosts[chosen.host].addresses),
    )


def detail_record(followed: Followed) -> DetailRecord:
    """Return the record of what was followed in one trial."""
    counted, stream = followed.packets[followed.packets["counts"]], followed.stream
    return DetailRecord(
        share=stream.share, records=stream.written, records_lost=stream.lost, packets=len(counted),
        packets_whole=int(complete(counted).sum()),
    )  # fmt: skip


def why_incomplete(record: RunRecord) -> str | None:
    """Say that records of detail mode were lost, and in which runs; None where none was."""
    lost = {
        trial.index: trial.detail.records_lost for trial in record.trials if trial.valid and trial.detail is not None
    }
    lossy = {index: count for index, count in lost.items() if count}
    if not lossy:
        return None
    runs = ", ".join(str(index + 1) for index in lossy)
    return (
        f"{sum(lossy.values())} records of detail mode were lost (run {runs}): its figures may lack important "
        "packets; set a narrower measure.filter"
    )


def _of_detail(metric: str) -> bool:
    return metric in CATALOGUE and DETAIL in CATALOGUE[metric].needs


def lost_left_open(record: RunRecord, lines: Iterable[Line]) -> tuple[Line, ...]:
    """Leave open what rests on detail mode where records were lost, whatever was found."""
    lost = why_incomplete(record)
    return left_open(lines, lambda metric, verdict: lost if verdict in _FOUND and _of_detail(metric) else None)
