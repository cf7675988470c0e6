"""A whole comparison of two settings in guests: twenty boots, which is too long for each build (`make guests`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from stored_kernel import stored_kernel

from perfcheck.cli import main

SCENARIO = {
    "scenario": "cost", "hosts": {"client": {}, "server": {}}, "links": [{"between": ["client", "server"]}],
    "traffic": [
        {"name": "rpc", "load": {"from": "client", "to": "server", "kind": "requests", "count": 600, "size": "100b"}},
    ],
    "measure": {"mode": "cost"},
}  # fmt: skip


def test_ab_of_two_settings_fails_with_the_functions_that_grew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = stored_kernel()
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump(SCENARIO))
    records = tmp_path / "records.jsonl"
    status = main(["ab", str(file), "--kernel", kernel.name, "--a", "file", "--b", "sysctl net.ipv4.tcp_early_demux=0",
                   "--json", str(records)])  # fmt: skip
    said = capsys.readouterr().out
    assert status == 1, said
    assert "fib_table_lookup" in said
    assert "REGRESSED" in said
    assert f"--kernel {kernel.name}" in said
    a, b = (json.loads(line) for line in records.read_text().splitlines())
    assert a["environment"]["kernel"] == b["environment"]["kernel"] == kernel.release
    (compared,) = b["comparisons"]
    assert 2 < compared["change_pct"] < 6
    parts = b["profiles"]["rpc"]["contexts"].values()
    assert sum(part["b"] for part in parts) == pytest.approx(b["profiles"]["rpc"]["total"]["b"])
