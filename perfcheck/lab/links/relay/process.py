"""The relay process of one link: reads frames from two TAPs, lets the models decide, writes them when due.

It imports nothing that is slow to import, and talks to its parent over a SOCK_SEQPACKET socket,
one JSON object a message; the end of that socket is the end of the process.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import signal
import sys
from time import monotonic_ns, process_time_ns

from perfcheck.lab.links.impair.codel_direction import CodelDirection
from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.gso import HEADER_BYTES
from perfcheck.lab.links.impair.gso_direction import GsoDirection
from perfcheck.lab.links.impair.packet_id import ETHERNET_BYTES
from perfcheck.lab.links.impair.plan import DirectionPlan
from perfcheck.lab.links.relay.carrier import Carrier
from perfcheck.lab.links.relay.page import QueuePage
from perfcheck.lab.links.relay.priority import Awake, RealTime
from perfcheck.lab.links.relay.tap import Tap
from perfcheck.lab.links.relay.timer import NEVER_NS, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

LARGEST_SUPER: Final = HEADER_BYTES + ETHERNET_BYTES + 65535
MESSAGE_BYTES: Final = 1 << 16
BEAT_NS: Final = 2_000_000
"""During a trial the relay wakes so often in any case: from being late then it knows that it was kept from the CPU."""
LONGEST_WORK_NS: Final = 1_000_000
"""What a round of reading and writing may take."""
PR_SET_PDEATHSIG: Final = 1
PR_SET_TIMERSLACK: Final = 29
MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2


class Relay:
    """Both directions, the control channel and the loop that serves them."""

    def __init__(self, control: int, config: dict[str, Any], page: QueuePage) -> None:
        """Make both TAPs; OSError says what the kernel refused. Queues are noted in `page` when a trial asks for it."""
        self._control = control
        self._page = page
        self._note_every_ns = 0
        self._next_note_ns = NEVER_NS
        mtu = config["mtu"]
        whole = config["super_packets"]
        first, second = (Tap(end["netns"], end["ifname"], mtu, offloads=whole) for end in config["ends"])
        plans = [DirectionPlan(**plan) for plan in config["directions"]]
        forward, reverse = (direction_of(plan, super_packets=whole) for plan in plans)
        largest = LARGEST_SUPER if whole else mtu + ETHERNET_BYTES
        self._carriers = (Carrier(forward, first, second, largest), Carrier(reverse, second, first, largest))
        self._managed = [direction for direction in (forward, reverse) if isinstance(direction, CodelDirection)]
        self._timer = Timer()
        self._cpu_start_ns = process_time_ns()
        self._wall_start_ns = monotonic_ns()
        self._real_time = RealTime(self._wall_start_ns)
        self._awake = Awake()
        self._in_trial = False

    def serve(self) -> None:
        """Carry frames until the parent is gone."""
        carriers = self._carriers
        by_fd = {carrier.source.fd: carrier for carrier in carriers}
        lines = [(carrier, line) for carrier in carriers for line in (carrier.direction.line, carrier.direction.early)]
        real_time, timer = self._real_time, self._timer
        back = monotonic_ns()
        while True:
            now = monotonic_ns()
            if now >= real_time.next_check_ns:
                real_time.check(now, sum(carrier.direction.counts.received for carrier in carriers))
            if now >= self._next_note_ns:
                self._note(now)
            next_due = NEVER_NS
            for direction in self._managed:
                direction.advance(now)
                next_due = min(next_due, direction.next_turn_ns)
            for carrier, line in lines:
                if line:
                    if line[0][0] <= now:
                        now = carrier.release(line, now)
                    if line and line[0][0] < next_due:
                        next_due = line[0][0]
            watched, until = self._watch(now, min(next_due, now + BEAT_NS) if self._in_trial else next_due)
            # A TAP does not say when a frame came. It may have come when this process last began to sleep, or to work.
            worked = now - back - LONGEST_WORK_NS
            ready = timer.wait(watched, now, until)
            back = monotonic_ns()
            for fd in ready:
                if fd != self._control:
                    by_fd[fd].take(max(0, worked, timer.overslept_ns))
                elif not self._command():
                    return

    def _watch(self, now_ns: int, until_ns: int) -> tuple[list[int], int]:
        """Return the descriptors to wait for and until when; TAPs left alone are looked at again by then."""
        watched = []
        for carrier in self._carriers:
            if carrier.next_look_ns <= now_ns:
                watched.append(carrier.source.fd)
            elif carrier.next_look_ns < until_ns:
                until_ns = carrier.next_look_ns
        # Last: what came before the end of a trial is counted in it, also where both are found at once.
        watched.append(self._control)
        return watched, until_ns

    def _command(self) -> bool:
        message = os.read(self._control, MESSAGE_BYTES)
        if not message:
            return False
        command = json.loads(message)
        operation: str = command["op"]
        if operation == "begin":
            self._begin(command.get("note_every_ns", 0))
            send(self._control, {"begun": True})
        elif operation == "end":
            send(self._control, self._report())
            self._in_trial = False
            self._next_note_ns = NEVER_NS
            self._awake.end()
        return True

    def _note(self, now_ns: int) -> None:
        """Write down how the queues are; due with the next beat at the latest."""
        directions = [carrier.direction for carrier in self._carriers]
        self._page.write([
            (one.queue_bytes(now_ns), one.counts.received, one.counts.dropped_queue, one.counts.dropped_policer,
             one.counts.dropped_loss)
            for one in directions
        ])  # fmt: skip
        self._next_note_ns = now_ns + self._note_every_ns

    def _begin(self, note_every_ns: int) -> None:
        self._in_trial = True
        self._note_every_ns = note_every_ns
        self._awake.begin()
        for carrier in self._carriers:
            carrier.begin()
        self._next_note_ns = NEVER_NS
        if note_every_ns:
            # Before the answer: nobody takes what is left of the trial before for this one's.
            self._note(monotonic_ns())
        self._cpu_start_ns = process_time_ns()
        self._wall_start_ns = monotonic_ns()

    def _report(self) -> dict[str, Any]:
        wall_ns = max(1, monotonic_ns() - self._wall_start_ns)
        cpu_pct = 100 * (process_time_ns() - self._cpu_start_ns) / wall_ns
        return {
            "directions": [carrier.report() for carrier in self._carriers],
            "cpu_pct": cpu_pct,
            "wall_ns": wall_ns,
            "real_time": self._real_time.possible,
            "lead_us": self._timer.lead_ns / 1000,
        }


def direction_of(plan: DirectionPlan, *, super_packets: bool) -> ImpairedDirection:
    """Return the models of one direction."""
    if super_packets:
        return GsoDirection(plan)
    return CodelDirection(plan) if plan.codel else ImpairedDirection(plan)


def send(control: int, message: dict[str, Any]) -> None:
    """Send one message to the parent."""
    os.write(control, json.dumps(message).encode())


def settle_in(*, dies_with_parent: bool) -> bool:
    """Prepare the process for deadlines; give whether its memory could be locked."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in (signal.SIGINT, signal.SIGHUP):  # the parent decides when the link ends, not the terminal
        signal.signal(number, signal.SIG_IGN)
    if dies_with_parent:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    locked: bool = libc.mlockall(MCL_CURRENT | MCL_FUTURE) == 0
    gc.disable()
    return locked


def main() -> int:
    """Serve a link: argv has the numbers of the control socket, of a file with the plan as JSON, and of the page."""
    control = int(sys.argv[1])
    page = QueuePage(int(sys.argv[3]))
    with os.fdopen(int(sys.argv[2]), "rb") as file:
        config = json.load(file)
    locked = settle_in(dies_with_parent=config["dies_with_parent"])
    try:
        relay = Relay(control, config, page)
    except OSError as error:
        send(control, {"error": f"{os.strerror(error.errno or errno.EIO)} ({error})"})
        return 1
    send(control, {"ready": True, "memory_locked": locked})
    relay.serve()
    return 0
