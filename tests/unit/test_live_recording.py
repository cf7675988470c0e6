"""What is recorded is read back equal; torn and damaged files give what is whole before, and one clear line."""

from __future__ import annotations

import io
import ipaddress
import struct
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_intervals import FULL_ACCOUNTING, a_histogram, difference, flow_table, interval

from perfcheck.errors import PerfcheckError, RecordingError, UnreadableFile, UsageError
from perfcheck.live.recording import frames
from perfcheck.live.recording.header import encode_header, header_of
from perfcheck.live.recording.payload import MAX_ROWS, decode_interval, encode_interval
from perfcheck.live.recording.reading import read_recording
from perfcheck.live.recording.writing import RecordingFile
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.flow_table import COLUMNS, FlowTable
from perfcheck.model.interval import Interval, LiveRequest
from perfcheck.model.metric import Layer

KEY = FlowKey(protocol=Protocol.TCP, host="", local="10.0.0.1", local_port=40000, remote="fe80::2", remote_port=5201)
EVENT = Event(
    number=7, timestamp_ns=1000_500_000_000, flow=KEY, layer=Layer.TCP, metric="tcp.retrans_segs", value=1.0,
    type=EventType.ALERT, metrics={"tcp.cwnd_segs": 10.5}, context={"host": "", "seq": 2**32 - 1, "share": 0.1},
    related=(3, 4), cause="random_loss",
)  # fmt: skip


def full_interval(number: int = 0, flows: FlowTable | None = None) -> Interval:
    return interval(
        number, flows, metrics={"host.retrans_segs": 3.0, "cpu.busy_pct": 0.1 + 0.2}, hosts={"b": {"x.y": 1e-9}},
        interfaces={("", "eth0"): {"nic.tx_bytes": 1e12}, ("b", "v\x1bth"): {}},
        histograms={"tcp.rtt_us": a_histogram()}, events=(EVENT, replace(EVENT, flow=None, cause=None)),
        accounting=FULL_ACCOUNTING, lacks={"tcp.rtt_us": "no BPF"},
    )  # fmt: skip


def recorded(path: Path, intervals: Sequence[Interval]) -> bytes:
    file = RecordingFile(path, header_of(LiveRequest()))
    for each in intervals:
        file.append(each)
        assert file.problem is None
    file.close()
    return path.read_bytes()


def read_all(path: Path, wanted: FlowFilter | None = None) -> tuple[list[Interval], PerfcheckError | None]:
    """Return what can be read, and the error that ended it."""
    found: list[Interval] = []
    try:
        found.extend(read_recording(path, wanted or FlowFilter()))
    except PerfcheckError as error:
        return found, error
    return found, None


@st.composite
def tables(draw: st.DrawFn) -> FlowTable:
    rows = draw(st.integers(0, 5))
    table = FlowTable.empty(rows, hosts={4: "", 2**32 - 1: draw(st.text(max_size=4))})
    for name in draw(st.lists(st.sampled_from(list(COLUMNS)), max_size=12)):
        size = COLUMNS[name].itemsize * rows
        raw = draw(st.binary(min_size=size, max_size=size))
        kind = COLUMNS[name]
        table.columns[name][:] = np.frombuffer(raw, "u1") > 127 if kind == np.dtype("?") else np.frombuffer(raw, kind)
    return table


@settings(deadline=None)
@given(tables(), st.dictionaries(st.text(max_size=9), st.floats(allow_nan=False), max_size=4))
def test_what_is_written_is_read_back_equal(table: FlowTable, metrics: dict[str, float]) -> None:
    one = replace(full_interval(3, table), metrics=metrics)
    assert difference(one, decode_interval(*encode_interval(one))) is None


