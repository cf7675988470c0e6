"""`perfctl hist` on live transfers: what it says of windows, round trips and the path, against TCP_INFO."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import collect_lab as lab
import links_lab
import pytest
from test_known_tcp import tcp_info

from perfcheck.cli.perfctl import main
from perfcheck.live.perspectives import INFLIGHT, Perspectives, Side
from perfcheck.live.session import LiveSession
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.interval import LiveRequest
from perfcheck.system.clock import wait_until

PORT = 5999
DELAY_MS = 10
RCVBUF_BYTES = 40_000  # the kernel doubles it
TCP_CONGESTION = 13


@contextmanager
def sending(hosts: links_lab.TwoHosts, rcvbuf: int | None = None) -> Iterator[socket.socket]:
    """A connection from `a` to `b` that sends all it can until the block ends, by CUBIC; yields the sender."""
    stop = threading.Event()
    with hosts.socket(1, socket.SOCK_STREAM) as listener, hosts.socket(0, socket.SOCK_STREAM) as sender:
        if rcvbuf is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        listener.bind((links_lab.SECOND, PORT))
        listener.listen()
        sender.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, b"cubic")
        sender.connect((links_lab.SECOND, PORT))
        receiver, _ = listener.accept()

        def send() -> None:
            while not stop.is_set():
                sender.send(bytes(1 << 16))

        def receive() -> None:
            while receiver.recv(1 << 16):
                pass

        threads = [threading.Thread(target=send), threading.Thread(target=receive)]
        with receiver:
            for thread in threads:
                thread.start()
            assert wait_until(lambda: tcp_info(sender)["bytes_acked"] > 1 << 18, timeout_s=10)
            yield sender
            stop.set()
            threads[0].join()
            sender.shutdown(socket.SHUT_WR)
            threads[1].join()


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def hist(hosts: links_lab.TwoHosts, output: Path, *options: str) -> list[dict[str, Any]]:
    status = main(["hist", "--netns", f"pc-{hosts.tag}-a", "--rport", str(PORT), "--interval", "500ms", "--duration",
                   "2s", "--output", "json", "--output-file", str(output), *options])  # fmt: skip
    assert status == 0
    return told(output)


def of_run(events: list[dict[str, Any]], metric: str) -> Mapping[str, Any]:
    (found,) = (one for one in events if one["metric"] == metric and one["context"].get("scope") == "run")
    return found


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "hist.jsonl"


def test_a_small_receive_window_leaves_the_path_without_a_queue(output: Path) -> None:
    with links_lab.relay(delay=f"{DELAY_MS}ms") as hosts, sending(hosts, rcvbuf=RCVBUF_BYTES) as sender:
        events = hist(hosts, output)
        info = tcp_info(sender)
    bdp = of_run(events, "tcp.bdp_bytes")
    assert bdp["context"]["fill"] in {"below", "about"}
    assert "the receive window limits" in bdp["context"]["verdict"]
    assert bdp["metrics"]["tcp.limited_rwnd_pct"] > 50
    assert bdp["metrics"]["tcp.min_rtt_us"] == pytest.approx(info["min_rtt"], rel=0.05)
    assert of_run(events, "tcp.srtt_us.p50")["value"] == pytest.approx(info["rtt"], rel=0.25)
    assert of_run(events, "tcp.cwnd_segs.p50")["value"] == pytest.approx(info["snd_cwnd"], rel=0.25)
    assert of_run(events, "tcp.send_inflight_segs.p50")["value"] * info["snd_mss"] < 2 * RCVBUF_BYTES
    assert sum(of_run(events, "tcp.state_open_pct")["metrics"].values()) == pytest.approx(100)


def test_a_filled_path_has_a_queue_of_what_round_trips_are_longer_by(output: Path) -> None:
    with links_lab.relay(delay=f"{DELAY_MS}ms", rate="20mbit", queue="150kb") as hosts, sending(hosts) as sender:
        events = hist(hosts, output)
        info = tcp_info(sender)
    bdp = of_run(events, "tcp.bdp_bytes")
    assert bdp["context"]["fill"] == "above"
    metrics = bdp["metrics"]
    assert metrics["tcp.send_bps"] == pytest.approx(20e6 * 1448 / 1514, rel=0.1)
    assert metrics["tcp.min_rtt_us"] == pytest.approx(info["min_rtt"], rel=0.05)
    longer_us = metrics["tcp.rtt_us.mean"] - metrics["tcp.min_rtt_us"]
    assert metrics["tcp.queue_us"] == pytest.approx(longer_us, rel=0.3)
    assert of_run(events, "tcp.rtt_us.p50")["value"] > 1.5 * info["min_rtt"]
    share = of_run(events, "tcp.state_open_pct")["metrics"]
    assert sum(share.values()) == pytest.approx(100)


def watched(pair: lab.Pair, wanted: FlowFilter, size: int) -> tuple[Perspectives, dict[str, int]]:
    """Watch both hosts while `size` bytes are sent over a new connection; give what was seen, and its TCP_INFO."""
    seen = Perspectives()
    request = LiveRequest(filter=wanted, netns=pair.names, interval_ns=200_000_000, send_side=True, cpu_ceiling_pct=100)
    with LiveSession(request) as session:
        intervals = iter(session)
        sender, receiver = pair.connect()
        with sender, receiver:
            lab.transfer(sender, receiver, size)
            assert wait_until(lambda: tcp_info(sender)["unacked"] == 0, timeout_s=5)
            info = tcp_info(sender)
            session.stop()
            for interval in intervals:
                seen.add(interval)
        assert "send side" not in session.lacks
    return seen, info


@pytest.mark.parametrize("offloads", [False, True])
def test_each_segment_with_data_is_sampled_once_when_it_leaves(offloads: bool) -> None:
    with lab.pair(offloads=offloads) as pair:
        seen, info = watched(pair, FlowFilter(local=End(network=None, ports=(1, 65535))), 5_000_000)
    sent = seen.of(INFLIGHT, Side.SEND)
    assert sent is not None
    assert sent.count == info["data_segs_out"]
    assert 1 <= sent.minimum <= sent.maximum
    acked = seen.of(INFLIGHT, Side.ACK)
    assert acked is not None
    assert acked.count <= sent.count


def test_what_the_filters_leave_out_is_not_sampled(pair: lab.Pair) -> None:
    seen, _ = watched(pair, FlowFilter(remote=End(ports=(1, 2))), 100_000)
    assert not any(seen.of(quantity, Side.SEND) for quantity in (INFLIGHT,))


def test_a_recording_has_the_send_side_where_it_was_asked_for(tmp_path: Path, output: Path) -> None:
    recording = tmp_path / "live.rec"
    with links_lab.relay(delay="2ms") as hosts, sending(hosts, rcvbuf=RCVBUF_BYTES):
        status = main(["record", "--netns", f"pc-{hosts.tag}-a", "--rport", str(PORT), "--interval", "500ms",
                       "--duration", "1s", "--send-side", "--output-file", str(recording)])  # fmt: skip
    assert status == 0
    assert main(["hist", "--from", str(recording), "--output", "json", "--output-file", str(output)]) == 0
    events = told(output)
    for metric in ("tcp.rtt_us.p50", "tcp.inflight_segs.p50", "tcp.send_inflight_segs.p50", "tcp.send_srtt_us.p50"):
        assert of_run(events, metric)["value"] > 0
    assert of_run(events, "tcp.bdp_bytes")["context"]["fill"] in {"below", "about"}
