"""What the layers beside TCP share: parts of an image, sums of distributions, and the contract with bpf/layers.h."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.analyse.histogram import statistics
from perfcheck.collect import Layers, Mode, cpu, declared, kinds
from perfcheck.collect.base import histogram
from perfcheck.collect.base import programs as layer_programs
from perfcheck.collect.ip import function_times
from perfcheck.collect.tcp import collector
from perfcheck.ebpf import cache
from perfcheck.ebpf.compile import attached_to
from perfcheck.ebpf.functions import Attachment
from perfcheck.ebpf.image import Image, MapImage, ProgramImage
from perfcheck.model.catalogue import CATALOGUE

DISTRIBUTION = np.dtype(
    [("spread", [("total", "u8"), ("minimum", "u4"), ("maximum", "u4")]), ("counts", "u4", (1024,))], align=True
)
RECORD = np.dtype([("events", "u8"), ("delay_ns", DISTRIBUTION)])


def filled(rows: list[list[int]]) -> npt.NDArray[Any]:
    """Records as the kernel would fill them with these values, one list a record."""
    records = np.zeros(len(rows), RECORD)
    layer_programs.forget(records)
    for record, values in zip(records, rows, strict=True):
        for value in values:
            record["delay_ns"]["counts"][histogram.bucket_of(value)] += 1
            record["delay_ns"]["spread"]["total"] += value
            record["delay_ns"]["spread"]["minimum"] = min(record["delay_ns"]["spread"]["minimum"], value)
            record["delay_ns"]["spread"]["maximum"] = max(record["delay_ns"]["spread"]["maximum"], value)
    return records


VALUES = st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=20), min_size=1, max_size=4)


@given(rows=VALUES, zeros=st.integers(0, 50))
def test_the_sum_of_distributions_is_that_of_their_values(rows: list[list[int]], zeros: int) -> None:
    values = [*(value for row in rows for value in row), *([0] * zeros)]
    found = layer_programs.histogram_of(filled(rows)["delay_ns"], "us", divisor=1000.0, zeros=zeros)
    if not values:
        assert found is None
        return
    assert found is not None
    assert found.count == len(values)
    stats = statistics(found)
    assert stats["min"] == pytest.approx(min(values) / 1000)
    assert stats["max"] == pytest.approx(max(values) / 1000)
    assert stats["mean"] == pytest.approx(sum(values) / len(values) / 1000)


@given(value=st.integers(1, 2**32 - 1))
def test_a_median_is_within_3_percent_whatever_the_unit(value: int) -> None:
    found = layer_programs.histogram_of(filled([[value] * 9])["delay_ns"], "us", divisor=1000.0)
    assert found is not None
    assert statistics(found)["p50"] == pytest.approx(value / 1000, rel=0.03)


def test_passing_by_a_queue_that_was_never_used_is_a_distribution_of_zeros() -> None:
    found = layer_programs.histogram_of(filled([])["delay_ns"], "us", zeros=7)
    assert found is not None
    assert (found.count, statistics(found)["max"]) == (7, 0.0)


def test_a_part_of_an_image_has_only_its_own_maps() -> None:
    names = ("scope", "namespaces", "cpus", "queues")
    maps = tuple(
        MapImage(name=name, type=2, key_bytes=4, value_bytes=8, max_entries=1, flags=0, value_layout='"int"')
        for name in names
    )
    programs = tuple(
        ProgramImage(kind="tp_btf", target=target, btf_id=1, code=b"", maps={0: "scope", 3: own})
        for target, own in (("sched_switch", "cpus"), ("qdisc_enqueue", "queues"))
    )
    part = layer_programs.part_of(Image(source="x", maps=maps, programs=programs), ["sched_switch"])
    assert [one.name for one in part.maps] == ["scope", "namespaces", "cpus"]
    assert [one.target for one in part.programs] == ["sched_switch"]


def test_programs_of_a_function_and_of_its_tracepoint_are_apart() -> None:
    programs = tuple(
        ProgramImage(kind=kind, target="fib_table_lookup", btf_id=1, code=b"")
        for kind in ("tp_btf", *Attachment.FENTRY.kinds, *Attachment.KPROBE.kinds)
    )
    whole = Image(source="x", maps=(), programs=programs)
    assert [one.kind for one in layer_programs.part_of(whole, ["fib_table_lookup"]).programs] == ["tp_btf"]
    for attachment in Attachment:
        begin, end = attachment.kinds
        targets = function_times.RouteTimesCollector(attachment).programs_wanted.targets
        assert [one.kind for one in layer_programs.part_of(whole, targets).programs] == [begin, end]


def defined(name: str) -> int:
    text = (cache.sources() / "layers.h").read_text()
    match = re.search(rf"#define {name} (\d+)", text)
    assert match is not None
    return int(match[1])


def test_user_space_knows_the_sizes_of_the_header() -> None:
    assert defined("PC_TASKS") == cpu.TASKS
    assert defined("PC_HOSTS") == layer_programs.MAX_HOSTS
    assert defined("PC_BUCKETS") == layer_programs.BUCKETS == histogram.bucket_of(2**32 - 1) + 1
    assert defined("PC_BUCKET_SLOTS") >= layer_programs.BUCKETS


def programs_of(group: tuple[str, ...]) -> list[str]:
    """Names of the programs in a text (ProgramImage.name), sorted."""
    text = "\n".join((cache.sources() / name).read_text() for name in group)
    found = [attached_to(name) for name in re.findall(r"^int (\w+__\w+)\(", text, re.MULTILINE)]
    return sorted(ProgramImage(kind=kind, target=target, btf_id=1, code=b"").name for kind, target in found)


@pytest.mark.parametrize("group", declared.texts("all", "both", events=True), ids="+".join)
def test_each_program_of_a_text_is_a_hook_that_one_collector_declares(group: tuple[str, ...]) -> None:
    assert programs_of(group) == sorted(name for one in declared.ALL if one.group == group for name in one.targets)


def test_each_program_at_a_function_is_one_collectors_by_either_way() -> None:
    kinds = (function_times.RouteTimesCollector, function_times.ConntrackTimesCollector)
    wanted = [name for attachment in Attachment for kind in kinds for name in kind(attachment).programs_wanted.targets]
    assert programs_of(declared.TIMES_TEXT) == sorted(wanted)


def test_each_collector_has_a_declaration_of_its_own_and_gives_what_metrics_need() -> None:
    assert [kind.declared for kind in kinds()] == list(declared.ALL)
    names = [one.name for one in declared.ALL]
    assert len(set(names)) == len(names)
    # sock_diag gives no metric of its own: it stands in for the TCP collector.
    # Events are told one by one, beside the sums that metrics are.
    assert set(names) - {need for spec in CATALOGUE.values() for need in spec.needs} == {"sockdiag", "events"}


@pytest.mark.parametrize(
    ("layers", "mode", "names"),
    [
        ({"cpu"}, "summary", ["cpu", "machine"]),
        ({"cpu"}, "detail", ["machine", "detail"]),
        ({"tcp"}, "both", ["tcp", "sockdiag", "host", "detail"]),
        ({"nic"}, "summary", ["drops", "netlink", "nic", "machine"]),
        ("all", "detail", ["tcp", "sockdiag", "host", "conntrack", "ovs", "netlink", "machine", "detail"]),
    ],
)
def test_collectors_are_those_of_the_layers_and_the_mode(layers: Layers, mode: Mode, names: list[str]) -> None:
    assert [one.name for one in declared.ALL if one.serves(layers, mode) and not one.on_request] == names
    assert [one.name for one in declared.ALL if one.serves(layers, mode) and one.on_request] == ["events"]


def test_compiling_begins_before_numpy_is_imported() -> None:
    code = """
