"""`perfcheck faults run` measures a fault beside its healthy twin, and says what moved and what was named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from perfcheck.cli import main

pytestmark = pytest.mark.kernel

FAULT: Final = "receive_window/rmem/wan-direct/bulk-cubic/sixth"


def test_a_fault_moves_what_its_twin_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs.jsonl"
    status = main(["faults", "run", FAULT, "--json", str(runs)])
    told = capsys.readouterr()
    assert status == 0, told
    twin, fault = (json.loads(line) for line in runs.read_text().splitlines())
    assert (twin["name"], twin["causes"], twin["moved"]) == ("twin/wan-direct/bulk-cubic", ["healthy"], None)
    assert twin["diagnosis"][0]["cause"] == "healthy"
    assert (fault["name"], fault["causes"], fault["means"]) == (FAULT, ["receive_window"], ["sysctl"])
    assert fault["moved"] is True
    assert fault["metrics"]["app.throughput_bps"] < 0.5 * twin["metrics"]["app.throughput_bps"]
    assert fault["diagnosis"][0]["cause"] == "receive_window"
    assert fault["subjects"]["load"]["kind"] == "traffic"
    assert set(fault["alerts"]) == {"counts", "first"}
    assert FAULT in told.out.replace("\n", "")
