"""Boots of one kernel, with and without known slowdowns, kept as JSON lines: what error rates are counted on.

    python tests/bench/kernel_pool.py [--variant NAME] --boots N [--first I] [--output FILE]

A boot that is in the file is not made again. Guests count instructions as time, so this may run beside anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import yaml

from perfcheck.kernels.store import KernelStore
from perfcheck.model.scenario import Scenario
from perfcheck.runner.cost import CostBench, GuestKernel
from perfcheck.scenario import load_all

POOL: Final = Path(__file__).with_suffix(".yaml")
KEPT: Final = Path(__file__).parent / "campaign" / "kernels" / "pool.jsonl"
AT_ONCE: Final = 2


class Quiet:
    """A Progress that says nothing."""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Ignore."""


def bench(pool: Mapping[str, Any], variant: Mapping[str, Any]) -> CostBench:
    """Return the bench of a variant."""
    file = dict(pool["scenario"])
    hosts = {name: dict(spec) for name, spec in file["hosts"].items()}
    for spec in hosts.values():
        spec["sysctl"] = variant.get("sysctl", {})
    hosts["server"]["setup"] = list(setup(variant))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as written:
        yaml.safe_dump({**file, "hosts": hosts}, written)
        written.flush()
        (loaded,) = load_all([Path(written.name)], commands=True, trace_outside=False)
    command_line = tuple(variant.get("cmdline", "").split())
    kernel = KernelStore.create().get(variant.get("kernel", pool["kernel"]))
    return CostBench(loaded.scenarios[0], GuestKernel(kernel=kernel, command_line=command_line), Quiet())


def setup(variant: Mapping[str, Any]) -> Iterator[str]:
    """Yield the commands of a variant's server."""
    yield from variant.get("setup", ())
    if "nft" in variant:
        yield "nft add table ip t"
        yield "nft add chain ip t i '{ type filter hook input priority 0 ; }'"
        for port in range(variant["nft"]):
            yield f"nft add rule ip t i tcp dport {20000 + port} drop"
    if "bpf" in variant:
        # So many additions, then "no action": the packet goes on.
        program = ",".join([f"{variant['bpf'] + 1}", *["4 0 0 1"] * variant["bpf"], "6 0 0 0"])
        yield "tc qdisc add dev eth0 clsact"
        yield f"tc filter add dev eth0 ingress bpf bytecode '{program}'"


def main() -> int:
    """Make the boots that are missing."""
    pool = yaml.safe_load(POOL.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", action="append", choices=tuple(pool["variants"]), help="default: all")
    parser.add_argument("--boots", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--output", type=Path, default=KEPT)
    arguments = parser.parse_args()
    names = arguments.variant or list(pool["variants"])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.output.read_text(encoding="utf-8").splitlines() if arguments.output.exists() else []
    have = {(row["variant"], row["index"]) for row in map(json.loads, lines)}
    benches = {name: bench(pool, pool["variants"][name]) for name in names}
    indices = range(arguments.first, arguments.first + arguments.boots)
    wanted = [(name, index) for index in indices for name in names if (name, index) not in have]

    def boot(job: tuple[str, int]) -> tuple[str, int, float, Mapping[str, float]]:
        began_s = time.monotonic()
        trial = benches[job[0]].measured(job[1])
        return *job, time.monotonic() - began_s, trial.figures

    with ThreadPoolExecutor(AT_ONCE) as workers, arguments.output.open("a", encoding="utf-8") as out:
        for name, index, took_s, figures in workers.map(boot, wanted):
            row = {"variant": name, "index": index, "wall_s": round(took_s, 1), "figures": dict(figures)}
            out.write(json.dumps(row) + "\n")
            out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
