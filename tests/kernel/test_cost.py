"""The cost of a load in a guest, against counters that are not ours, and what happens to guests that die."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from stored_kernel import stored_kernel

from perfcheck.kernels.store import Kernel
from perfcheck.runner.cost import CostBench, GuestKernel, at_once
from perfcheck.runner.cost_load import counts_of, loads_of
from perfcheck.scenario import load_all

SCENARIO = {
    "scenario": "cost", "hosts": {"client": {}, "server": {}}, "links": [{"between": ["client", "server"]}],
    "traffic": [
        {"name": "rpc", "load": {"from": "client", "to": "server", "kind": "requests", "count": 600, "size": "100b"}},
        {"name": "datagrams",
         "load": {"from": "client", "to": "server", "kind": "datagrams", "count": 640, "size": "100b"}},
    ],
    "measure": {"mode": "cost"},
}  # fmt: skip
RULES = ["nft add table ip t", "nft add chain ip t i '{ type filter hook input priority 0 ; }'",
         *[f"nft add rule ip t i tcp dport {port} drop" for port in range(20000, 20020)]]  # fmt: skip

ELSEWHERE = {
    "6.12.117+deb12-cloud-amd64": {"cpu.insns_per_request@rpc": 30180, "cpu.insns_per_segment@datagrams": 11150},
}  # fmt: skip
"""What the plain loads cost on another machine, by the kernel's release."""


class Silent:
    def stage(self, *_: object) -> None:
        """Ignore."""


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return stored_kernel()


def bench(folder: Path, kernel: Kernel, setup: list[str]) -> CostBench:
    file = folder / f"cost-{len(setup)}.yaml"
    file.write_text(yaml.safe_dump({**SCENARIO, "hosts": {"client": {}, "server": {"setup": setup}}}))
    (loaded,) = load_all([file], commands=True, trace_outside=False)
    return CostBench(loaded.scenarios[0], GuestKernel(kernel=kernel), Silent())


def test_cost_is_what_the_plugin_counts_and_rules_make_it_grow_where_they_run(
    tmp_path: Path, kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, filtered = bench(tmp_path, kernel, []), bench(tmp_path, kernel, RULES)
    profiles = at_once([lambda stopping: plain.profiled(0, stopping), lambda stopping: filtered.profiled(0, stopping)])
    one, other, again = at_once([
        lambda stopping: plain.measured(0, stopping), lambda stopping: filtered.measured(0, stopping),
        lambda stopping: plain.measured(0, stopping),
    ])  # fmt: skip
    # The same layout gives the same instructions, but for moments at which the host hands over what it was asked for.
    assert one.figures == pytest.approx(again.figures, rel=0.005)
    with capsys.disabled():
        told = ", ".join(f"{key} {value:,.1f}" for key, value in one.figures.items() if "@" in key)
        sys.stdout.write(f"\n{kernel.release}: {told}\n")
    for key, elsewhere in ELSEWHERE.get(kernel.release, {}).items():
        assert one.figures[key] == pytest.approx(elsewhere, rel=0.005)
    loads = loads_of(plain._scenario)
    for trial, profile in ((one, profiles[0]), (other, profiles[1])):
        for name, load in zip(("rpc", "datagrams"), loads, strict=True):
            (metric,) = (key for key in trial.figures if key.endswith(f"@{name}"))
            counted = profile[name].total / counts_of(load)[1]
            # The program's reading of the counters is outside of what the plugin counts.
            assert trial.figures[metric] == pytest.approx(counted, rel=0.02)
    grown = {
        function.name: function.instructions - before.get(function.name, 0)
        for before in [{function.name: function.instructions for function in profiles[0]["rpc"].functions}]
        for function in profiles[1]["rpc"].functions
    }
    assert max(grown, key=lambda name: grown[name]) in {"nft_do_chain", "nft_payload_eval", "nft_cmp_eval"}
    assert other.figures["cpu.insns_per_request@rpc"] > 1.02 * one.figures["cpu.insns_per_request@rpc"]
