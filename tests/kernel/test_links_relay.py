"""The relay between two real hosts, against clocks and counts that are not its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import links_lab
import pytest
from links_lab import SECOND, TwoHosts, relay, trial

from perfcheck.errors import LabError
from perfcheck.lab.links.relay.emulator import RelayEmulator, RelayLink
from perfcheck.system.clock import wait_until

pytestmark = pytest.mark.kernel

PORT = 7777
CELLS = 1000
TCP_SHARE = 1448 / 1514


@pytest.mark.parametrize("rate_mbit", [5, 50])
def test_tcp_gets_the_rate_and_nothing_more(rate_mbit: int) -> None:
    with relay(delay="5ms", rate=f"{rate_mbit}mbit", queue="1bdp") as hosts:
        # At the end iperf3 does not count what is still queued, up to 0.2 s of the slower link.
        ended, (forward, reverse) = trial(hosts, "-t", "3", "-O", "0.5", "-C", "cubic")
    goodput = ended["sum_received"]["bits_per_second"] / (rate_mbit * 1e6)
    assert 0.9 * TCP_SHARE < goodput <= 1.005 * TCP_SHARE
    assert forward.max_queue_bytes <= 10e-3 * rate_mbit * 1e6 / 8 + 1514
    assert forward.extra["oversize"] == reverse.extra["oversize"] == 0
    assert forward.extra["received_bytes"] / forward.received <= 1514


def test_a_fast_link_loses_single_segments_of_super_packets() -> None:
    with relay(delay="2ms", rate="800mbit", queue="2bdp", loss="0.2%", seed=5) as hosts:
        ended, (forward, reverse) = trial(hosts, "-t", "1.5", "-C", "bbr")
    # What iperf3 has sent is what its socket took: at the end megabytes of it may still be in the send buffer.
    taken, arrived = (ended[side]["bytes"] / 1448 for side in ("sum_sent", "sum_received"))
    assert ended["sum_received"]["bits_per_second"] > 100e6
    assert 0.98 * arrived <= forward.received <= 1.02 * (taken + ended["sum_sent"]["retransmits"])
    assert forward.extra["frames_in"] < forward.received / 2
    assert forward.extra["oversize"] == reverse.extra["oversize"] == 0
    assert forward.dropped_loss == pytest.approx(0.002 * forward.received, rel=0.5)
    assert (
        forward.received
        == forward.delivered + forward.dropped_loss + forward.dropped_queue + forward.extra["in_flight"]
    )


def test_all_counts_of_lost_packets_agree() -> None:
    with relay(delay="2ms", loss="5%", seed=3) as hosts:
        hosts.link.begin_trial(0)
        before = [hosts.counters(0), hosts.counters(1)]
        got = hosts.send(3000, gap_s=0.0001)
        forward, reverse = hosts.link.end_trial()
        after = [hosts.counters(0), hosts.counters(1)]
    assert forward.dropped_loss == 3000 - len(got)
    assert 105 <= forward.dropped_loss <= 200
    assert forward.received == after[0]["tx_packets"] - before[0]["tx_packets"] == 3000
    assert forward.delivered == after[1]["rx_packets"] - before[1]["rx_packets"] == len(got)
    assert forward.invalid_reason is None or "late" in forward.invalid_reason
    assert forward.dropped_queue == forward.dropped_other == reverse.dropped_loss == 0


def test_a_full_queue_drops_the_tail_and_counts_it() -> None:
    with relay(rate="10mbit", queue="20p", delay="1ms") as hosts:
        hosts.link.begin_trial(0)
        got = hosts.send(100, size=1472)
        forward, _ = hosts.link.end_trial()
    assert forward.dropped_queue == 100 - len(got)
    assert got[:20] == list(range(20))
    assert 20 <= len(got) <= 40
    assert forward.max_queue_bytes <= 20 * 1514


def test_one_seed_loses_the_same_packets_and_another_others() -> None:
    with relay(loss="10%", seed=3) as hosts:
        runs = []
        for index in range(2):
            hosts.link.begin_trial(index)
            hosts.send(50 * index)
            hosts.link.begin_trial(index)
            runs.append(hosts.send(1000))
    with relay(loss="10%", seed=4) as hosts:
        hosts.link.begin_trial(0)
        other = hosts.send(1000)
    assert runs[0] == runs[1]
    assert runs[0] != other
    assert len(runs[0]) < 1000


class Tap:
    """Copies of all segments with data that a host's interface sees, as offsets in the streams to iperf3's port."""

    def __init__(self, hosts: TwoHosts, side: int) -> None:
        def open_packet_socket() -> socket.socket:
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            tap.bind((hosts.ends[side].ifname, 0x0003))
            return tap

        self._socket = hosts.thread.inside(hosts.ends[side].netns_path, open_packet_socket)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 * 2**20)
        self._socket.setblocking(False)

    def offsets(self) -> dict[int, list[int]]:
        """Return for each client port the offsets of data segments in order, from the SYN's number."""
        streams: dict[int, list[int]] = {}
        first: dict[int, int] = {}
        with self._socket, contextlib.suppress(BlockingIOError):
            while True:
                frame = self._socket.recv(2000)
                if frame[12:14] != b"\x08\x00" or frame[23] != 6 or frame[36:38] != (5201).to_bytes(2, "big"):
                    continue
                port, seq = int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[38:42], "big")
                length = int.from_bytes(frame[16:18], "big") - 20 - (frame[46] >> 4) * 4
                if frame[47] & 2:
                    first[port] = seq + 1
                elif length > 0 and port in first:
                    streams.setdefault(port, []).append((seq - first[port]) % 2**32)
        return streams


