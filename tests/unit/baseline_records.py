"""Run records for the tests of baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perfcheck.baseline import BaselineStore
from perfcheck.model.record import RunRecord, ScenarioRef
from perfcheck.testing import make_record, make_scenario

MACHINE = {"cpu.model": "Example 9000", "cpu.count": "8", "arch": "x86_64", "emulators": ["relay"]}
SCENARIO = make_scenario()


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Return a folder where the kernel has nothing to wait for: what a killed process left is the same as on a disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def session(
    number: int = 1, environment: dict[str, Any] | None = None, metrics: dict[str, Sequence[float]] | None = None,
    point: dict[str, str] | None = None, **changes: Any,
) -> RunRecord:  # fmt: skip
    reference = ScenarioRef(
        name="example", digest="d", file="scenarios/example.yaml", workload=SCENARIO.workload_digest,
        point=point or {}, conditions={"links[0].loss": "0.1%", "links[0].delay": "10ms"},
    )  # fmt: skip
    fields: dict[str, Any] = {
        "run_id": f"{number:032x}",
        "started_at": f"2024-01-02T03:04:{number % 60:02}+00:00",
        "environment": MACHINE | (environment or {}),
        "scenario": reference,
    }
    values = metrics or {"tcp.rtt_us.p50": (20_113.0, 20_098.5, 20_131.25), "tcp.retrans_pct": (0.1, 0.0, 1 / 3)}
    return make_record(values, **(fields | changes))


def values_of(store: BaselineStore, record: RunRecord, metric: str = "tcp.rtt_us.p50") -> tuple[Any, ...]:
    found = store.load(SCENARIO, record.environment).found
    assert found is not None
    return found.sessions_of(metric)
