"""Faults that no shipped scenario makes, made between namespaces, are diagnosed by their names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest
from measured import measured

from perfcheck.runner import Runner

pytestmark = pytest.mark.kernel

TABLE: Final = (
    "nft add table ip t",
    "nft add chain ip t f '{ type filter hook forward priority 0 ; }'",
)
READER: Final = """\
import socket, time
with socket.create_server(("", 9000)) as server:
    while True:
        connection, _ = server.accept()
        begun, got = time.monotonic(), 0
        while piece := connection.recv(16384):
            got += len(piece)
            time.sleep(max(0.0, got / 250_000 - (time.monotonic() - begun)))
        connection.close()
"""
WRITER: Final = """\
import socket, sys, time
with socket.create_connection((sys.argv[1], 9000), timeout=0.2) as connection:
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        try:
            connection.send(bytes(65536))
        except TimeoutError:
            pass
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
"""


def through_a_router(setup: tuple[str, ...], traffic: str) -> str:
    commands = "".join(f'\n      - "{command}"' for command in setup)
    return f"""
scenario: fault
hosts:
  client: {{congestion: cubic}}
  router:
    router: true
    setup:{commands}
  server: {{congestion: cubic}}
links:
  - {{between: [client, router], delay: 5ms, rate: 50mbit, queue: 2bdp}}
  - {{between: [router, server], delay: 5ms, rate: 50mbit, queue: 2bdp}}
traffic: [{{iperf3: {{from: client, to: server, {traffic}}}}}]
repeat: 1
warmup: 500ms
"""


def test_a_policer_drops_bursts_without_a_queue(runner: Runner) -> None:
    police = "nft add rule ip t f oifname eth1 limit rate over 1500 kbytes/second burst 48 kbytes drop"
    record = measured(runner, through_a_router((*TABLE, police), "duration: 3s"))
    assert record.diagnosis[0].cause == "policer", record.diagnosis
    assert record.diagnosis[0].chain[0] == "policer"
    assert any("tcp.retrans_segs" in text for text in record.diagnosis[0].evidence_for)


def test_lost_syns_are_told_from_lost_data(runner: Runner) -> None:
    drop = "nft add rule ip t f tcp flags '& (syn|ack) == syn' numgen inc mod 3 1 drop"
    record = measured(runner, through_a_router((*TABLE, drop), "duration: 2s, streams: 4"))
    assert record.diagnosis[0].cause == "syn_loss", record.diagnosis


def test_a_slow_reader_is_told_from_a_small_buffer(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(READER)
    (tmp_path / "writer.py").write_text(WRITER)
    record = measured(
        runner,
        f"""
scenario: slow-reader
hosts: {{client: {{congestion: cubic}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], delay: 10ms, rate: 50mbit, queue: 1bdp}}]
traffic:
  - command:
      host: client
      run: "{sys.executable} {tmp_path}/writer.py {{server}}"
      server: {{host: server, run: "{sys.executable} {tmp_path}/reader.py", port: 9000}}
repeat: 1
""",
    )
    assert record.diagnosis[0].cause == "slow_reader", record.diagnosis


def test_an_undisturbed_hop_is_healthy(runner: Runner) -> None:
    record = measured(runner, through_a_router(TABLE, "duration: 2s"))
    assert record.diagnosis[0].cause == "healthy", record.diagnosis
    assert {each.severity for each in record.diagnosis} == {"info"}
