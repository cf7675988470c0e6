"""TCP sockets as sock_diag(7) shows them: polled, and once more when the kernel destroys them.

It measures when there is no BPF, and checks BPF independently when there is. It reads about ten times a second.
If it only checks counts, it reads known connections once a second, and looks for new ones twice a second after a
second without a new one. The kernel's notice of a destroyed socket carries its last tcp_info. So final counts are
exact if the notice comes in time. Names are those of `collect/tcp/collector.py`, as far as tcp_info has them.
There is no RTT of single segments (`rtt_us` is empty) and no kind of a retransmission. srtt, cwnd and inflight
have one value for each reading. The kernel counts SYN and FIN as a byte each.
"""

from __future__ import annotations

import math
import os
import selectors
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from perfcheck.collect import declared
from perfcheck.collect.base import histogram
from perfcheck.collect.sockdiag.host import HostSockets, require_sock_diag
from perfcheck.collect.sockdiag.tcp_info import BEYOND, Glance, TcpLook
from perfcheck.errors import CollectError
from perfcheck.model.flow import FlowKey, Histogram, Protocol, TcpSocket
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.clock import now_ns, wait_until
from perfcheck.system.netns import NetnsThread

_PERIOD_S: Final = 0.1
_SELDOM_S: Final = 0.5
_COUNTS_S: Final = 1.0
_UNSETTLED_S: Final = 1.0
"""So long after a connection was opened others are looked for in short steps: a generator opens several."""
_LAST_NOTICES_S: Final = 0.05
_SHARE_OF_CPU: Final = 0.02
_INFINITE_SSTHRESH: Final = 0x7FFFFFFF
COUNTERS: Final = {
    "segs_out": "segs_out", "data_segs_out": "data_segs_out", "retrans_segs": "total_retrans",
    "delivered_segs": "delivered", "delivered_ce_segs": "delivered_ce", "dsack_dups_segs": "dsack_dups",
    "reord_seen_events": "reord_seen", "ooo_segs": "rcv_ooopack", "bytes_acked": "bytes_acked",
    "bytes_received": "bytes_received", "busy_us": "busy_time", "rwnd_limited_us": "rwnd_limited",
    "sndbuf_limited_us": "sndbuf_limited",
}  # fmt: skip
_GAUGES: Final = {
    "rttvar_us": "rttvar", "mss_bytes": "snd_mss", "reordering_segs": "reordering", "cwnd_segs": "snd_cwnd",
    "snd_wnd_bytes": "snd_wnd",
}  # fmt: skip


@dataclass(slots=True)
class _Seen:
    """What has been seen of one socket: first, at the begin of the window, and last; `before` the trial, or since."""

    key: FlowKey
    first_ns: int
    last: TcpLook
    last_ns: int
    base: TcpLook | None = None
    base_ns: int = 0
    closed: bool = False
    before: bool = False
    srtt_us: list[int] = field(default_factory=list)
    cwnd: list[int] = field(default_factory=list)
    inflight: list[int] = field(default_factory=list)


