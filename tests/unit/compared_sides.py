"""Records of two sides of a comparison, which tests make by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from perfcheck.compare.ab import judge_pairs
from perfcheck.model.path_profile import CountRecord, FunctionRecord, PathProfile
from perfcheck.model.record import DiagnosisRecord, RunRecord, ScenarioRef, SeriesRecord
from perfcheck.model.series import Curve
from perfcheck.output.series import SeriesFile
from perfcheck.report.compare.sides import Compared
from perfcheck.testing import make_record, make_scenario

RATE, RTT = "app.throughput_bps", "tcp.rtt_us.p50"
RUNS = 9
SCENARIO = make_scenario()


def side(name: str = "example", *, rate: float = 90e6, rtt: float = 20_000.0, **more: Any) -> RunRecord:
    """Return a record of runs that vary a little."""
    wave = [1 + 0.001 * ((number * 7) % 5 - 2) for number in range(RUNS)]
    values = {RATE: [rate * each for each in wave], RTT: [rtt * each for each in reversed(wave)]}
    return make_record(values, name=name, **more)


def paired(before: RunRecord, after: RunRecord, sides: tuple[str, str] = ("file", "sysctl a.b=1")) -> Compared:
    """Return both as `perfcheck ab` judges them."""
    found = judge_pairs(SCENARIO, before, after)
    return Compared(before=before, after=after.model_copy(update={"comparisons": found.comparisons, "sides": sides}))


def profile() -> PathProfile:
    functions = tuple(
        FunctionRecord(name=name, modules=modules, instructions=CountRecord(a=a, b=b, noise=1.0))
        for name, modules, a, b in (("tcp_ack", (), 100.0, 150.0), ("nft_do_chain", ("nf_tables",), 80.0, 20.0),
                                    ("memset", (), 30.0, 30.5))
    )  # fmt: skip
    return PathProfile(
        unit="request", total=CountRecord(a=1000.0, b=990.0, noise=2.0), functions=functions,
        contexts={"softirqs": CountRecord(a=400.0, b=390.0, noise=1.0)},
    )  # fmt: skip


def with_series(folder: Path) -> tuple[RunRecord, RunRecord]:
    path = folder / "runs.parquet"
    record = SeriesRecord(file=str(path), interval_ms=100.0)
    found = []
    with_file = SeriesFile(path)
    for name, level in (("a", 10.0), ("b", 20.0)):
        for trial in range(2):
            t_ns = np.arange(10, dtype=np.int64) * 100_000_000
            curve = Curve(subject=None, metric=RATE, t_ns=t_ns, values=np.full(10, (level + trial) * 1e6))
            with_file.write([curve], run_id=name, trial=trial)
        found.append(side(run_id=name, series=record))
    with_file.close()
    return found[0], found[1]


def hostile_sides(text: Callable[[str], str]) -> tuple[RunRecord, RunRecord]:
    """Return A and B with what `text` makes of a usual text wherever they may have one."""
    ref = ScenarioRef(
        name=text("wan"), digest=text("d"), file=text("f"), title=text("title"), conditions={text("k"): text("v")},
    )  # fmt: skip
    cause = DiagnosisRecord(
        cause=text("loss"), confidence=0.5, evidence_for=(text("why"),), chain=(text("first"), text("last")),
        advice=text("do"), chain_rests_on=text("events"),
    )  # fmt: skip
    more: dict[str, Any] = {
        "scenario": ref, "environment": {text("cpu"): text("2")}, "emulators": {text("link"): text("relay")},
        "diagnosis": (cause,), "warnings": (text("note"),), "reproduce": text("run"), "started_at": text("2026"),
        "run_id": text("id"), "profiles": {text("rpc"): profile()},
    }  # fmt: skip
    return side(**more), side(rate=80e6, **more)