def test_a_recording_yields_its_intervals_each_time_it_is_read(tmp_path: Path) -> None:
    written = [full_interval(number, flow_table(number, cwnd_segs=np.arange(number))) for number in range(5)]
    recorded(tmp_path / "a.rec", written)
    recording = read_recording(tmp_path / "a.rec", FlowFilter())
    for _ in range(2):
        found = list(recording)
        assert [difference(one, other) for one, other in zip(written, found, strict=True)] == [None] * 5
    assert recording.torn_bytes == 0
    assert recording.header.request == LiveRequest()


def test_the_request_is_read_back(tmp_path: Path) -> None:
    request = LiveRequest(
        filter=FlowFilter(remote=End(network=ipaddress.ip_network("10.0.0.0/8"), ports=(1, 80)), pid=3),
        netns=("blue",), layers=("tcp", "nic"), mode="both", interval_ns=5, duration_ns=7,
    )  # fmt: skip
    RecordingFile(tmp_path / "a.rec", header_of(request)).close()
    recording = read_recording(tmp_path / "a.rec", FlowFilter())
    assert recording.header.request == request
    assert list(recording) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Interval]]:
    written = [full_interval(number, flow_table(2, srtt_us=[number, 5.0])) for number in range(3)]
    return recorded(tmp_path_factory.mktemp("small") / "a.rec", written), written


def is_prefix(found: Sequence[Interval], written: Sequence[Interval]) -> bool:
    return all(difference(one, other) is None for one, other in zip(found, written, strict=False)) and len(
        found
    ) <= len(written)


def test_cut_at_any_byte_all_before_is_read(small: tuple[bytes, list[Interval]], tmp_path: Path) -> None:
    content, written = small
    path = tmp_path / "cut.rec"
    most = 0
    for size in (*range(0, len(content), 3), len(content)):
        path.write_bytes(content[:size])
        found, error = read_all(path)
        assert is_prefix(found, written)
        assert len(found) >= most
        most = len(found)
        assert error is None or (not found and "not even its header is whole" in str(error)), size
    assert most == len(written)


def test_any_flipped_byte_gives_a_prefix_or_one_line(small: tuple[bytes, list[Interval]], tmp_path: Path) -> None:
    content, written = small
    path = tmp_path / "flipped.rec"
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        found, error = read_all(path)
        assert is_prefix(found, written)
        assert len(found) < len(written)
        if error is not None:
            assert isinstance(error, RecordingError)
            assert "\n" not in str(error)
            assert str(path) in str(error)


def test_zeros_that_a_power_failure_leaves_end_a_recording(small: tuple[bytes, list[Interval]], tmp_path: Path) -> None:
    content, written = small
    (tmp_path / "a.rec").write_bytes(content + bytes(5000))
    recording = read_recording(tmp_path / "a.rec", FlowFilter())
    assert len(list(recording)) == len(written)
    assert recording.torn_bytes == 5000


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.binary(max_size=60))
def test_hostile_content_behind_a_good_checksum_is_refused_in_one_line(text: bytes, data: bytes) -> None:
    stream = io.BytesIO(frames.pack_frame(text, data))
    (frame,) = frames.read_frames(stream)
    with pytest.raises(ValueError, match=r"."):
        decode_interval(frame.text, frame.data)


def hostile_texts() -> Iterator[tuple[str, bytes]]:
    text, _ = encode_interval(full_interval(0, flow_table(2)))
    for name, (before, after) in {
        "rows": (b'"rows":2', b'"rows":99999999999'),
        "nested": (b'"lacks":{', b'"lacks":' + b'{"a":' * 5000),
        "type": (b'"<u8"', b'"|O08"'),
        "large": (b'"<u8"', b'"|V2147483647"'),
        "port": (b'"local_port":40000', b'"local_port":70000'),
        "address": (b'"local":"10.0.0.1"', b'"local":"; rm"'),
        "digits": (b'"number":0', b'"number":' + b"9" * 9000),
        "time": (b'"end_ns":1001', b'"end_ns":1'),
        "year": (b'"timestamp_ns":10005', b'"timestamp_ns":9999999999990005'),
        "edges": (b'"edges":[', b'"edges":[1.0,'),
        "falling edges": (b'"edges":[10.0,20.0', b'"edges":[20.0,10.0'),
        "samples": (b'"counts":[1,', b'"counts":[999999999999999999,'),
        "no number": (b'"maximum":80.25', b'"maximum":Infinity'),
        "counts": (b'"below":1', b'"below":-1'),
        "layer": (b'"layer":"tcp"', b'"layer":"x"'),
    }.items():
        assert before in text, name
        yield name, text.replace(before, after)