import sys
from perfcheck.collect import prepare
from perfcheck.ebpf import cache, check
check.check_bpf = lambda: None
cache.prepare = lambda *texts, **_: sys.exit('numpy' in sys.modules or not texts)
prepare()
sys.exit(2)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_metrics_name_hooks_that_their_collector_declares_and_their_words_have_a_place_for_each() -> None:
    hooks = {one.name: one.targets for one in declared.ALL}
    for spec in CATALOGUE.values():
        assert set(spec.hooks) <= {hook for need in spec.needs for hook in hooks.get(need, ())}, spec.name
        assert spec.source_text.count("{}") == len(spec.hooks), spec.name
        assert all(f"tp_btf/{hook}" in spec.source for hook in spec.hooks), spec.name
    alternatives = {spec.name.rpartition(".")[0] for spec in CATALOGUE.values() if "tp_btf/" in spec.source_text}
    assert alternatives == {"nic.wire_us", "nic.rx_stage_us"}


def test_counters_rest_on_the_tracepoints_that_their_metrics_name() -> None:
    assert collector.counted_by("tcp_cong_state_set") == (
        "state_open_us", "state_disorder_us", "state_cwr_us", "state_recovery_us", "state_loss_us", "rto_events",
        "recovery_events",
    )  # fmt: skip
    assert collector.counted_by("tcp_receive_reset") == ("resets", "resets_late")
