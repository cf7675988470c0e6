"""`perfctl observe` beside a transfer that loses packets, and beside one that does not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from collect_lab import Pair
from detail_lab import nstat

pytestmark = pytest.mark.kernel

LOSE_SOME: Final = (
    "add table ip t",
    "add chain ip t i { type filter hook input priority 0; }",
    "add rule ip t i tcp dport 5999 tcp flags != syn numgen inc mod 30 == 0 counter drop",
)
MAIN: Final = "import sys\nfrom perfcheck.cli.perfctl import main\nsys.exit(main(sys.argv[1:]))"
CHUNK: Final = 1 << 16


class Observing:
    """A `perfctl observe` of both hosts; `events` grows with what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    def until(self, kind: str) -> None:
        """Read until an event of a kind has come; the test's own timeout is the end of stdout."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["context"]["kind"] == kind:
                return
        pytest.fail(f"no event of kind {kind}")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["context"]["kind"] == kind]


@contextmanager
def observing(pair: Pair, *more: str) -> Iterator[Observing]:
    words = ["observe", "--output", "json", "--interval", "500ms", "--cpu-ceiling", "90", *more]
    for name in pair.names:
        words += ["--netns", name]
    process = subprocess.Popen([sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(120, process.kill)
    guard.start()
    try:
        yield Observing(process)
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


@contextmanager
def sending(pair: Pair) -> Iterator[None]:
    """Send at some Mbit/s until the block ends, and until all of it has arrived."""
    one, two = pair.connect()
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.01):
            one.sendall(bytes(CHUNK))
        one.close()

    def receive() -> None:
        while two.recv(CHUNK):
            pass

    threads = [threading.Thread(target=work) for work in (send, receive)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        two.close()


def test_losses_are_counted_explained_and_alerted(pair: Pair) -> None:
    pair.nft(1, *LOSE_SOME)
    with observing(pair) as seen:
        seen.until("interval")
        before = nstat(pair, 0)["TcpRetransSegs"]
        begun = len(seen.of_kind("interval"))
        with sending(pair):
            seen.until("alert")
            raised_after = len(seen.of_kind("interval")) - begun
        sent_again = nstat(pair, 0)["TcpRetransSegs"] - before
        time.sleep(0.2)  # more than the time that a retransmission waits for what comes after it
        seen.process.send_signal(signal.SIGINT)
        seen.until("run")
        assert seen.process.wait(20) == 0
    (alert,) = (each for each in seen.of_kind("alert") if each["context"]["state"] == "raised")
    assert alert["context"]["rule"] == "retransmissions"
    assert raised_after <= 5
    total = seen.of_kind("run")[0]["metrics"]["tcp.retrans_segs"]
    assert sent_again > 20
    assert abs(total - sent_again) <= max(0.02 * sent_again, 1)
    behind = Counter(each["context"]["behind"] for each in seen.of_kind("retransmission_cause"))
    assert behind["segment_dropped"] >= 0.9 * sum(behind.values())
    places = {each["context"]["place"] for each in seen.of_kind("retransmission_cause") if "place" in each["context"]}
    assert places == {"by the packet filter (NETFILTER_DROP)"}


def test_a_healthy_transfer_raises_nothing(pair: Pair) -> None:
    with observing(pair, "--duration", "3s") as seen:
        seen.until("interval")
        with sending(pair):
            seen.until("run")
        assert seen.process.wait(20) == 0
    (run,) = seen.of_kind("run")
    assert run["context"]["alerts_raised"] == 0
    assert run["metrics"]["tcp.rtt_us.p50"] > 0
    assert not seen.of_kind("alert")