@pytest.mark.parametrize(
    ("name", "text"), list(hostile_texts()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_hostile_interval_is_one_clear_line(name: str, text: bytes, tmp_path: Path) -> None:
    _, data = encode_interval(full_interval(0, flow_table(2)))
    path = tmp_path / "a.rec"
    path.write_bytes(recorded(path, [full_interval()]) + frames.pack_frame(text, data))
    found, error = read_all(path)
    assert len(found) == 1
    assert isinstance(error, RecordingError)
    assert "; all before it can be read" in str(error)
    assert len(str(error)) < 500


def test_what_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(300 << 20), 9)
    checked = struct.pack("<4sIIII", frames.MAGIC, 0, 0, len(bomb), 2 * len(bomb))
    crc = zlib.crc32(bomb, zlib.crc32(checked))
    (tmp_path / "a.rec").write_bytes(checked + struct.pack("<I", crc) + bomb)
    tracemalloc.start()
    try:
        _, error = read_all(tmp_path / "a.rec")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, RecordingError)
    assert peak < 20 << 20


def test_a_frame_that_says_it_is_huge_is_not_read(tmp_path: Path) -> None:
    head = frames.FRAME.pack(frames.MAGIC, 0, 0, 2**32 - 1, 2**32 - 1, 0)
    (tmp_path / "a.rec").write_bytes(head + b"x")
    _, error = read_all(tmp_path / "a.rec")
    assert "expected at most" in str(error)


def test_other_files_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema": 1}' * 9)
    with pytest.raises(RecordingError, match=r"a\.json: not a recording of perfctl$"):
        read_recording(tmp_path / "a.json", FlowFilter())
    for path in (tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(UnreadableFile):
            read_recording(path, FlowFilter())


def test_a_newer_schema_is_named(tmp_path: Path) -> None:
    header = encode_header(replace(header_of(LiveRequest()), schema=9))
    (tmp_path / "a.rec").write_bytes(frames.pack_frame(header))
    with pytest.raises(RecordingError, match=r"schema 9, this perfcheck reads up to 1; use a newer perfcheck"):
        read_recording(tmp_path / "a.rec", FlowFilter())


def test_unknown_columns_are_passed_over_and_missing_ones_filled() -> None:
    text, data = encode_interval(interval(0, flow_table(3, rtt_p50_us=[1.0, 2.0, 3.0], pid=[1, 2, 3])))
    text = text.replace(b'"rtt_p50_us"', b'"later_us"').replace(b'"pid"', b'"later_pid"').replace(
        b'"lacks":', b'"later":[{"a":1}],"lacks":'
    )  # fmt: skip
    found = decode_interval(text, data)
    assert np.isnan(found.flows["rtt_p50_us"]).all()
    assert found.flows["pid"].tolist() == [0, 0, 0]
    assert found.flows["cookie"].tolist() == [1, 2, 3]


def test_more_connections_than_a_frame_holds_are_cut_and_told() -> None:
    found = decode_interval(*encode_interval(interval(0, FlowTable.empty(MAX_ROWS + 5))))
    assert len(found.flows) == MAX_ROWS
    assert f"the first {MAX_ROWS} of {MAX_ROWS + 5} are kept" in found.lacks["recording"]


def test_a_full_disk_is_told_and_recording_goes_on() -> None:
    file = RecordingFile(Path("/dev/full"), header_of(LiveRequest()))
    for number in range(3):
        file.append(interval(number))
        assert "/dev/full: cannot write the recording: No space left on device; free some space" in str(file.problem)
    assert (file.kept, file.missing) == (0, 3)
    file.close()


def test_where_no_file_can_be_made_it_is_said_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name another file"):
        RecordingFile(tmp_path / "no" / "a.rec", header_of(LiveRequest()))


ADDRESSES = ("10.0.0.1", "10.1.0.1", "::1", "fe80::1", "::ffff:10.0.0.1")
NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "::/0", "fe80::/10", "::1/128", "::ffff:a00:0/104"),
    )
)
ENDS = st.builds(
    lambda network, ports: End(network=network, ports=(min(ports), max(ports))),
    st.one_of(
        st.none(),
        st.sampled_from(NETWORKS),
    ),
    st.tuples(st.sampled_from((0, 1, 80, 65535)), st.sampled_from((0, 1, 80, 65535))),
)  # fmt: skip


