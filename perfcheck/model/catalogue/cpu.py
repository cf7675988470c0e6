"""Metrics of the CPU: the share of the hosts' processes, and the load of the whole machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, OF_HOST, Source, count, distribution, metric
from perfcheck.model.metric import MetricSpec

_SWITCH: Final = Source(text="{}", hooks=("sched_switch",), needs="cpu", subjects=OF_HOST)
_RUNTIME: Final = replace(_SWITCH, text="{}: task_struct.se.sum_exec_runtime")
_DELAY: Final = replace(_SWITCH, text="{}: task_struct.sched_info.run_delay")
_DELAYS: Final = replace(_DELAY, subjects=())
_EMULATOR: Final = replace(_RUNTIME, subjects=())
_STAT: Final = Source(text="/proc/stat", needs="machine", host_wide=True)
_PRESSURE: Final = Source(text="/proc/pressure", needs="machine", part="pressure information", host_wide=True)
_NUMA: Final = Source(
    text="/sys/devices/system/node/node*/numastat", needs="machine", part="several NUMA nodes", host_wide=True
)
_CGROUP: Final = Source(text="cpu.stat of the control group that the run is in", needs="machine", part="CPU quotas")

CPU: Final[tuple[MetricSpec, ...]] = (
    *distribution(
        "cpu.runq_delay_us", "us", "p50 p90 p99 p999 mean max", "time that a process of the hosts waited for a CPU",
        _DELAYS, floor=500.0,
    ),
    metric("cpu.runq_wait_pct", "pct",
           "time that processes of the hosts waited for a CPU, as a share of the time that they ran or waited",
           _DELAY, floor=5.0),
    metric("cpu.busy_pct", "pct",
           "total CPU time of the hosts' processes over the elapsed time: 100 is one CPU, the maximum is 100 times "
           "the number of CPUs", _RUNTIME, NEITHER, floor=5.0, overruns=True),
    metric("cpu.off_voluntary_us", "us", "total time that the hosts' processes slept or waited for events",
           _SWITCH, NEITHER),
    metric("cpu.off_forced_us", "us", "total time that the hosts' processes waited for a CPU that ran other tasks",
           _SWITCH, floor=10_000.0),
    count("cpu.switches_voluntary", "voluntary context switches of the hosts' processes", _SWITCH, NEITHER),
    count("cpu.switches_forced", "involuntary context switches (preemptions) of the hosts' processes", _SWITCH),
    count("cpu.migrations", "migrations of the hosts' processes between CPUs", _SWITCH),
    *distribution(
        "cpu.emulator_runq_delay_us", "us", "p50 p99 max", "time that a link's process waited for a CPU", _DELAYS,
        floor=200.0,
    ),
    metric("cpu.emulator_runq_wait_pct", "pct",
           "time that links' processes waited for a CPU, as a share of the time that they ran or waited",
           _DELAYS, floor=5.0),
    metric("cpu.emulator_busy_pct", "pct",
           "total CPU time of the links' processes over the elapsed time: 100 is one CPU",
           _EMULATOR, NEITHER, floor=5.0, overruns=True),
    metric("cpu.throttled_pct", "pct",
           "throttled time of the control group (CPU quota), summed over its CPUs, over the elapsed time; at most "
           "100", _CGROUP, floor=1.0),
    count("cpu.throttled_periods", "periods in which the control group was throttled (CPU quota)", _CGROUP),
    metric("cpu.pressure_pct", "pct",
           "share of the time in which some task waited for a CPU (PSI); the kernel updates it every 2 s",
           _PRESSURE, floor=10.0),
    metric("cpu.pressure_memory_pct", "pct", "share of the time in which some task waited for memory (PSI)", _PRESSURE,
           floor=2.0),
    metric("cpu.pressure_io_pct", "pct",
           "share of the time in which some task waited for a disk (PSI)", _PRESSURE, floor=10.0),
    metric("cpu.host_busy_pct", "pct", "share of the time that the CPUs were not idle", _STAT, NEITHER, floor=5.0),
    metric("cpu.busiest_pct", "pct", "share of the time that the busiest CPU was not idle", _STAT, NEITHER, floor=5.0),
    metric("cpu.host_softirq_pct", "pct", "share of the CPUs' time in softirqs, counted by timer ticks", _STAT, NEITHER,
           floor=5.0),
    metric("cpu.steal_pct", "pct",
           "share of the CPUs' time that the hypervisor gave to other guests (steal)", _STAT, floor=1.0),
    metric("cpu.numa_remote_pct", "pct",
           "share of memory allocations on another NUMA node than the CPU's", _NUMA, floor=1.0),
)  # fmt: skip
