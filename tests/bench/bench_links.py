"""The relay's links compared with what was asked for: the tables of docs/bench-links.md, made by `make bench-links`.

Needs root and an otherwise idle machine; takes about eight minutes (`--quick`: one). No other measurement of perfcheck
runs meanwhile. `--only` makes one part, and replaces that part in FILE.
    make bench-links BENCH="[--quick] [--only table|rates|seeds]... [--output FILE]"
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Final

from links_lab import TwoHosts, relay, trial
from scipy.stats import binom

from perfcheck.lab.links.probe.measure import longest_busy
from perfcheck.lab.links.probe.sockets import ProbeSocket
from perfcheck.model.observation import LinkReport
from perfcheck.system.environment import fingerprint
from perfcheck.system.lock import measuring_lock

DELAYS_MS = (0, 5, 20, 50, 200)
RATES_MBIT = (1, 10, 100, 500)
LOSSES_PCT = (0.0, 0.1, 1.0, 5.0)
HEADERS = 42
FRAME = 1514
DELAY_TRAIN_S = 1.0
LOSS_TRAIN_S = 1.0
RATE_BURST_S = 0.4
ATTEMPTS = 3
MACHINE = (
    "cpu.model",
    "cpu.count",
    "memory.class",
    "virtualisation",
    "kernel.release",
    "version.python",
    "version.iperf3",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One train: when each packet was sent and when it arrived (ns), None where it did not."""

    sent: Sequence[int]
    arrived: Sequence[int | None]

    @property
    def delays_us(self) -> list[float]:
        return sorted((there - here) / 1000 for here, there in zip(self.sent, self.arrived, strict=True) if there)

    @property
    def lost(self) -> int:
        return sum(there is None for there in self.arrived)