def lost_cells(hosts: TwoHosts) -> set[int]:
    """Run a TCP transfer and give which full segments of its stream were sent once more often than they arrived."""
    hosts.link.begin_trial(0)
    sent, got = Tap(hosts, 0), Tap(hosts, 1)
    hosts.iperf3("-n", "2M", "-C", "cubic")
    hosts.link.end_trial()
    sent_streams, got_streams = sent.offsets(), got.offsets()
    data = max(sent_streams, key=lambda port: len(sent_streams[port]))
    arrivals = got_streams[data]
    lost = {offset for offset in sent_streams[data] if sent_streams[data].count(offset) > arrivals.count(offset)}
    return {-(-offset // 1448) for offset in lost}


def test_two_tcp_runs_with_one_seed_lose_the_same_parts_of_the_stream() -> None:
    with relay(delay="3ms", rate="40mbit", loss="2%", seed=11) as hosts:
        runs = [lost_cells(hosts) for _ in range(3)]
    # How much is sent beyond the 2 MB depends on when iperf3 notices.
    first, second, third = ({cell for cell in run if cell < CELLS} for run in runs)
    assert len(first) > 8
    assert first == second == third


def test_corrupted_packets_do_not_reach_the_application() -> None:
    with relay(corrupt="20%", seed=2) as hosts:
        hosts.link.begin_trial(0)
        got = hosts.send(500)
        forward, _ = hosts.link.end_trial()
    assert forward.delivered == 500
    assert forward.extra["corrupted"] == 500 - len(got)
    assert 60 <= forward.extra["corrupted"] <= 140


def test_copies_and_overtaking() -> None:
    with relay(duplicate="10%", reorder="10%", delay="5ms", seed=2) as hosts:
        hosts.link.begin_trial(0)
        got = hosts.send(500, gap_s=0.0005)
        forward, _ = hosts.link.end_trial()
    copies = len(got) - len(set(got))
    assert set(got) == set(range(500))
    assert copies == forward.extra["duplicated"] > 20
    late = sum(later < earlier for earlier, later in pairwise(got))
    assert late > 20
    assert forward.extra["reordered"] >= late


def test_jitter_keeps_order() -> None:
    with relay(delay="5ms", jitter="4ms") as hosts:
        got = hosts.send(300, gap_s=0.0005)
    assert got == list(range(300))


def test_large_packets_at_a_large_mtu() -> None:
    with relay(mtu=9000, delay="1ms") as hosts:
        ended, (forward, _) = trial(hosts, "-n", "4M", "-C", "cubic")
    assert ended["sum_sent"]["bytes"] >= 4 * 2**20
    assert forward.extra["oversize"] == 0
    assert forward.extra["received_bytes"] / forward.received > 4000


def test_ipv6_crosses() -> None:
    if not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("this kernel has no IPv6")
    with relay(delay="1ms", ipv6=True) as hosts:
        address = "2001:2::2"
        with hosts.socket(0, family=socket.AF_INET6) as sender, hosts.socket(1, family=socket.AF_INET6) as receiver:
            receiver.bind((address, PORT))
            receiver.settimeout(1)
            sender.sendto(b"six", (address, PORT))
            assert receiver.recv(10) == b"six"


def test_it_starts_lean_and_goes_whole() -> None:
    with relay() as hosts:
        assert isinstance(hosts.link, RelayLink)
        pid = hosts.link.pid
        mapped = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert "pydantic" not in mapped
        assert f"PERFCHECK_TAG={hosts.tag}".encode() in environment
        hosts.link.close()
        hosts.link.close()
        assert not Path(f"/proc/{pid}").exists()
        with hosts.socket(0) as probe, pytest.raises(OSError, match="No such device"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, hosts.ends[0].ifname.encode())


def test_a_dead_relay_is_told() -> None:
    with relay() as hosts:
        assert isinstance(hosts.link, RelayLink)
        hosts.link.begin_trial(0)
        os.kill(hosts.link.pid, signal.SIGKILL)
        with pytest.raises(LabError, match=r"links\[0\] a-b: the relay process ended \(status -9\)"):
            hosts.link.end_trial()


def test_a_relay_that_was_kept_from_the_cpu_is_told() -> None:
    with relay() as hosts:
        assert isinstance(hosts.link, RelayLink)
        hosts.link.begin_trial(0)
        hosts.send(50)
        os.kill(hosts.link.pid, signal.SIGSTOP)
        with hosts.socket(0) as sender:
            for _ in range(10):
                sender.sendto(b"unread", (SECOND, PORT))
            # Not a wait for something: this is how long it is kept from the CPU.
            time.sleep(0.05)
        os.kill(hosts.link.pid, signal.SIGCONT)
        forward, _ = hosts.link.end_trial()
    assert forward.received == 60
    assert forward.extra["late_read_max_us"] > 40_000
    assert forward.invalid_reason is not None
    assert "had to wait for the CPU" in forward.invalid_reason or "late" in forward.invalid_reason


def test_a_name_that_is_taken_is_told() -> None:
    with relay() as hosts:
        emulator = RelayEmulator()

        class Undo:
            tag = hosts.tag

            def note(self, kind: str, name: str, **detail: str) -> None:
                pass

        with pytest.raises(LabError, match=r"could not make its devices: .*busy"):
            emulator.up(1, hosts.spec, hosts.ends, Undo())


ORPHAN = """
import os, sys
sys.path.insert(0, sys.argv[1])
from links_lab import relay
with relay(delay="1ms") as hosts:
    print(hosts.link.pid, hosts.tag, flush=True)
    sys.stdin.read()
"""


def test_the_relay_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(Path(links_lab.__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        pid, tag = parent.stdout.readline().decode().split()
        try:
            assert Path(f"/proc/{pid}").exists()
            parent.kill()
            assert wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=3)
        finally:
            for host in "ab":
                subprocess.run(["ip", "netns", "delete", f"pc-{tag}-{host}"], check=False, capture_output=True)


def ce_packets(hosts: TwoHosts, side: int) -> int:
    """Return the kernel's own count of packets received with CE (IpExt.InCEPkts)."""

    def look() -> int:
        names, values = [
            line.split()
            for line in Path("/proc/thread-self/net/netstat").read_text(encoding="ascii").splitlines()
            if line.startswith("IpExt:")
        ]
        return int(values[names.index("InCEPkts")])

    return hosts.thread.inside(hosts.ends[side].netns_path, look)


def ask_for_ecn() -> None:
    Path("/proc/sys/net/ipv4/tcp_ecn").write_text("1", encoding="ascii")


def test_marks_arrive_and_cost_no_packet() -> None:
    with relay(delay="5ms", rate="20mbit", queue="200p", ecn=True) as hosts:
        for end in hosts.ends:
            hosts.thread.inside(end.netns_path, ask_for_ecn)
        ended, (forward, reverse) = trial(hosts, "-t", "2", "-C", "cubic")
        assert ce_packets(hosts, 1) == forward.extra["marked"] > 3
        assert ce_packets(hosts, 0) == reverse.extra["marked"]
    assert forward.dropped_queue == forward.dropped_loss == 0
    assert ended["sum_sent"]["retransmits"] == 0