@st.composite
def rows_of_addresses(draw: st.DrawFn) -> FlowTable:
    rows = draw(st.integers(0, 8))
    columns: dict[str, Any] = {}
    families = []
    for _ in range(rows):
        version = draw(st.sampled_from((4, 6)))
        families.append(2 if version == 4 else 10)
        for side in ("local", "remote"):
            chosen = draw(
                st.sampled_from([each for each in ADDRESSES if ("." in each and ":" not in each) == (version == 4)])
            )
            packed = ipaddress.ip_address(chosen).packed.ljust(16, b"\0")
            columns.setdefault(side, []).append(packed)
            columns.setdefault(f"{side}_port", []).append(draw(st.sampled_from((1, 80, 65535))))
    for side in ("local", "remote"):
        columns[side] = np.frombuffer(b"".join(columns.get(side, [])), "V16")
    return flow_table(rows, **{"local_port": [], "remote_port": [], **columns}, family=families)


@settings(deadline=None)
@given(rows_of_addresses(), ENDS, ENDS, ENDS, ENDS, st.sampled_from((None, *Protocol)))
def test_columns_are_filtered_as_single_flows_are(
    table: FlowTable, source: End, target: End, local: End, remote: End, protocol: Protocol | None
) -> None:
    from perfcheck.live.recording.filtering import rows_passing

    wanted = FlowFilter(source=source, target=target, local=local, remote=remote, protocol=protocol)
    assert rows_passing(table, wanted).tolist() == [wanted.passes_ends(key) for key in table.keys()]  # noqa: SIM118


def test_filters_of_process_and_name_hold_for_a_recording(tmp_path: Path) -> None:
    flows = flow_table(3, pid=[1, 2, 2], comm=np.array([b"curl", b"curl", b"nginx"], "S16"))
    recorded(tmp_path / "a.rec", [full_interval(0, flows)])
    found, _ = read_all(tmp_path / "a.rec", FlowFilter(pid=2, comm="curl"))
    assert found[0].flows["cookie"].tolist() == [2]
    assert not found[0].histograms
    assert "record with this filter" in found[0].lacks["histograms"]
    assert [event.flow for event in found[0].events] == [None]
    found, _ = read_all(tmp_path / "a.rec", FlowFilter(local=End(ports=(40000, 40000))))
    assert [event.flow for event in found[0].events] == [KEY, None]


@pytest.mark.parametrize("wanted", [FlowFilter(cgroup="a.slice"), FlowFilter(interface="eth0")])
def test_a_filter_that_a_recording_cannot_answer_is_refused(tmp_path: Path, wanted: FlowFilter) -> None:
    recorded(tmp_path / "a.rec", [])
    with pytest.raises(UsageError, match="cannot filter a recording"):
        read_recording(tmp_path / "a.rec", wanted)
    RecordingFile(tmp_path / "b.rec", header_of(LiveRequest(filter=wanted))).close()
    read_recording(tmp_path / "b.rec", wanted)
