"""How large time series of a long run get, how long drawing them takes, and that memory does not grow with them.

Part of `make bench-series`: rows as the sampler spools them, of 16 traffic entries, two hosts and a link, without a
kernel. What sampling costs saturated traffic is part of `make bench-overhead` (bench_modes.py).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse import curves
from perfcheck.collect.base import histogram
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.observation import FlowReport, TrafficReport
from perfcheck.model.series import COUNT, FLOW, VALUE, FlowSamples, NamedSamples, Samples
from perfcheck.model.traffic import Iperf3Spec, TrafficSpec
from perfcheck.output.series import SeriesFile
from perfcheck.system.spool import Spool

FLOWS: Final = 16
INTERVAL_NS: Final = 100_000_000
BUCKETS_A_TICK: Final = 25
NAMED: Final = (
    *((host, f"cpu.{name}") for host in ("client", "server") for name in ("busy_pct", "runq_wait_pct")),
    *(
        (way, f"qdisc.{name}")
        for way in ("client>server", "server>client")
        for name in ("link_queue_bytes", "link_drops", "link_losses", "depth_packets", "depth_bytes", "drops")
    ),
)


def key(flow: int) -> FlowKey:
    """Return the sender's end of a flow."""
    return FlowKey(
        protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=40000 + flow, remote="198.18.0.2",
        remote_port=5201 + flow,
    )  # fmt: skip


def fed(minutes: float, rows: Spool, rtts: Spool, values: Spool) -> npt.NDArray[np.int64]:
    """Spool so many minutes, tick by tick; return the ticks."""
    chance = np.random.default_rng(1)
    ticks = round(minutes * 60e9 / INTERVAL_NS)
    moments = (1 + np.arange(ticks, dtype=np.int64)) * INTERVAL_NS
    state = np.zeros(FLOWS, FLOW)
    state["flow"], state["fresh"], state["window_ns"] = np.arange(FLOWS), 1, 1
    buckets = np.zeros(FLOWS * BUCKETS_A_TICK, COUNT)
    buckets["group"] = np.repeat(np.arange(FLOWS), BUCKETS_A_TICK)
    named = np.zeros(len(NAMED), VALUE)
    named["curve"] = np.arange(len(NAMED))
    for tick in range(ticks):
        _go_on(state, chance, tick, int(moments[tick]))
        rows.append(state)
        lowest = histogram.bucket_of(20_000) + chance.integers(0, 20)
        buckets["tick"], buckets["bucket"] = tick, lowest + np.tile(np.arange(BUCKETS_A_TICK), FLOWS)
        buckets["count"] = chance.integers(1, 40, len(buckets))
        rtts.append(buckets)
        named["tick"], named["value"] = tick, chance.random(len(named)) * 100
        values.append(named)
    return moments


def _go_on(state: npt.NDArray[Any], chance: np.random.Generator, tick: int, now_ns: int) -> None:
    state["tick"], state["until_ns"] = tick, now_ns
    sent = chance.integers(500, 900, FLOWS)
    state["data_segs_out"] += sent.astype(np.uint32)
    state["bytes_acked"] += sent.astype(np.uint64) * 1448
    state["retrans_segs"] += (chance.random(FLOWS) < 0.1).astype(np.uint32)
    state["pacing_total"] += sent.astype(np.uint64) * 10**7
    state["pacing_samples"] += sent.astype(np.uint32)
    state["cwnd_segs"] = chance.integers(40, 90, FLOWS)
    state["srtt_us"] = chance.integers(20_000, 30_000, FLOWS)
    state["inflight_segs"] = chance.integers(40, 90, FLOWS)
    state["busy_jiffies"] += 25
    state["state_ns"][:, 0] += INTERVAL_NS


def written(minutes: float, path: Path) -> tuple[float, float]:
    """Write the series of a run that long; return how long feeding and writing took, in s."""
    rows, rtts, values = Spool(FLOW), Spool(COUNT), Spool(VALUE)
    began_s = time.monotonic()
    moments = fed(minutes, rows, rtts, values)
    fed_s = time.monotonic() - began_s
    samples = Samples(
        began_ns=0, ticks_ns=moments,
        flows=(FlowSamples(
            keys={flow: key(flow) for flow in range(FLOWS)}, rows=rows.blocks, rtts=rtts.blocks,
            edges_us=histogram.edges(histogram.RTT_BUCKETS), jiffy_us=4000,
        ),),
        named=(NamedSamples(curves=NAMED, values=values.blocks),),
    )  # fmt: skip
    spec = Iperf3Spec.model_validate({"from": "client", "to": "server"})
    entries = [TrafficSpec(name=f"bulk{flow}", iperf3=spec) for flow in range(FLOWS)]
    reports = [
        TrafficReport(
            generator="iperf3", metrics={}, start_ns=0, end_ns=int(moments[-1]),
            flows=(FlowReport(sender=key(flow), receiver=key(flow)),),
        )
        for flow in range(FLOWS)
    ]  # fmt: skip
    began_s = time.monotonic()
    file = SeriesFile(path)
    file.open()
    file.write(curves(samples, entries, reports, ()), run_id="bench", trial=0)
    file.close()
    for spool in (rows, rtts, values):
        spool.close()
    return fed_s, time.monotonic() - began_s


def main() -> int:
    """Print the figures of one length; for several, each in a process of its own, so that memory can be told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    arguments = parser.parse_args()
    if len(arguments.minutes) > 1:
        for minutes in arguments.minutes:
            subprocess.run([sys.executable, __file__, "--minutes", str(minutes)], check=True)
        return 0
    (minutes,) = arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.parquet"
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fed_s, written_s = written(minutes, path)
        most_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began_s = time.monotonic()
        subprocess.run(
            [str(Path(sys.executable).with_name("perfcheck")), "show", str(path), "tcp.rtt_us"],
            check=True,
            capture_output=True,
        )
        print(
            f"{minutes:g} min, {FLOWS} flows: {path.stat().st_size / 1e6:.2f} MB; fed in {fed_s:.1f} s, written in "
            f"{written_s:.1f} s; shown in {time.monotonic() - began_s:.1f} s; "
            f"memory {most_kb / 1000:.0f} MB at most, {before_kb / 1000:.0f} MB before"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
