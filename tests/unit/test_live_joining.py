"""Two hosts' records become one stream: the offset of their clocks, files, and what is told of it all."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detail_streams import CLIENT, FLOW, KEY, MSS, SERVER, START_NS, STEP_NS, Flow
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.cli.perfctl import latency_run, main
from perfcheck.cli.perfctl.options import output_of, request_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.errors import FileError, UnreadableFile
from perfcheck.live.clock_offset import offset_of
from perfcheck.live.detail_file import SavedDetail, load_detail, save_detail
from perfcheck.live.joining import joined
from perfcheck.live.stages import Role, packets_of, passing, turned
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.flow_filter import End, FlowFilter

BACK = FLOW + 1
DELAYS = st.lists(st.integers(1, 10**9), min_size=1, max_size=20)
EPOCH_NS = 10**18


@given(there=DELAYS, back=DELAYS, offset=st.integers(-(10**15), 10**15))
def test_the_offset_is_within_its_error_whatever_the_delays_are(there: list[int], back: list[int], offset: int) -> None:
    found = offset_of(np.array(there) + offset, np.array(back) - offset)
    assert found is not None
    assert found.error_ns is not None
    assert abs(found.ns - offset) <= found.error_ns
    assert found.error_ns <= (min(there) + min(back)) // 2 + 1


@given(delay=st.integers(1, 10**9), offset=st.integers(-(10**15), 10**15))
def test_the_offset_is_exact_where_both_ways_are_alike(delay: int, offset: int) -> None:
    found = offset_of(np.array([delay + offset, 2 * delay + offset]), np.array([delay - offset]))
    assert found is not None
    assert found.ns == offset


def test_one_way_alone_gives_no_offset() -> None:
    assert offset_of(np.array([1]), np.zeros(0, np.int64)) is None


def both_ways(delay_ns: int = 100_000) -> DetailStream:
    """Ten segments from the client, and ten back."""
    flow, back = Flow(1000, delay_ns), Flow(9000, delay_ns)
    for one in (flow, back):
        one.run([False] * 10, resend_ns=0, merged=1)
    events = flow.stream().events
    returned = back.stream().events.copy()
    returned["flow"] = BACK
    returned["host"] = np.where(returned["host"] == CLIENT, SERVER, CLIENT)
    whole = np.concatenate((events, returned))
    whole = whole[np.argsort(whole["ns"], kind="stable")]
    flows = {FLOW: KEY, BACK: replace(turned(KEY), host="server")}
    return replace(flow.stream(), events=whole, flows=flows, end_ns=START_NS + 10**10)


def one_host(stream: DetailStream, host: int, ahead_ns: int = 0) -> SavedDetail:
    """What one of the hosts alone would have recorded, by a clock that is ahead."""
    events = stream.events[stream.events["host"] == host].copy()
    events["host"] = 1
    events["ns"] += np.uint64(ahead_ns)
    events["sent_ns"] = np.where(events["sent_ns"] > 0, events["sent_ns"] + np.uint64(ahead_ns), 0)
    own = replace(
        stream, events=events, hosts=(stream.hosts[host - 1],), start_ns=stream.start_ns + ahead_ns,
        end_ns=stream.end_ns + ahead_ns,
    )  # fmt: skip
    return SavedDetail(stream=own, epoch_ns=EPOCH_NS)


@settings(max_examples=30)
@given(ahead_ns=st.integers(0, 10**15), delay_ns=st.integers(20_000, 10**8))
def test_joined_streams_are_what_one_machine_would_have_seen(ahead_ns: int, delay_ns: int) -> None:
    stream = both_ways(delay_ns)
    found = joined(one_host(stream, CLIENT), one_host(stream, SERVER, ahead_ns))
    assert found.offset.error_ns is not None
    assert abs(found.offset.ns - ahead_ns) <= found.offset.error_ns
    expected = packets_of(stream, lambda _key: True).by_role[Role.WHOLE]
    packets = packets_of(found.stream, lambda _key: True).by_role[Role.WHOLE]
    order = [np.argsort(each, order=("flow", "seq")) for each in (expected, packets)]
    for name in ("seq", "length", "lost", "duplicate", "transmitted_ns", "received_ns", "softirq_ns", "read_ns"):
        # Both ways take alike, so that the offset is exact.
        assert expected[name][order[0]].tolist() == packets[name][order[1]].tolist(), name


def test_one_way_alone_is_joined_by_the_time_of_day_and_said() -> None:
    stream = both_ways()
    alone = replace(stream, events=stream.events[stream.events["flow"] == FLOW], flows={FLOW: KEY})
    second = one_host(alone, SERVER, 5000)
    found = joined(one_host(alone, CLIENT), replace(second, epoch_ns=EPOCH_NS - 5000))
    assert found.offset.error_ns is None
    assert found.offset.ns == 5000
    assert "one way only" in found.how
    early = joined(one_host(alone, CLIENT), replace(second, epoch_ns=EPOCH_NS - 5_000_000))
    assert "moved by" in early.how
    packets = packets_of(early.stream, lambda _key: True).by_role[Role.WHOLE]
    wire = packets["received_ns"] - packets["transmitted_ns"]
    assert wire.min() == 0


def test_files_without_a_common_flow_are_refused() -> None:
    stream = both_ways()
    first = one_host(stream, CLIENT)
    other = replace(one_host(stream, SERVER), stream=replace(stream, flows={77: KEY}))
    with pytest.raises(ValueError, match="no flow in common"):
        joined(first, other)
    late = one_host(stream, SERVER)
    late = replace(late, stream=replace(late.stream, events=late.stream.events[:0]))
    with pytest.raises(ValueError, match="no packet in common"):
        joined(first, late)


def test_one_end_has_its_own_stages_alone() -> None:
    stream = both_ways()
    packets = packets_of(one_host(stream, SERVER).stream, lambda _key: True)
    assert set(packets.by_role) == {Role.SENT, Role.RECEIVED}
    names = {role: {each.name for each in packets.times() if each.role is role} for role in packets.by_role}
    assert names[Role.SENT] == {"socket.tx_stage_us", "tcp.tx_stage_us", "ip.tx_stage_us", "qdisc.tx_stage_us",
                                "nic.driver_us"}  # fmt: skip
    assert names[Role.RECEIVED] == {"nic.rx_stage_us", "ip.rx_stage_us", "tcp.rx_stage_us", "socket.rx_stage_us"}
    received = packets.by_role[Role.RECEIVED]
    assert (received["received_ns"] > 0).all()
    assert (received["read_ns"] - received["received_ns"] == 4 * STEP_NS).all()


def test_the_slowest_come_first_with_their_stages() -> None:
    flow = Flow(0, delay_ns=10_000)
    for number in range(5):
        flow.add(Kind.WRITE, START_NS + number * 10**6 - 4 * STEP_NS, CLIENT, number * MSS, MSS)
        flow.transmit(number, START_NS + number * 10**6, lost=False, extra_ns=number * 1000)
    flow.receive(1)
    slow = packets_of(flow.stream(), lambda _key: True).slowest(2)
    assert [each.seq for each in slow] == [4 * MSS, 3 * MSS]
    assert slow[0].total_us > slow[1].total_us
    stages = dict(slow[0].stages_us)
    assert stages["nic.wire_us"] == 14
    assert sum(stages.values()) == pytest.approx(slow[0].total_us)


def test_flows_are_chosen_by_either_end() -> None:
    stream = both_ways()
    for wanted in (FlowFilter(target=End(ports=(80, 80))), FlowFilter(local=End(ports=(80, 80)))):
        assert len(packets_of(stream, passing(wanted)).by_role[Role.WHOLE]) == 20
    assert packets_of(stream, passing(FlowFilter(target=End(ports=(81, 81))))).by_role == {}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """Files of both ends."""
    stream = both_ways()
    files = tmp_path / "a", tmp_path / "b"
    save_detail(files[0], one_host(stream, CLIENT))
    save_detail(files[1], one_host(stream, SERVER, 123_456))
    return files


def test_a_file_holds_what_was_saved(saved: tuple[Path, Path]) -> None:
    expected, found = one_host(both_ways(), CLIENT), load_detail(saved[0])
    assert found.epoch_ns == expected.epoch_ns
    assert found.stream.flows == expected.stream.flows
    assert found.stream.hosts == expected.stream.hosts
    assert found.stream.events.tolist() == expected.stream.events.tolist()


def damaged(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises((FileError, UnreadableFile)) as caught:
        load_detail(path)
    assert caught.value.exit_status == 2
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


def with_members(**arrays: object) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def test_damage_is_one_clear_line(saved: tuple[Path, Path], tmp_path: Path) -> None:
    content, path = saved[0].read_bytes(), tmp_path / "c"
    with np.load(saved[0]) as archive:
        events, about = archive["events"], archive["about"].tobytes()
    assert "not a whole file" in damaged(path, b"")
    assert "not a whole file" in damaged(path, content[: len(content) // 2])
    assert "not a whole file" in damaged(path, with_members(events=events))
    assert "not those of this version" in damaged(path, with_members(events=np.zeros(3), about=np.zeros(1, np.uint8)))
    pickled = with_members(events=np.array([{}], object), about=np.zeros(1, np.uint8))
    assert "is damaged" in damaged(path, pickled)

    def described(**parts: object) -> bytes:
        text = json.dumps({**json.loads(about), **parts}).encode()
        return with_members(events=events, about=np.frombuffer(text, np.uint8))

    assert "description is damaged at share" in damaged(path, described(share=7))
    assert "format 9" in damaged(path, described(format=9))
    assert "ends before" in damaged(path, described(end_ns=1))
    assert "no valid host" in damaged(path, described(hosts=[]))
    wrong = events.copy()
    wrong["kind"] = 99
    text = np.frombuffer(about, np.uint8)
    assert "no valid kind" in damaged(path, with_members(events=wrong, about=text))
    assert "no valid time" in damaged(path, with_members(events=events[::-1], about=text))


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.npy", bytes(200 << 20))
        archive.writestr("about.npy", b"")
    with pytest.raises(FileError, match="larger than"):
        load_detail(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_is_an_error_of_ours(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("damage") / "file"
    save_detail(path, one_host(both_ways(), CLIENT))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        load_detail(path)
    except (FileError, UnreadableFile) as problem:
        assert "\n" not in str(problem)  # noqa: PT017 - either outcome is right


def perfctl(words: Sequence[str], out: Path) -> str:
    args, command = parse(["latency", *words, "--output-file", str(out)])

    def opened() -> object:
        raise AssertionError("nothing live is to be opened")

    assert latency_run.run(args, request_of(args, command), output_of(args, command), opened) == 0  # type: ignore[arg-type]
    return out.read_text(encoding="utf-8")


def test_the_report_of_two_files_has_the_whole_way(saved: tuple[Path, Path], tmp_path: Path) -> None:
    text = perfctl(["--join", str(saved[0]), str(saved[1]), "--slowest", "3"], tmp_path / "out")
    assert "packets on their whole way: 20" in text
    assert "nic.wire" in text
    assert "the second host's clock is 123.5 us ahead of the first's, +- " in text
    assert "slowest 3 of 20" in text
    assert all(len(line) <= 80 for line in text.splitlines()), text


def test_events_of_two_files_are_of_stages_and_packets(saved: tuple[Path, Path], tmp_path: Path) -> None:
    text = perfctl(["--join", str(saved[0]), str(saved[1]), "--output", "json"], tmp_path / "out")
    events = [json.loads(line) for line in text.splitlines()]
    wire = next(one for one in events if one["metric"] == "nic.wire_us.p50")
    assert wire["value"] == pytest.approx(100)
    assert wire["context"]["role"] == "whole"
    assert sum(one["type"] == "detail" for one in events) == 10
    assert [one["number"] for one in events] == list(range(len(events)))


def test_a_file_that_is_none_ends_with_status_2(
    tmp_path: Path, saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", "--join", str(saved[0]), str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    other = tmp_path / "text"
    other.write_text("no")
    assert main(["latency", "--join", str(saved[0]), str(other)]) == 2
    assert "is not a whole file of packets" in capsys.readouterr().err
