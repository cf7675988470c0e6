"""How functions are traced: fentry first, kprobe second, and what the kernel says of calls that it skipped."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcheck.collect.base import availability
from perfcheck.collect.detail import hooks
from perfcheck.collect.ip import function_times
from perfcheck.ebpf import functions, kprobe
from perfcheck.ebpf.functions import Attachment
from perfcheck.ebpf.image import Image, ProgramImage
from perfcheck.errors import Unavailable
from perfcheck.model.observation import Overhead, ProgramCost
from perfcheck.system.modules import loaded_modules

FUNCTION = "fib_table_lookup"


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    functions._refusal.cache_clear()
    yield
    functions._refusal.cache_clear()


def working(monkeypatch: pytest.MonkeyPatch, *attachments: Attachment) -> list[Attachment]:
    """Have only these attachments work; gives those that were tried, in order."""
    tried: list[Attachment] = []

    def attempt(attachment: Attachment) -> None:
        tried.append(attachment)
        if attachment not in attachments:
            raise Unavailable(f"{attachment}/{FUNCTION}", f"no {attachment}", f"get {attachment}")

    monkeypatch.setattr(
        functions,
        "_TRIES",
        {one: lambda _, one=one: attempt(one) for one in Attachment},
    )
    return tried


def test_a_function_is_traced_by_fentry_where_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = working(monkeypatch, *Attachment)
    assert functions.attachment_to(FUNCTION) is Attachment.FENTRY
    assert tried == [Attachment.FENTRY]


def test_and_by_kprobe_where_fentry_is_refused_or_this_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = working(monkeypatch, Attachment.KPROBE)
    assert functions.attachment_to(FUNCTION) is Attachment.KPROBE
    assert tried == [Attachment.FENTRY, Attachment.KPROBE]
    functions._refusal.cache_clear()
    working(monkeypatch, *Attachment)
    assert functions.attachment_to(FUNCTION, Attachment.KPROBE) is Attachment.KPROBE


def test_where_neither_works_both_reasons_are_told_until_another_module_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = working(monkeypatch)
    with pytest.raises(Unavailable, match="no fentry; kprobes do not work either: no kprobe"):
        functions.attachment_to(FUNCTION)
    with pytest.raises(Unavailable, match="no kprobe"):
        functions.attachment_to(FUNCTION, Attachment.KPROBE)
    assert tried == [Attachment.FENTRY, Attachment.KPROBE]
    working(monkeypatch, Attachment.FENTRY)
    monkeypatch.setattr(functions, "loaded_modules", lambda: frozenset({"nf_conntrack"}))
    assert functions.attachment_to(FUNCTION) is Attachment.FENTRY


def test_the_collectors_programs_are_those_of_the_way_it_was_given() -> None:
    assert function_times.ConntrackTimesCollector(Attachment.KPROBE).programs_wanted.targets == (
        "kprobe/nf_conntrack_in",
        "kretprobe/nf_conntrack_in",
    )
    assert function_times.ConntrackTimesCollector().programs_wanted.targets == (
        "fentry/nf_conntrack_in",
        "fexit/nf_conntrack_in",
    )


@pytest.mark.parametrize(("begun", "ended", "missed"), [(500, 500, 0), (500, 460, 40), (500, 503, 0)])
def test_calls_that_never_returned_are_counted_by_the_runs_of_both_programs(
    begun: int, ended: int, missed: int
) -> None:
    costs = tuple(
        ProgramCost(program=f"route times/{kind}/{FUNCTION}", calls=calls, run_ns=0)
        for kind, calls in (("kprobe", begun), ("kretprobe", ended))
    )
    assert function_times.missed_returns(Overhead(programs=costs), Attachment.KPROBE, FUNCTION) == missed


class _Links:
    """Stands for libbpf: gives one link's struct bpf_link_info."""

    def __init__(self, info: bytes) -> None:
        self._info = info

    def link_info(self, link_fd: int, most_bytes: int) -> bytes:
        del link_fd
        return self._info[:most_bytes]


def test_what_a_kprobe_skipped_is_read_where_the_kernel_tells_it() -> None:
    info = struct.pack("<IIIIIIQIIQQQ", 7, 1, 2, 0, 3, 0, 0, 0, 0, 0, 41, 99)
    assert kprobe.missed(_Links(info), 3) == 41  # type: ignore[arg-type]
    assert kprobe.missed(_Links(info[:48]), 3) is None  # type: ignore[arg-type]


def programs(present: set[str]) -> Image:
    made = tuple(
        ProgramImage(kind=kind, target=target, btf_id=int(target in present or kind != "tp_btf"), code=b"")
        for kind, target in (
            ("tp_btf", "tcp_probe"),
            *(("tp_btf", tracepoint) for tracepoint in hooks.SUBSTITUTES),
            *((kind, target) for kind, _, target in (name.partition("/") for name in hooks.SUBSTITUTES.values())),
        )
    )
    return Image(source="x", maps=(), programs=made)


def test_functions_stand_in_for_the_tracepoints_that_a_kernel_lacks_and_for_no_others() -> None:
    chosen = hooks.chosen(programs({"tcp_probe", "sk_data_ready", "sock_recv_length"}))
    assert {one.name for one in chosen.programs} == {
        "tcp_probe", "fentry/tcp_sendmsg_locked", "sk_data_ready", "sock_recv_length",
    }  # fmt: skip


def test_metrics_by_another_hook_say_by_which_and_those_without_any_are_named() -> None:
    loaded = {"tcp_probe", "fentry/tcp_sendmsg_locked", "sk_data_ready"}
    told = {part.name: part for part in hooks.parts(loaded)}
    assert told["socket.tx_stage_us.p50"].hook.startswith("detail mode: fentry/tcp_sendmsg_locked")
    assert told["socket.tx_stage_us.p50"].ok
    assert "sock_recv_length" in told["socket.rx_stage_us.p99"].why
    assert not told["socket.rx_stage_us.p99"].ok
    assert "nic.wire_us.p50" not in told


def test_metrics_of_a_missing_tracepoint_are_its_collectors_own() -> None:
    told = {part.name for part in availability.lacking("tcp", ["tcp_receive_reset"])}
    assert told == {"tcp.resets"}
    assert availability.lacking("drops", ["tcp_receive_reset"]) == ()


def test_modules_are_those_of_the_list_and_none_where_the_kernel_has_no_list(tmp_path: Path) -> None:
    listed = tmp_path / "modules"
    assert loaded_modules(listed) == frozenset()
    listed.write_text("nf_conntrack 200704 2 nft_ct,openvswitch, Live 0x0\nveth 40960 0 - Live 0x0\n")
    assert loaded_modules(listed) == {"nf_conntrack", "veth"}