def send(hosts: TwoHosts, packets: int, payload: int, gap_ns: int, settle_s: float) -> Sent:
    """Send packets from `a` to `b`, each at its time, and wait until the last can have arrived."""
    first, second = hosts.sides
    sender, receiver = ProbeSocket(first, second, hosts.thread), ProbeSocket(second, first, hosts.thread)
    try:
        sent: list[int] = []
        arrived: list[int | None] = [None] * packets
        begin = time.monotonic_ns()
        for number in range(packets):
            while time.monotonic_ns() < begin + number * gap_ns:
                pass
            sent.append(sender.send(number, payload))
        end = time.monotonic() + settle_s
        while time.monotonic() < end:
            for number, stamp in receiver.receive():
                if number < packets:
                    arrived[number] = stamp
            time.sleep(0.005)
        return Sent(sent=sent, arrived=arrived)
    finally:
        sender.close()
        receiver.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line of the table."""

    delay_ms: int
    rate_mbit: int
    loss_pct: float
    error_p50_us: float
    error_p99_us: float
    rate_mbit_measured: float
    lost: int
    sent: int
    invalid: str | None
    cpu_pct: float
    attempts: int = 1

    @property
    def loss_fits(self) -> bool:
        low, high = binom.interval(0.99, self.sent, self.loss_pct / 100)
        return bool(low <= self.lost <= high)

    @property
    def line(self) -> str:
        fits = "yes" if self.loss_fits else "NO"
        rate_error = 100 * (self.rate_mbit_measured / self.rate_mbit - 1)
        return (
            f"| {self.delay_ms} | {self.rate_mbit} | {self.loss_pct:g} | {self.error_p50_us / 1000:.3f}"
            f" | {self.error_p99_us / 1000:.3f} | {self.rate_mbit_measured:.4g} ({rate_error:+.2f} %)"
            f" | {100 * self.lost / self.sent:.3f} ({self.lost} of {self.sent}) {fits} | {self.cpu_pct:.0f} |"
            f" {self.invalid or ''}{f' attempt {self.attempts}' if self.attempts > 1 else ''} |"
        )


def measure(delay_ms: int, rate_mbit: int, loss_pct: float, scale: float, seed: int) -> Cell:
    """Measure one link, again where the relay says that the trial does not count, as a run does."""
    cell = measure_once(delay_ms, rate_mbit, loss_pct, scale, seed)
    while cell.invalid is not None and cell.attempts < ATTEMPTS:
        cell = replace(measure_once(delay_ms, rate_mbit, loss_pct, scale, seed), attempts=cell.attempts + 1)
    return cell


def measure_once(delay_ms: int, rate_mbit: int, loss_pct: float, scale: float, seed: int) -> Cell:
    """Make one link and send three trains through it: for delay, for loss, for rate."""
    fields: dict[str, Any] = {
        "delay": f"{delay_ms}ms",
        "rate": f"{rate_mbit}mbit",
        "queue": "2mb",
        "loss": f"{loss_pct}%",
        "seed": seed,
    }
    settle_s = delay_ms / 1000 + 0.05
    small_ns = (32 + HEADERS) * 8000 // rate_mbit
    with relay(**fields) as hosts:
        hosts.link.begin_trial(0)
        gap_ns = max(1_000_000, 3 * small_ns)
        delay = send(hosts, round(scale * DELAY_TRAIN_S * 1e9 / gap_ns), 32, gap_ns, settle_s)
        gap_ns = max(100_000, 2 * small_ns)
        loss = send(hosts, round(scale * LOSS_TRAIN_S * 1e9 / gap_ns), 32, gap_ns, settle_s)
        packet_ns = FRAME * 8000 // rate_mbit
        count = min(1300, max(20, round(scale * RATE_BURST_S * 1e9 / packet_ns)))
        rate = send(hosts, count, FRAME - HEADERS, 0, settle_s + count * packet_ns / 1e9)
        forward, _ = hosts.link.end_trial()
    errors = [value - delay_ms * 1000 - small_ns / 1000 for value in delay.delays_us]
    run = longest_busy(rate.sent, packet_ns, 2_000_000 * 8000 // rate_mbit)
    stamps = sorted(stamp for place in run if (stamp := rate.arrived[place]))
    return Cell(
        delay_ms=delay_ms,
        rate_mbit=rate_mbit,
        loss_pct=loss_pct,
        error_p50_us=median(errors),
        error_p99_us=errors[min(len(errors) - 1, int(0.99 * len(errors)))],
        rate_mbit_measured=(len(stamps) - 1) * FRAME * 8000 / (stamps[-1] - stamps[0]),
        lost=loss.lost,
        sent=len(loss.sent),
        invalid=forward.invalid_reason,
        cpu_pct=forward.extra["cpu_pct"],
    )


def table(quick: bool) -> Iterator[str]:
    """Return the lines of the table of delay, rate and loss."""
    yield (
        "| delay ms | rate Mbit/s | loss % | delay error p50 ms | p99 ms | rate"
        " | loss %, within its 99 % interval | CPU % | does not count |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    cells: list[Cell] = []
    for delay_ms in (0, 20) if quick else DELAYS_MS:
        for rate_mbit in (10, 100) if quick else RATES_MBIT:
            for loss_pct in (0.0, 1.0) if quick else LOSSES_PCT:
                # Each link has a seed of its own: with one for all, the losses would be the same in all.
                cells.append(measure(delay_ms, rate_mbit, loss_pct, 0.4 if quick else 1.0, 42 + len(cells)))
                yield cells[-1].line
    slow = [cell for cell in cells if cell.rate_mbit <= 100]
    middle, tail = [cell.error_p50_us / 1000 for cell in slow], [cell.error_p99_us / 1000 for cell in slow]
    exact = sum(abs(cell.rate_mbit_measured / cell.rate_mbit - 1) < 0.01 for cell in cells)
    yield ""
    yield (
        f"Up to 100 Mbit/s: median delay error {median(middle):.3f} ms (worst cell {max(middle):.3f}),"
        f" p99 {median(tail):.3f} ms in the median cell (worst {max(tail):.3f})."
        f" Loss within its interval in {sum(cell.loss_fits for cell in cells)} of {len(cells)} cells (99 % expected);"
        f" rate within 1 % in {exact}. Trials that did not count and were repeated:"
        f" {sum(cell.attempts - 1 for cell in cells)}."
    )


def carried(hosts: TwoHosts, payload: int, rate_pps: int, seconds: float) -> tuple[bool, LinkReport]:
    """Whether all of a stream at this packet rate arrives."""
    hosts.link.begin_trial(0)
    stream = send(hosts, round(rate_pps * seconds), payload, 10**9 // rate_pps, 0.4)
    forward, _ = hosts.link.end_trial()
    in_time = (stream.sent[-1] - stream.sent[0]) / 1e9 < 1.05 * seconds
    return in_time and not stream.lost and not forward.extra["device_tx_dropped"], forward


def highest_rates(quick: bool) -> Iterator[str]:
    """Return the highest packet rate without added loss, by bisection, for two sizes of packet."""
    yield "| frame bytes | highest packets/s without loss | Mbit/s | CPU % |"
    yield "|---|---|---|---|"
    seconds = 0.3 if quick else 1.0
    for frame in (1514, 200):
        low, high, best = 5_000, 150_000, None
        with relay(delay="5ms") as hosts:
            for _ in range(3 if quick else 7):
                middle = (low + high) // 2
                clean, report = carried(hosts, frame - HEADERS, middle, seconds)
                if not clean:  # a machine held up for a moment is not the relay's limit
                    clean, report = carried(hosts, frame - HEADERS, middle, seconds)
                if clean:
                    low, best = middle, report
                else:
                    high = middle
        cpu = best.extra["cpu_pct"] * best.extra["wall_s"] / seconds if best else float("nan")
        yield f"| {frame} | {low} | {low * frame * 8 / 1e6:.0f} | {cpu:.0f} |"


def seeds(quick: bool) -> Iterator[str]:
    """Return the run-to-run deviation of goodput and retransmissions with one seed and with a new one each run."""
    yield "| seed | runs | goodput Mbit/s, mean (deviation) | retransmissions, mean (deviation) |"
    yield "|---|---|---|---|"
    runs = 4 if quick else 20
    for name, seed_of in (("the same", lambda _: 7), ("another each run", lambda run: 1000 + run)):
        goodput, retransmits = [], []
        for run in range(runs):
            with relay(delay="10ms", rate="20mbit", queue="2bdp", loss="1%", seed=seed_of(run)) as hosts:
                ended, _ = trial(hosts, "-t", "2", "-C", "cubic")
            goodput.append(ended["sum_received"]["bits_per_second"] / 1e6)
            retransmits.append(ended["sum_sent"]["retransmits"])
        yield (
            f"| {name} | {runs} | {mean(goodput):.2f} ({100 * stdev(goodput) / mean(goodput):.1f} %)"
            f" | {mean(retransmits):.1f} ({100 * stdev(retransmits) / mean(retransmits):.1f} %) |"
        )


PARTS: Final[Mapping[str, tuple[str, Callable[[bool], Iterator[str]]]]] = {
    "table": ("Delay, rate and loss (one way)", table),
    "rates": ("Packet rate", highest_rates),
    "seeds": ("The same seed loses the same packets", seeds),
}
TITLE: Final = "# How exactly the relay emulates links"
INTRODUCTION: Final = (
    "After this page you know how far a link's delay, rate and loss can be from what a scenario asks for.\n\n"
    "    make bench-links\n\n"
    "This sends trains of packets from one host to another. The kernel stamps them where they arrive."
    " The error of a delay includes the sender's and the receiver's kernel."
)


def section(name: str, quick: bool) -> Iterator[str]:
    """Return one part, line by line, with what it was made on."""
    title, lines = PARTS[name]
    yield f"## {title}"
    yield ""
    before = cpu_ticks()
    yield from lines(quick)
    all_ticks, stolen = (now - then for now, then in zip(cpu_ticks(), before, strict=True))
    found = fingerprint()
    machine = "; ".join(f"{key} {found[key]}" for key in MACHINE if key in found)
    yield ""
    yield f"{machine}. The hypervisor took {100 * stolen / max(1, all_ticks):.1f} % of the CPU time meanwhile."


def cpu_ticks() -> tuple[int, int]:
    """Return all CPU time of the machine and that which was stolen from it, in ticks (/proc/stat)."""
    fields = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(fields), fields[7]


def put_into(page: str, made: Mapping[str, str]) -> str:
    """Return the page with the parts that were made in the place of those of the same title."""
    before = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    parts = []
    for name, (title, _) in PARTS.items():
        if name in made:
            parts.append(made[name].removeprefix("## ").strip() + "\n")
        elif title in before:
            parts.append(before[title].strip() + "\n")
    return "\n## ".join([f"{TITLE}\n\n{INTRODUCTION}\n", *parts])


def main() -> int:
    """Print the parts as they are made, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a corner of each part, for a look")
    parser.add_argument("--only", action="append", choices=[*PARTS], help="make this part; may be given several times")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page here too")
    arguments = parser.parse_args()
    made: dict[str, str] = {}
    with measuring_lock(lambda text: print(text, file=sys.stderr, flush=True)):
        for name in arguments.only or PARTS:
            lines = []
            for line in section(name, arguments.quick):
                print(line, flush=True)
                lines.append(line)
            print(flush=True)
            made[name] = "\n".join(lines)
    if arguments.output is not None:
        page = arguments.output.read_text(encoding="utf-8") if arguments.output.exists() else ""
        arguments.output.write_text(put_into(page, made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