class SockdiagCollector:
    """Measures the TCP sockets of the scope's namespaces by tcp_info, about ten times a second."""

    declared = declared.SOCKDIAG

    def __init__(self, period_s: float = _PERIOD_S, *, counts_only: bool = False) -> None:
        """Take the time between looks; with `counts_only` distributions of what changes meanwhile are coarse."""
        self._period_s = period_s
        self._counts_only = counts_only
        self._asked_s = self._opened_s = -math.inf
        self._awaits_window = False
        self._hosts: list[HostSockets] = []
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._warmup_ns = 0
        self._problem = ""
        self._unseen = 0
        self._cpu_s = 0.0

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    def check(self) -> None:
        """Raise Unavailable where the kernel does not answer sock_diag for TCP."""
        require_sock_diag()

    def open(self) -> None:
        """Nothing is needed before `begin`."""

    def begin(self, scope: Scope) -> None:
        """Open netlink sockets inside the hosts and start looking."""
        self.close()
        self._seen = {}
        self._warmup_ns = scope.warmup_ns
        self._problem = ""
        self._unseen = 0
        self._asked_s, self._opened_s = -math.inf, time.monotonic()
        self._awaits_window = False
        with NetnsThread() as namespaces:
            for host, path in scope.netns_paths.items():
                self._hosts.append(namespaces.inside(path, lambda host=host: HostSockets(host)))  # type: ignore[misc]
        self._look()
        for seen in self._seen.values():
            seen.before = True
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._watch, name="sockdiag", daemon=True)
        self._thread.start()

    def end(self) -> Observation:
        """Look once more, take the last notices and give one TcpSocket for each connection seen."""
        self._stop()
        if self._problem:
            raise CollectError(f"sock_diag failed during the run: {self._problem}")
        started_s = time.thread_time()
        self._look(known=True)
        self._await_notices()
        sockets = tuple(_socket(seen) for seen in self._seen.values())
        lost = sum(host.lost for host in self._hosts)
        self._close_hosts()
        cpu_s = self._cpu_s + time.thread_time() - started_s
        warnings = (
            (f"sock_diag: {self._unseen} connections opened and closed between two polls",) if self._unseen else ()
        )
        return Observation(
            collector=self.name, tcp_sockets=sockets, overhead=Overhead(user_cpu_s=cpu_s), lost_events=lost,
            warnings=warnings,
        )  # fmt: skip

    def program_ns(self) -> int:
        """Return 0: there are no programs."""
        return 0

    def do_less(self, share: float) -> str | None:
        """Look less often, once; counts stay exact by the kernel's notices."""
        del share
        if self._period_s >= _SELDOM_S:
            return None
        done = f"sock_diag polled for connections every {_SELDOM_S:g} s instead of every {self._period_s:g} s"
        self._period_s = _SELDOM_S
        return done

    def close(self) -> None:
        """Stop looking; safe to call twice."""
        self._stop()
        self._close_hosts()

    def _stop(self) -> None:
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            self._thread = None
            os.close(self._wake)

    def _close_hosts(self) -> None:
        for host in self._hosts:
            host.close()
        self._hosts = []

    def _watch(self) -> None:
        """Look every period until woken; notices are taken as they come."""
        due = time.monotonic() + self._period_s
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake, selectors.EVENT_READ)
                for host in self._hosts:
                    selector.register(host.told, selectors.EVENT_READ, host)
                while True:
                    ready = [key for key, _ in selector.select(max(0.0, due - time.monotonic()))]
                    if any(key.fd == self._wake for key in ready):
                        break
                    for key in ready:
                        self._take(key.data, key.data.notices(), destroyed=True)
                    if time.monotonic() >= due:
                        began_s = time.thread_time()
                        self._look()
                        # With thousands of connections a look takes long: look seldom rather than disturb.
                        rest_s = (time.thread_time() - began_s) / _SHARE_OF_CPU
                        due = time.monotonic() + max(self._rest_s(), rest_s)
        except OSError as error:
            self._problem = str(error)
        self._cpu_s = time.thread_time()

    def _rest_s(self) -> float:
        steady = self._counts_only and time.monotonic() - self._opened_s > _UNSETTLED_S
        return _SELDOM_S if steady else self._period_s

    def _look(self, *, known: bool = False) -> None:
        now_s = time.monotonic()
        due = not self._counts_only or now_s - self._asked_s >= _COUNTS_S - self._period_s / 2
        known = known or self._awaits_window or due
        if known:
            self._asked_s = now_s
        self._awaits_window = False
        for host in self._hosts:
            self._take(host, host.looks(known=known))
            if host.opened:
                self._opened_s = now_s

    def _await_notices(self) -> None:
        """Return notices of sockets that have gone a moment to come: the kernel sends them from a work queue."""
        alive = {(host.host, look.cookie) for host in self._hosts for look in host.looks()}
        missing: list[_Seen] = []

        def all_told() -> bool:
            for host in self._hosts:
                self._take(host, host.notices(), destroyed=True)
            missing[:] = [seen for where, seen in self._seen.items() if where not in alive and not seen.closed]
            return not missing

        wait_until(all_told, timeout_s=_LAST_NOTICES_S)
        for seen in missing:
            seen.closed = True

    def _take(self, host: HostSockets, looks: Iterable[TcpLook], *, destroyed: bool = False) -> None:
        at_ns = now_ns()
        for look in looks:
            seen = self._seen.get((host.host, look.cookie))
            if seen is None and destroyed:
                # A listener, or a connection whose local port is gone by now: it belongs to no known flow.
                self._unseen += bool(look.remote[1])
                continue
            if seen is None:
                seen = self._seen[host.host, look.cookie] = _Seen(
                    key=key_of(host.host, look), first_ns=at_ns, last=look, last_ns=at_ns
                )
            if destroyed:
                # The port and the congestion control are gone by then.
                seen.closed = True
            elif seen.base is None and at_ns >= seen.first_ns + self._warmup_ns:
                seen.base, seen.base_ns = look, at_ns
            elif seen.base is not None:
                _sample(seen, look.glance)
            # Its window is to open on time, however seldom it is asked for afterwards.
            self._awaits_window |= seen.base is None and not destroyed
            seen.last, seen.last_ns = look, _active_ns(look.glance, at_ns)


