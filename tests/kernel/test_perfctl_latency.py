"""`perfctl latency` on live traffic: stages of one end and of both, and two hosts' files joined."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import collect_lab as lab
import links_lab
import numpy as np
import pytest
from test_known_tcp import tcp_info
from test_perfctl_hist import sending

from perfcheck.analyse.stages import STAGES
from perfcheck.cli.perfctl import main
from perfcheck.live.detail_file import SavedDetail, load_detail, save_detail
from perfcheck.live.joining import joined
from perfcheck.live.packet_watch import PacketWatch
from perfcheck.live.stages import Role, packets_of
from perfcheck.model.detail import Kind
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.interval import LiveRequest
from perfcheck.system.clock import wait_until

MESSAGE_BYTES = 4000
READ_LATE_S = 0.03
AHEAD_NS = 7_654_321
COMMAND = "import sys; from perfcheck.cli.perfctl import main; sys.exit(main())"


@contextmanager
def echoing(pair: lab.Pair, read_late_s: float = 0.0) -> Iterator[Any]:
    """Messages and their echoes until the block ends; the server reads each one late."""
    stop = threading.Event()
    sender, receiver = pair.connect()

    def echo() -> None:
        while receiver.recv(MESSAGE_BYTES, 2):  # MSG_PEEK
            time.sleep(read_late_s)
            receiver.sendall(receiver.recv(MESSAGE_BYTES))

    def ask() -> None:
        while not stop.is_set():
            sender.sendall(bytes(MESSAGE_BYTES))
            left = MESSAGE_BYTES
            while left:
                left -= len(sender.recv(left))
        sender.shutdown(1)

    threads = [threading.Thread(target=echo), threading.Thread(target=ask)]
    with sender, receiver:
        for thread in threads:
            thread.start()
        yield sender
        stop.set()
        for thread in threads:
            thread.join()


def latency(output: Path, *options: str) -> list[dict[str, Any]]:
    assert main(["latency", "--output", "json", "--output-file", str(output), *options]) == 0
    return [json.loads(line) for line in output.read_text(encoding="ascii").splitlines()]


def stages(events: list[dict[str, Any]], role: str) -> dict[str, dict[str, Any]]:
    return {one["metric"]: one for one in events if one["context"].get("role") == role and one["type"] == "summary"}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "latency.jsonl"


def test_one_end_has_its_stages_and_a_late_reader_is_the_slowest(pair: lab.Pair, output: Path) -> None:
    with echoing(pair, READ_LATE_S) as sender:
        port = sender.getsockname()[1]
        flow = f"{pair.addresses[0]}:{port}->{pair.addresses[1]}:{lab.PORT}"
        events = latency(output, "--netns", pair.names[1], "--flow", flow, "--detail", "--duration", "1s",
                         "--cpu-ceiling", "100", "--slowest", "5")  # fmt: skip
    received = stages(events, "received")
    assert set(received) == {f"{layer}.rx_stage_us.p50" for layer in ("nic", "ip", "tcp", "socket")}
    assert 1e6 * READ_LATE_S < received["socket.rx_stage_us.p50"]["value"] < 2e6 * READ_LATE_S
    assert received["nic.rx_stage_us.p50"]["value"] < 5000
    assert "qdisc.tx_stage_us.p50" in stages(events, "sent")
    assert not stages(events, "whole")
    slow = [one for one in events if one["type"] == "detail"]
    assert len(slow) == 5
    assert {one["metric"] for one in slow} == {"socket.rx_stage_us"}
    assert all(one["context"]["total_us"] > 1e6 * READ_LATE_S for one in slow)
    (share,) = (one for one in events if one["metric"] == "nic.followed_packets")
    assert share["metrics"]["detail.lost_records"] == 0


def test_other_flows_are_left_out(pair: lab.Pair, output: Path) -> None:
    with echoing(pair):
        events = latency(output, "--netns", pair.names[0], "--rport", "1", "--detail", "--duration", "1s")
    (share,) = (one for one in events if one["metric"] == "nic.followed_packets")
    assert share["value"] == 0
    assert share["metrics"]["detail.records"] == 0


def test_both_ends_have_the_whole_way_with_the_delay_of_the_link(output: Path) -> None:
    with links_lab.relay(delay="10ms") as hosts, sending(hosts, rcvbuf=40_000) as sender:
        netns = [word for host in "ab" for word in ("--netns", f"pc-{hosts.tag}-{host}")]
        events = latency(output, *netns, "--detail", "--duration", "1s", "--cpu-ceiling", "100")
        info = tcp_info(sender)
    whole = stages(events, "whole")
    # The relay's device hands packets to the softirq itself: there is no stage `nic.rx`.
    assert {f"{name}.p50" for name, _, _ in STAGES} - whole.keys() == {"nic.rx_stage_us.p50"}
    assert whole["nic.wire_us.p50"]["value"] == pytest.approx(10_000, rel=0.2)
    assert info["min_rtt"] > 20_000 * 0.95
    told = [one for one in events if one["metric"] == "tcp.rtt_us.mean"]
    own = min(told, key=lambda one: one["metrics"]["tcp.min_rtt_us"])
    assert own["metrics"]["tcp.min_rtt_us"] == pytest.approx(info["min_rtt"], rel=0.1)


def saved(watch: PacketWatch, path: Path, ahead_ns: int = 0) -> SavedDetail:
    """What a watch has seen, by way of a file; by a clock that is ahead."""
    stream = watch.end()
    events = stream.events.copy()
    is_time = (events["kind"] > Kind.FLOW_TARGET) & (events["sent_ns"] > 0)
    events["ns"] += np.uint64(ahead_ns)
    events["sent_ns"] = np.where(is_time, events["sent_ns"] + np.uint64(ahead_ns), events["sent_ns"])
    moved = replace(stream, events=events, start_ns=stream.start_ns + ahead_ns, end_ns=stream.end_ns + ahead_ns)
    save_detail(path, SavedDetail(stream=moved, epoch_ns=watch.epoch_ns))
    return load_detail(path)


def test_two_hosts_joined_are_what_one_machine_sees(pair: lab.Pair, tmp_path: Path) -> None:
    """Each namespace is recorded for itself, the second by a clock that is ahead; a third watch sees both."""
    wanted = FlowFilter(target=End(ports=(lab.PORT, lab.PORT)))
    with ExitStack() as stack:
        each, other, both = (
            stack.enter_context(PacketWatch(LiveRequest(filter=wanted, netns=names), 100.0))
            for names in (pair.names[:1], pair.names[1:], pair.names)
        )
        with echoing(pair) as sender:
            assert wait_until(lambda: tcp_info(sender)["bytes_acked"] > 100 * MESSAGE_BYTES, timeout_s=10)
        first = saved(each, tmp_path / "a")
        second = saved(other, tmp_path / "b", AHEAD_NS)
        expected = packets_of(both.end(), lambda _key: True)
    found = joined(first, second)
    assert found.offset.error_ns is not None
    assert abs(found.offset.ns - AHEAD_NS) <= found.offset.error_ns
    assert found.offset.error_ns < 1_000_000
    packets = packets_of(found.stream, lambda _key: True)
    assert set(packets.by_role) == {Role.WHOLE}
    assert packets.followed == pytest.approx(expected.followed, rel=0.05)
    times = {one.name: one for one in packets.times()}
    for one in expected.times():
        # The same stations, a few microseconds apart; the wire also holds the clocks' error.
        slack_us = 30 + (found.offset.error_ns / 1000 if one.name == "nic.wire_us" else 0)
        assert times[one.name].quantile(0.5) == pytest.approx(one.quantile(0.5), rel=0.25, abs=slack_us), one.name


def test_files_of_two_runs_are_joined_by_the_command(pair: lab.Pair, tmp_path: Path, output: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    with echoing(pair):
        running = [
            subprocess.Popen([sys.executable, "-c", COMMAND, "latency", "--netns", name, "--detail", "--duration", "3s",
                              "--save", str(file), "--cpu-ceiling", "100"], stdout=subprocess.DEVNULL)
            for name, file in zip(pair.names, files, strict=True)
        ]  # fmt: skip
        assert [one.wait(timeout=60) for one in running] == [0, 0]
    events = latency(output, "--join", *map(str, files))
    assert "nic.wire_us.p50" in stages(events, "whole")
    (share,) = (one for one in events if one["metric"] == "nic.followed_packets")
    assert "the second host's clock is" in share["context"]["notes"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_host_that_talks_to_itself_has_the_whole_way(pair: lab.Pair, output: Path, address: str) -> None:
    def connected() -> tuple[socket.socket, socket.socket]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, lab.PORT), family=family) as listener:
            one = socket.create_connection((address, lab.PORT))
            return one, listener.accept()[0]

    one, two = pair.client(connected)
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            one.sendall(bytes(MESSAGE_BYTES))
            two.recv(MESSAGE_BYTES, socket.MSG_WAITALL)
            time.sleep(0.005)

    with one, two:
        sending_thread = threading.Thread(target=send)
        sending_thread.start()
        events = latency(output, "--netns", pair.names[0], "--rport", str(lab.PORT), "--detail", "--duration", "1s",
                         "--cpu-ceiling", "100")  # fmt: skip
        stop.set()
        sending_thread.join()
    whole = stages(events, "whole")
    assert {"socket.tx_stage_us.p50", "nic.wire_us.p50", "tcp.rx_stage_us.p50", "app.oneway_us.p50"} <= whole.keys()
    (share,) = (one for one in events if one["metric"] == "nic.followed_packets")
    assert share["value"] > 50
