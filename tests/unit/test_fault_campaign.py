"""A campaign of faults goes on where its file ends: plain or compressed, with rows that are whole or stripped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from fault_campaign import _read
from run_lines import append_line, read_lines

from perfcheck.runner.fault_run import compared_of_row

COMMITTED: Final = Path(__file__).parents[1] / "bench" / "campaign" / "faults"
TWIN: Final[dict[str, Any]] = {
    "name": "twin/wan/bulk", "causes": ["healthy"], "twin": None, "valid": True,
    "metrics": {"tcp.rtt_us.p50": 20.0, "cpu.busy_pct": 3.0},
    "subjects": {"load": {"kind": "traffic", "metrics": {"tcp.rtt_us.p50": {"value": 18.0, "unit": "us"}}}},
}  # fmt: skip
FAULT: Final[dict[str, Any]] = {
    "name": "shaper/tbf/wan/bulk/half", "causes": ["shaper"], "twin": "twin/wan/bulk", "valid": True, "metrics": {},
    "subjects": {},
}  # fmt: skip
COMPARED: Final = {
    "run:tcp.rtt_us.p50": 20.0, "run:cpu.busy_pct": 3.0, "tcp.rtt_us.p50": 18.0, "cpu.busy_pct": 3.0,
}  # fmt: skip


def test_what_a_twin_is_compared_by_follows_from_its_row() -> None:
    assert compared_of_row(TWIN) == COMPARED
    assert compared_of_row(TWIN | {"compared": {"tcp.rtt_us.p50": 7.0}}) == {"tcp.rtt_us.p50": 7.0}
    alone = {name: value for name, value in COMPARED.items() if name.startswith("run:")}
    assert compared_of_row(TWIN | {"subjects": {}}) == alone | {"tcp.rtt_us.p50": 20.0, "cpu.busy_pct": 3.0}


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.xz"])
def test_a_campaign_goes_on_from_plain_and_compressed_lines(tmp_path: Path, name: str) -> None:
    results = tmp_path / name
    assert _read(results, retry=False) == ({}, {})
    for row in (TWIN, FAULT, TWIN, FAULT | {"name": "lost", "valid": False}, FAULT | {"name": "lost", "valid": False}):
        append_line(results, row)
    assert [json.loads(line)["name"] for line in read_lines(results)][:2] == [TWIN["name"], FAULT["name"]]
    done, twins = _read(results, retry=False)
    assert done == {TWIN["name"]: 2, FAULT["name"]: 1, "lost": 1}
    assert twins == {TWIN["name"]: [COMPARED, COMPARED]}
    assert "lost" not in _read(results, retry=True)[0]


@pytest.mark.parametrize(
    "file", [COMMITTED / "matrix.jsonl.xz", COMMITTED / "exam.jsonl.xz"], ids=lambda path: path.name
)
def test_the_committed_runs_can_go_on(file: Path) -> None:
    done, twins = _read(file, retry=False)
    measured = {row["twin"] for row in map(json.loads, read_lines(file)) if row["valid"] and row["twin"]}
    assert done.total() > 100
    assert measured <= twins.keys()
    for one in (values for each in twins.values() for values in each):
        whole = {name.removeprefix("run:") for name in one if name.startswith("run:")}
        assert len(whole) > 20
        assert whole <= one.keys()