def key_of(host: str, look: TcpLook) -> FlowKey:
    """Return whose a look is."""
    (local, local_port), (remote, remote_port) = look.local, look.remote
    return FlowKey(
        protocol=Protocol.TCP, host=host, local=local, local_port=local_port, remote=remote, remote_port=remote_port
    )


def _active_ns(seen: Glance, at_ns: int) -> int:
    """When a segment last arrived; now while data are unacknowledged."""
    if seen.unacked:
        return at_ns
    idle_ms = min(seen.last_ack_recv, seen.last_data_recv)
    return at_ns - min(idle_ms * 1_000_000, at_ns)


def inflight_segs(seen: Glance) -> int:
    """Return the segments on the way, as tcp_packets_in_flight() of the kernel."""
    return max(0, seen.unacked + seen.retrans - seen.sacked - seen.lost)


def _sample(into: _Seen, seen: Glance) -> None:
    if seen.rtt:
        into.srtt_us.append(seen.rtt)
    into.cwnd.append(seen.snd_cwnd)
    into.inflight.append(inflight_segs(seen))


def _histogram(unit: str, values: Iterable[int]) -> Histogram:
    scale = histogram.edges(histogram.RTT_BUCKETS if unit == "us" else histogram.SEGS_BUCKETS)
    data = np.array(list(values), dtype=np.uint64)
    if not data.size:
        return histogram.empty(unit, scale)
    counts, _ = np.histogram(data[data < scale[-1]], bins=np.array(scale))
    return Histogram(
        unit=unit, edges=scale, counts=tuple(counts.tolist()), above=int((data >= scale[-1]).sum()),
        minimum=float(data.min()), maximum=float(data.max()), total=float(data.sum()),
    )  # fmt: skip


def _socket(seen: _Seen) -> TcpSocket:
    last, base = seen.last.info, seen.base.info if seen.base is not None else seen.last.info
    counters = {
        name: (last[field_] - base[field_]) % BEYOND[field_] for name, field_ in COUNTERS.items() if field_ in last
    }
    first_ns = seen.base_ns
    last_ns = max(first_ns, seen.last_ns)
    counters["elapsed_us"] = (last_ns - first_ns) // 1000 if first_ns else 0
    return TcpSocket(
        key=seen.key,
        cookie=seen.last.cookie,
        established_ns=0 if seen.before else seen.first_ns,
        first_ns=first_ns,
        last_ns=last_ns,
        closed=seen.closed,
        congestion=(seen.base or seen.last).congestion,
        rtt_us=_histogram("us", ()),
        srtt_us=_histogram("us", seen.srtt_us),
        cwnd=_histogram("segs", seen.cwnd),
        inflight=_histogram("segs", seen.inflight),
        counters=counters,
        gauges=gauges_of(last),
        whole_bytes_acked=last["bytes_acked"],
        whole_bytes_received=last["bytes_received"],
        whole_retrans_segs=last["total_retrans"],
        whole_segs_out=last["segs_out"],
    )


def gauges_of(info: Mapping[str, int]) -> dict[str, float]:
    """Return the latest values that tcp_info has, by the names of `collect/tcp/collector.py`."""
    gauges = {name: float(info[field_]) for name, field_ in _GAUGES.items() if field_ in info}
    ssthresh = info["snd_ssthresh"]
    gauges["ssthresh_segs"] = 0.0 if ssthresh >= _INFINITE_SSTHRESH else float(ssthresh)
    if info.get("min_rtt", 0) not in {0, 0xFFFFFFFF}:
        gauges["min_rtt_us"] = float(info["min_rtt"])
    if info.get("delivery_rate"):
        gauges["delivery_rate_bps"] = info["delivery_rate"] * 8.0
    if info["pacing_rate"] not in {0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}:
        gauges["pacing_rate_bps"] = info["pacing_rate"] * 8.0
    return gauges
