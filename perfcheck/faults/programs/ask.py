"""Questions and answers over TCP: `ask.py HOST --callers 3 --per-s 8`, answered by `ask.py --answer`.

A question is 200 bytes, which name the size of the answer. A caller keeps its connection, or with `--anew` makes one
for each question. It reports times, errors and rates, as perfcheck's `command` reads them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import threading
import time

QUESTION = 200
TIMEOUT_S = 5.0


class Answerer:
    """Accepts connections and answers questions, well or badly."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Listen nowhere yet."""
        self._options = options
        self._end = time.monotonic() + options.seconds
        self._number = 0

    def run(self) -> None:
        """Accept until the time is over, and close the listener now and then where that is asked for."""
        options = self._options
        while time.monotonic() < self._end:
            self._accept_until(min(self._end, time.monotonic() + (options.open_ms / 1e3 or options.seconds)))
            time.sleep(options.closed_ms / 1e3)

    def _accept_until(self, until: float) -> None:
        options = self._options
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::", options.port))
            listener.listen(options.backlog)
            napped = time.monotonic()
            while (left := until - time.monotonic()) > 0:
                listener.settimeout(left)
                with contextlib.suppress(OSError):
                    made = listener.accept()[0]
                    self._number += 1
                    threading.Thread(target=self._answer, args=(made, self._number), daemon=True).start()
                time.sleep(options.accept_ms / 1e3)
                if options.nap_ms and time.monotonic() - napped > options.awake_ms / 1e3:
                    time.sleep(options.nap_ms / 1e3)
                    napped = time.monotonic()

    def _answer(self, made: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), made:
            made.settimeout(max(0.1, self._end - time.monotonic()))
            every = self._options.unread_every
            if every and number % every == 0:
                made.recv(10)  # The rest of the question stays unread: a close then sends RST.
                return
            while len(question := exactly(made, QUESTION)) == QUESTION:
                made.sendall(bytes(int(question[:10])))


def exactly(made: socket.socket, size: int) -> bytes:
    """Return so many bytes, or fewer at the connection's end."""
    got = bytearray()
    while len(got) < size and (piece := made.recv(min(size - len(got), 1 << 16))):
        got += piece
    return bytes(got)


class Asker(threading.Thread):
    """Asks at a pace; what went well and what did not."""

    def __init__(self, options: argparse.Namespace, end: float) -> None:
        """Connect nothing yet."""
        super().__init__()
        self._options = options
        self._end = end
        self._kept: socket.socket | None = None
        self.connects_us: list[float] = []
        self.answers_us: list[float] = []
        self.errors = 0

    def run(self) -> None:
        """Ask until the end."""
        while (begun := time.monotonic()) < self._end:
            try:
                made = self._kept or self._connected(begun)
                made.sendall(str(self._options.size).zfill(10).encode().ljust(QUESTION))
                if len(exactly(made, self._options.size)) < self._options.size:
                    raise ConnectionResetError
                self.answers_us.append((time.monotonic() - begun) * 1e6)
                if self._options.anew:
                    made.close()
                    self._kept = None
            except OSError:
                self.errors += begun + 0.05 < self._end and time.monotonic() < self._end
                if self._kept is not None:
                    self._kept.close()
                self._kept = None
            per_s = self._options.per_s
            if per_s:
                time.sleep(max(0.0, min(begun + 1 / per_s, self._end) - time.monotonic()))

    def _connected(self, begun: float) -> socket.socket:
        timeout = max(0.1, min(TIMEOUT_S, self._end + 1.5 - begun))
        self._kept = socket.create_connection((self._options.host, self._options.port), timeout=timeout)
        self._kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connects_us.append((time.monotonic() - begun) * 1e6)
        return self._kept


def main() -> None:
    """Ask or answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="?", default="::")
    parser.add_argument("--answer", action="store_true")
    parser.add_argument("--port", type=int, default=9400)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, default=3)
    parser.add_argument("--per-s", type=float, default=8.0, help="questions per second of each caller; 0: no pause")
    parser.add_argument("--size", type=int, default=2000, help="bytes of an answer")
    parser.add_argument("--anew", action="store_true", help="a connection for each question")
    parser.add_argument("--backlog", type=int, default=128)
    parser.add_argument("--accept-ms", type=float, default=0.0, help="wait after each accept")
    parser.add_argument("--awake-ms", type=float, default=0.0, help="accept for so long, then not for --nap-ms")
    parser.add_argument("--nap-ms", type=float, default=0.0)
    parser.add_argument("--open-ms", type=float, default=0.0, help="listen for so long, then not for --closed-ms")
    parser.add_argument("--closed-ms", type=float, default=0.0)
    parser.add_argument("--unread-every", type=int, default=0, help="close each so many-th connection with unread data")
    options = parser.parse_args()
    if options.answer:
        Answerer(options).run()
        return
    end = time.monotonic() + options.seconds
    askers = [Asker(options, end) for _ in range(options.callers)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    report(options, askers)


def report(options: argparse.Namespace, askers: list[Asker]) -> None:
    """Write the metrics by perfcheck's names."""
    answers = sorted(value for each in askers for value in each.answers_us)
    metrics: dict[str, float] = {
        "app.errors": sum(each.errors for each in askers),
        "app.requests_per_s": len(answers) / options.seconds,
    }
    connects = sorted(value for each in askers for value in each.connects_us) if options.anew else []
    for name, values in (("app.connect_us", connects), ("app.latency_us", answers)):
        if values:
            metrics[f"{name}.p50"] = values[len(values) // 2]
            metrics[f"{name}.p99"] = values[min(len(values) - 1, len(values) * 99 // 100)]
    if not options.per_s:
        metrics["app.throughput_bps"] = 8 * options.size * len(answers) / options.seconds
    os.write(1, (json.dumps({"perfcheck": metrics}) + "\n").encode())


if __name__ == "__main__":
    main()
