"""The events collector's contract with bpf/events.h, and the host's counter that it looks at."""

from __future__ import annotations

import re

from told_records import TOLD

from perfcheck.collect import declared
from perfcheck.collect.events.overflows import overflows_in
from perfcheck.ebpf import cache
from perfcheck.model.event import EventKind

NETSTAT = """TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 1 7 9
IpExt: InNoRoutes ListenOverflows
IpExt: 3 4
"""


def test_kinds_are_numbered_as_in_the_kernels_part() -> None:
    text = re.sub(r"/\*.*?\*/", "", (cache.sources() / "events.h").read_text(), flags=re.DOTALL)
    body = text[text.index("enum pc_told_kind") :]
    names = re.findall(r"PC_(\w+)", body[: body.index("}")])
    assert names[-1] == "TOLD_KINDS"
    in_the_kernel = [kind for kind in EventKind if kind is not EventKind.LISTEN_OVERFLOW]
    assert len(in_the_kernel) == len(names) - 1
    assert [kind.value for kind in in_the_kernel] == list(range(1, len(names)))


def test_a_record_with_the_rings_header_is_a_power_of_two() -> None:
    assert TOLD.itemsize + 8 == 128


def test_the_counter_is_found_by_its_name_and_group() -> None:
    assert overflows_in(NETSTAT) == 7
    assert overflows_in("TcpExt: A\nTcpExt: 5\n") == 0
    assert overflows_in("") == 0


def test_programs_are_compiled_only_where_events_are_asked_for() -> None:
    for mode in ("summary", "detail", "both"):
        assert declared.EVENTS_TEXT not in declared.texts("all", mode)
        assert declared.EVENTS_TEXT in declared.texts("all", mode, events=True)
