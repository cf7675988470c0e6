"""Hosts, addresses, routes and settings, seen from inside the hosts and from outside."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from lab_building import BuildLab

from perfcheck.errors import LabError
from perfcheck.lab import Lab
from perfcheck.lab.hosts import LabHost
from perfcheck.system import sysctl
from perfcheck.system.clock import wait_until

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVTTL = 10, 2, 12
"""include/uapi/linux/in.h; Python's socket module has no names for them."""

THREE_HOSTS = {
    "hosts": {"client": {}, "middle": {"router": True}, "server": {}},
    "links": [{"between": ["client", "middle"]}, {"between": ["middle", "server"]}],
}


def host(lab: Lab, name: str) -> LabHost:
    found = lab.hosts[name]
    assert isinstance(found, LabHost)
    return found


def connect(lab: Lab, source: str, target: str, address: str) -> tuple[socket.socket, socket.socket]:
    """Connect over TCP; gives the connecting and the accepted socket."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host(lab, target).inside(lambda: socket.create_server((address, 5201), family=family)) as server:
        client = host(lab, source).inside(lambda: socket.create_connection((address, 5201), timeout=5.0))
        server.settimeout(5.0)
        return client, server.accept()[0]


def exchange(lab: Lab, source: str, target: str, address: str) -> tuple[str, str]:
    """Send a word each way; gives the addresses that both sides saw of each other."""
    client, accepted = connect(lab, source, target, address)
    with closing(client), closing(accepted):
        client.sendall(b"ping")
        assert accepted.recv(4) == b"ping"
        accepted.sendall(b"pong")
        assert client.recv(4) == b"pong"
        return accepted.getpeername()[0], client.getpeername()[0]


def test_two_hosts_reach_each_other_over_both_families(build_lab: BuildLab) -> None:
    with build_lab() as lab:
        client, server = lab.hosts["client"], lab.hosts["server"]
        assert client.addresses == ("198.18.0.1", "2001:2::1")
        for mine, yours in zip(client.addresses, server.addresses, strict=True):
            assert exchange(lab, "client", "server", yours) == (mine, yours)
            assert exchange(lab, "server", "client", mine) == (yours, mine)
        assert server.address_towards("client") == server.addresses[0]


def test_a_router_forwards_and_counts_a_hop(build_lab: BuildLab) -> None:
    with build_lab(**THREE_HOSTS) as lab:
        client, server = host(lab, "client"), host(lab, "server")
        for mine, yours in zip(client.addresses, server.addresses, strict=True):
            assert exchange(lab, "client", "server", yours) == (mine, yours)
        target = server.address_towards("client")

        def receiver() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            made.bind((target, 7))
            made.settimeout(5.0)
            return made

        with closing(server.inside(receiver)) as receiving, closing(
            client.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ) as sending:  # fmt: skip
            sending.sendto(b"x", (target, 7))
            _, ancillary, _, _ = receiving.recvmsg(10, 100)
        assert int.from_bytes(ancillary[0][2], "little") == 63


def test_a_host_that_is_no_router_does_not_forward(build_lab: BuildLab) -> None:
    fields = {**THREE_HOSTS, "hosts": {"client": {}, "middle": {}, "server": {}}}
    with build_lab(**fields) as lab:
        with pytest.raises(LabError, match="no path from client to server"):
            lab.hosts["server"].address_towards("client")
        with pytest.raises(OSError, match="unreachable"):
            host(lab, "client").inside(lambda: socket.create_connection(("198.18.1.2", 5201), timeout=1.0))


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_there_is_no_way_out(build_lab: BuildLab, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        build_lab() as lab,
        closing(host(lab, "client").inside(lambda: socket.socket(family, socket.SOCK_DGRAM))) as udp,
        pytest.raises(OSError, match="unreachable"),
    ):
        udp.connect((address, 9))  # of UDP: looks the route up and sends nothing


def test_neighbours_are_permanent_and_nothing_is_resolved(build_lab: BuildLab) -> None:
    with build_lab() as lab:
        for name, other in (("client", "server"), ("server", "client")):
            done = lab.hosts[name].run(["ip", "-j", "neigh"])
            entries = {entry["dst"]: entry for entry in json.loads(done.stdout)}
            assert set(entries) == set(lab.hosts[other].addresses)
            assert all(entry["state"] == ["PERMANENT"] for entry in entries.values())
            (link,) = json.loads(lab.hosts[other].run(["ip", "-j", "link", "show", "eth0"]).stdout)
            assert {entry["lladdr"] for entry in entries.values()} == {link["address"]}


def test_sysctls_are_the_hosts_own(build_lab: BuildLab) -> None:
    keys = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_no_metrics_save", "net.ipv4.ip_forward", "net.ipv4.tcp_ecn")
    before = {key: sysctl.read(key) for key in keys}
    settings = {"net.ipv4.tcp_rmem": "4096 8192 65536", "net.ipv4.tcp_ecn": 1, "net.ipv4.conf.eth0.rp_filter": 2}
    with build_lab(hosts={"client": {"sysctl": settings}, "server": {"router": True}}) as lab:
        client, server = host(lab, "client"), host(lab, "server")
        inside = {key: client.inside(lambda key=key: sysctl.read(key)) for key in (*keys, *settings)}  # type: ignore[misc]
        assert inside == {
            "net.ipv4.tcp_rmem": ("4096", "8192", "65536"), "net.ipv4.tcp_no_metrics_save": ("1",),
            "net.ipv4.ip_forward": ("0",), "net.ipv4.tcp_ecn": ("1",), "net.ipv4.conf.eth0.rp_filter": ("2",),
        }  # fmt: skip
        assert server.inside(lambda: sysctl.read("net.ipv4.ip_forward")) == ("1",)
        assert server.inside(lambda: sysctl.read("net.ipv4.tcp_rmem")) == before["net.ipv4.tcp_rmem"]
        assert {key: sysctl.read(key) for key in keys} == before


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"net.ipv4.no_such_thing": 1}, r"host client: this kernel has no sysctl net\.ipv4\.no_such_thing"),
        ({"net.core.rmem_max": 1000000}, r"net\.core\.rmem_max is not per network namespace.*sysctl -w net\.core"),
        ({"net.ipv4.tcp_rmem": "many"}, r"host client: net\.ipv4\.tcp_rmem=many was refused by the kernel"),
        ({"net.ipv4.ip_default_ttl": 999}, r"ip_default_ttl=999 was refused by the kernel: Invalid argument"),
        ({"net.ipv4.tcp_congestion_control": "nope"}, r"control nope is not available; this kernel has .*reno"),
    ],
)  # fmt: skip
def test_settings_that_do_not_take_are_errors(build_lab: BuildLab, settings: dict[str, str], text: str) -> None:
    before = sysctl.read("net.core.rmem_max")
    with pytest.raises(LabError, match=text), build_lab(hosts={"client": {"sysctl": settings}, "server": {}}):
        pass
    assert sysctl.read("net.core.rmem_max") == before


def test_a_host_wide_sysctl_is_set_by_permission_and_put_back(build_lab: BuildLab) -> None:
    key = "net.core.warnings"  # the kernel keeps it for old programs' sake and never looks at it
    (before,) = sysctl.read(key) or ("",)
    other = "1" if before == "0" else "0"
    with build_lab(hosts={"client": {"sysctl": {key: other}}, "server": {}}, host_wide=True):
        assert sysctl.read(key) == (other,)
    assert sysctl.read(key) == (before,)


@pytest.mark.parametrize("name", Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split())
def test_congestion_control_is_set_whether_the_sysctl_takes_it_or_not(build_lab: BuildLab, name: str) -> None:
    fields = {**THREE_HOSTS, "hosts": {"client": {"congestion": "reno"}, "middle": {"router": True}, "server": {
        "sysctl": {"net.ipv4.tcp_congestion_control": name}}}}  # fmt: skip
    with build_lab(**fields) as lab:
        for address in lab.hosts["server"].addresses:
            client, accepted = connect(lab, "client", "server", address)
            with closing(client), closing(accepted):
                found = [
                    made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
                    for made in (client, accepted)
                ]
            assert found == ["reno", name]


def test_processes_run_on_the_hosts_cpus_and_this_one_does_not(build_lab: BuildLab) -> None:
    mine = os.sched_getaffinity(0)
    cpu = max(mine)
    with build_lab(hosts={"client": {"cpus": [cpu]}, "server": {}}) as lab:
        lines = lab.hosts["client"].run(["cat", "/proc/self/status"]).stdout.decode().splitlines()
        assert f"Cpus_allowed_list:\t{cpu}" in lines
        free = lab.hosts["server"].run(["cat", "/proc/self/status"]).stdout.decode().splitlines()
        assert f"Cpus_allowed_list:\t{cpu}" not in free or len(mine) == 1
        assert host(lab, "client").inside(lambda: os.sched_getaffinity(0)) == mine
    assert os.sched_getaffinity(0) == mine


def test_setup_commands_run_in_their_host_without_a_shell(build_lab: BuildLab) -> None:
    setup = ["ip link add dummy-br type bridge", "ip link set 'dummy-br' alias 'two words; $HOME'"]
    with build_lab(hosts={"client": {"setup": setup}, "server": {}}) as lab:
        (link,) = json.loads(lab.hosts["client"].run(["ip", "-j", "link", "show", "dummy-br"]).stdout)
        assert link["ifalias"] == "two words; $HOME"
        assert lab.hosts["server"].run(["ip", "link", "show", "dummy-br"]).returncode != 0


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("ip link set nothing up", r"host client: setup `ip link set nothing up` failed with status 1: .*nothing"),
        ("no-such-tool -x", "no-such-tool is not available"),
        ("ip 'unclosed", "host client: setup `ip 'unclosed`: No closing quotation"),
        ("", "host client: there is no command to run"),
    ],
)
def test_a_failing_setup_command_says_why_and_leaves_nothing(
    build_lab: BuildLab, run_directory: Path, command: str, text: str
) -> None:
    namespaces: list[str] = []
    with pytest.raises(Exception, match=text), build_lab(hosts={"client": {"setup": [command]}, "server": {}}) as lab:
        namespaces.append(lab.hosts["client"].netns_path)
    assert namespaces == []
    assert list(run_directory.iterdir()) == []


def test_two_labs_at_once_do_not_meet(build_lab: BuildLab) -> None:
    with build_lab() as one, build_lab() as other:
        address = one.hosts["server"].address_towards("client")
        assert address == other.hosts["server"].address_towards("client")
        assert one.tag != other.tag
        inodes = {made.netns_inode for lab in (one, other) for made in lab.hosts.values()}
        assert len(inodes) == 4
        assert Path("/proc/self/ns/net").stat().st_ino not in inodes
        assert exchange(one, "client", "server", address)[1] == address
        with (
            closing(host(one, "server").inside(lambda: socket.create_server((address, 5201)))),
            pytest.raises(ConnectionRefusedError),
        ):
            host(other, "client").inside(lambda: socket.create_connection((address, 5201), timeout=2.0))


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_listening_is_seen_without_a_connection(
    build_lab: BuildLab, protocol: str, family: socket.AddressFamily
) -> None:
    def open_server() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
        made.bind(("", 5201))
        if protocol == "tcp":
            made.listen()
        return made

    with build_lab() as lab:
        server = host(lab, "server")
        other = "udp" if protocol == "tcp" else "tcp"
        assert not server.listening(5201, protocol)
        with closing(server.inside(open_server)):
            assert server.listening(5201, protocol)
            assert not server.listening(5202, protocol)
            assert not server.listening(5201, other)
            assert not lab.hosts["client"].listening(5201, protocol)
        assert wait_until(lambda: not server.listening(5201, protocol), timeout_s=2.0)


def test_the_mtu_is_the_links(build_lab: BuildLab) -> None:
    with build_lab(links=[{"between": ["client", "server"], "mtu": 9000}]) as lab:
        for name in ("client", "server"):
            (link,) = json.loads(lab.hosts[name].run(["ip", "-j", "link", "show", "eth0"]).stdout)
            assert link["mtu"] == 9000


def test_a_trial_counts_its_own_packets_alone(build_lab: BuildLab) -> None:
    def device_packets(name: str, column: int) -> int:
        text = host(lab, name).inside(lambda: Path("/proc/thread-self/net/dev").read_text())
        (line,) = (line for line in text.splitlines() if line.strip().startswith("eth0:"))
        return int(line.split()[column])

    with build_lab() as lab:
        target = (lab.hosts["server"].address_towards("client"), 9)
        with (
            closing(host(lab, "client").inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as sending,
            closing(host(lab, "server").inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as receiving,
        ):
            receiving.bind(target)
            for trial, count in ((0, 17), (1, 5)):
                lab.begin_trial(trial)
                before = device_packets("server", 2), device_packets("client", 10)
                for _ in range(count):
                    sending.sendto(b"x" * 100, target)
                forward, reverse = lab.end_trial()
                assert (device_packets("server", 2), device_packets("client", 10)) == tuple(n + count for n in before)
                assert (forward.way, forward.received, forward.delivered, forward.dropped_other) == (
                    "forward",
                    count,
                    count,
                    0,
                )
                assert (reverse.way, reverse.received, reverse.delivered) == ("reverse", 0, 0)
                assert forward.extra["delivered_bytes"] == count * (100 + 8 + 20 + 14)


def test_nothing_is_sent_that_was_not_asked_for(build_lab: BuildLab) -> None:
    with build_lab(**THREE_HOSTS) as lab:
        lab.begin_trial(0)
        # Longer than the second for which the kernel may put link events and reports off.
        assert not wait_until(lambda: any(report.received for report in lab.end_trial()), timeout_s=1.3, interval_s=0.1)


def test_trials_do_not_learn_from_each_other(build_lab: BuildLab) -> None:
    links = [{"between": ["client", "middle"]}, {"between": ["middle", "server"], "mtu": 1300}]
    with build_lab(**{**THREE_HOSTS, "links": links}) as lab:
        client = host(lab, "client")
        exchange(lab, "client", "server", "198.18.1.2")
        assert client.run(["ip", "tcp_metrics", "show"]).stdout == b""
        with closing(client.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as udp:
            udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            udp.sendto(b"x" * 1400, ("198.18.1.2", 9))
            learned = ["ip", "-j", "route", "get", "198.18.1.2"]
            assert wait_until(lambda: b'"mtu":1300' in client.run(learned).stdout, timeout_s=2.0)
            lab.begin_trial(1)
            assert b'"mtu":1300' not in client.run(learned).stdout


def test_up_and_down_take_little_time(
    build_lab: BuildLab, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    taken_s = []
    for _ in range(5):
        started_s = time.monotonic()
        with build_lab():
            up_s = time.monotonic() - started_s
        taken_s.append((time.monotonic() - started_s, up_s))
    both_s, up_s = sorted(taken_s)[2]
    record_property("lab_up_ms", round(up_s * 1e3, 1))
    with capsys.disabled():
        print(f"\ntwo hosts and a link: up {up_s * 1e3:.0f} ms, up and down {both_s * 1e3:.0f} ms (median of 5)")  # noqa: T201
    assert both_s < 0.5
