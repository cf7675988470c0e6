"""Delivery of alerts: each arrives or is told as undelivered, whatever the target does, and nobody waits for it."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from perfcheck.errors import UsageError
from perfcheck.live.alerts import Alert, AlertState, Subject
from perfcheck.live.delivery import Deliveries, FileTarget, Notice, SyslogTarget, Target, WebhookTarget, target_of
from perfcheck.live.delivery.channel import Channel, Patience
from perfcheck.live.delivery.deliveries import SPILL_BYTES
from perfcheck.live.delivery.local import FileSender
from perfcheck.live.delivery.notice import NotDelivered
from perfcheck.live.delivery.webhook import WebhookSender
from perfcheck.model.metric import Layer
from perfcheck.system.clock import wait_until

HASTE = Patience(attempt_s=0.15, first_pause_s=0.005, longest_pause_s=0.02)


def alert(number: int, state: AlertState = AlertState.RAISED) -> Alert:
    return Alert(
        id=f"rule-{number:06d}", rule="rule", summary="it is so", subject=Subject(), metric="tcp.retrans_pct",
        layer=Layer.TCP, unit="pct", value=2.0, worst=3.0, bound=1.0, since_ns=0, now_ns=10**9, state=state,
        intervals=3,
    )  # fmt: skip


def notice(number: int) -> Notice:
    return Notice(key=f"k{number}", body="{}", text="t", urgent=True)


class Server:
    """A webhook whose answer is chosen at any time: 200, 500, 302, `hang`, `drip`."""

    def __init__(self) -> None:
        self.answer = "200"
        self.got: list[tuple[str, bytes]] = []
        self.goes = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = server.answer
                if answer == "hang":
                    server.goes.wait(20)
                    return
                if answer == "drip":
                    self._drip()
                    return
                if answer == "200":
                    server.got.append((self.headers["Idempotency-Key"], body))
                self.send_response(int(answer))
                self.send_header("Location", "http://elsewhere.example/secret")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _drip(self) -> None:
                for byte in b"HTTP/1.1 200 OK\r\n" * 10:
                    try:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                    except OSError:
                        return
                    if server.goes.wait(0.05):
                        return

            def log_request(self, code: object = "-", size: object = "-") -> None:
                return

        self._handler = Handler
        self.port = 0
        self._thread: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        """Listen, at the same port again."""
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.005})
        self._thread.start()

    def stop(self) -> None:
        """Let connections be refused."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.socket.close()
            self._thread = None

    def become(self, answer: str) -> None:
        """Answer so from now on."""
        if answer == "refuse":
            self.stop()
            return
        self.answer = answer
        if self._thread is None:
            self.start()

    @property
    def target(self) -> WebhookTarget:
        return WebhookTarget(host="127.0.0.1", port=self.port, path="/hook?token=secret", tls=False)


@contextmanager
def served() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.goes.set()
        server.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as found:
        yield found


def deliveries(tmp_path: Path, *targets: Target, most_waiting: int = 1024) -> Deliveries:
    return Deliveries(targets, tool="perfctl observe", most_waiting=most_waiting, patience=HASTE, spill_folder=tmp_path)


def put(to: Deliveries, number: int, state: AlertState = AlertState.RAISED) -> float:
    begin_s = time.perf_counter()
    to.put(alert(number, state), epoch_ns=0, number=number)
    return time.perf_counter() - begin_s


@pytest.mark.parametrize("room", [150, 1024])
def test_a_thousand_alerts_while_the_webhook_comes_and_goes(server: Server, tmp_path: Path, room: int) -> None:
    to = deliveries(tmp_path, server.target, most_waiting=room)
    longest_s, most_waiting = 0.0, 0
    answers = ("200", "hang", "500", "200", "refuse", "200", "500", "hang", "refuse")
    for number in range(1000):
        if number % 50 == 0:
            server.become(answers[number // 50 % len(answers)])
        longest_s = max(longest_s, put(to, number))
        most_waiting = max(most_waiting, to._channels[0].waiting)
        time.sleep(0.001)
    server.become("200")
    report = to.close(30.0).channels[0]
    arrived = {key for key, _ in server.got}
    assert report.put == 1000
    assert report.delivered + report.undelivered == 1000
    assert len(report.keys) == report.undelivered
    assert arrived | set(report.keys) == {f"rule-{number:06d}-raised" for number in range(1000)}
    assert report.undelivered == 0 if room > 1000 else report.undelivered > 0
    assert report.delivered > 50
    assert most_waiting <= room
    assert longest_s < 2


def test_one_that_refuses_blocks_no_other_and_all_is_kept(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    target = WebhookTarget(host="127.0.0.1", port=port, path="/", tls=False)
    to = deliveries(tmp_path, target, FileTarget(path=tmp_path / "alerts.jsonl"), most_waiting=20)
    for number in range(100):
        put(to, number)
        time.sleep(0.0005)
    report = to.close(0.2)
    refused, written = report.channels
    assert (refused.delivered, refused.undelivered) == (0, 100)
    assert written.delivered == len((tmp_path / "alerts.jsonl").read_text().splitlines())
    assert written.put == written.delivered + written.undelivered == 100
    assert report.spill is not None
    kept = [json.loads(line) for line in report.spill.read_text().splitlines()]
    of_refused = {line["key"] for line in kept if line["target"].startswith("webhook")}
    assert len(kept) == report.kept
    assert of_refused == set(refused.keys)
    assert any("Connection refused" in line for line in report.lines())
    assert any(str(report.spill) in line for line in report.lines())


def test_the_end_comes_in_time_though_the_webhook_hangs(server: Server, tmp_path: Path) -> None:
    server.answer = "hang"
    to = Deliveries([server.target], tool="perfctl observe", spill_folder=tmp_path)
    put(to, 1)
    begin_s = time.monotonic()
    report = to.close(0.3)
    assert time.monotonic() - begin_s < 5
    assert (report.undelivered, report.kept) == (1, 1)


def test_recovery_is_told(server: Server, tmp_path: Path) -> None:
    server.answer = "500"
    to = deliveries(tmp_path, server.target)
    news: list[str] = []

    def told(text: str) -> bool:
        news.extend(to.news())
        return any(text in each for each in news)

    put(to, 1)
    put(to, 2, AlertState.CLEARED)
    assert wait_until(lambda: told("HTTP 500; alerts wait"), timeout_s=5)
    server.answer = "200"
    assert wait_until(lambda: told("takes alerts again"), timeout_s=5)
    assert to.close().undelivered == 0
    assert [key for key, _ in server.got] == ["rule-000001-raised", "rule-000002-cleared"]
    assert "secret" not in " ".join(news)


def test_the_body_is_the_event(server: Server, tmp_path: Path) -> None:
    to = deliveries(tmp_path, server.target)
    put(to, 1)
    put(to, 2, AlertState.ONGOING)
    to.close()
    ((key, body),) = server.got
    told = json.loads(body)
    assert (key, told["type"], told["tool"]) == ("rule-000001-raised", "alert", "perfctl observe")
    assert (told["context"]["alert"], told["context"]["state"]) == ("rule-000001", "raised")
    assert told.keys() >= {"timestamp", "timestamp_ns", "flow", "layer", "metrics", "value", "related", "diagnosis"}


@pytest.mark.parametrize(
    ("answer", "final", "says"),
    [("500", False, "HTTP 500"), ("429", False, "HTTP 429"), ("404", True, "HTTP 404"), ("hang", False, "no answer"),
     ("drip", False, "no answer"), ("302", True, "redirects to http://elsewhere.example; redirects are not")],
)  # fmt: skip
def test_what_a_webhook_answers(server: Server, answer: str, final: bool, says: str) -> None:
    server.answer = answer
    timeout_s = 0.3 if says == "no answer" else 10.0
    begin_s = time.monotonic()
    with pytest.raises(NotDelivered, match=says) as found:
        WebhookSender(server.target).send(notice(1), timeout_s)
    assert found.value.final is final
    assert time.monotonic() - begin_s < 5
    assert "secret" not in str(found.value)


def test_a_refused_alert_does_not_hold_up_the_next(server: Server, tmp_path: Path) -> None:
    server.answer = "400"
    to = deliveries(tmp_path, server.target)
    put(to, 1)
    assert wait_until(
        lambda: any("refused alert rule-000001-raised: HTTP 400" in each for each in to.news()), timeout_s=5
    )
    server.answer = "200"
    put(to, 2)
    report = to.close().channels[0]
    assert (report.delivered, report.keys) == (1, ("rule-000001-raised",))


def test_no_http_at_the_other_end_and_bad_tls_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def nonsense() -> None:
            for _ in range(2):
                with listener.accept()[0] as peer:
                    peer.recv(100)
                    peer.sendall(b"SSH-2.0-x\x1b[31m" + b"\xff" * 10_000 + b"\r\n\r\n")

        thread = threading.Thread(target=nonsense)
        thread.start()
        for tls in (False, True):
            sender = WebhookSender(WebhookTarget(host="127.0.0.1", port=port, path="/", tls=tls))
            with pytest.raises(NotDelivered) as found:
                sender.send(notice(1), 2.0)
            assert str(found.value).isprintable()
            assert len(str(found.value)) < 300, "a line to read, whatever was answered"
        thread.join()


def test_a_full_disk_is_told_and_nothing_ends(tmp_path: Path) -> None:
    to = deliveries(tmp_path, FileTarget(path=Path("/dev/full")))
    for number in range(10):
        put(to, number)
    report = to.close(0.2)
    assert (report.undelivered, report.kept) == (10, 10)
    assert "No space left on device" in report.lines()[0]


def test_a_file_whose_folder_goes_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    to = deliveries(tmp_path, FileTarget(path=folder / "a.jsonl"))
    (folder / "a.jsonl").unlink()
    folder.rmdir()
    put(to, 1)
    assert wait_until(lambda: any("No such file" in each for each in to.news()), timeout_s=5)
    folder.mkdir()
    assert to.close().undelivered == 0
    assert json.loads((folder / "a.jsonl").read_text())["context"]["alert"] == "rule-000001"


def test_a_folder_that_never_was_is_a_wrong_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--alert-output file:.*No such file or directory; give a file"):
        deliveries(tmp_path, FileTarget(path=tmp_path / "no" / "a.jsonl"))


def test_a_pipe_that_nobody_reads_holds_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotDelivered):
        FileSender(FileTarget(path=tmp_path / "pipe")).send(notice(1), 1.0)


def test_the_file_of_undelivered_alerts_is_bounded(tmp_path: Path) -> None:
    sender = FileSender(FileTarget(path=tmp_path / "a"), limit_bytes=10)
    for number in range(3):
        sender.send(notice(number), 1.0)
    with pytest.raises(NotDelivered, match="its limit") as found:
        sender.send(notice(4), 1.0)
    assert found.value.final
    assert SPILL_BYTES < 1 << 24


def test_the_log_gets_a_line_without_anything_unprintable(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        log.settimeout(5)
        to = deliveries(tmp_path, SyslogTarget(path=path))
        put(to, 1)
        put(to, 1, AlertState.CLEARED)
        lines = [log.recv(4096).decode() for _ in range(2)]
        assert to.close().undelivered == 0
    assert lines[0].startswith(f"<12>perfctl[{os.getpid()}]: alert raised: rule: it is so, all flows: 2 %, bound 1 %")
    assert lines[1].startswith("<13>")
    assert all(line.isprintable() for line in lines)


def test_a_log_that_is_not_there_or_takes_nothing(tmp_path: Path) -> None:
    to = deliveries(tmp_path, SyslogTarget(path=tmp_path / "log"))
    put(to, 1)
    assert "No such file" in to.close(0.1).lines()[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "full"))
        full = deliveries(tmp_path, SyslogTarget(path=tmp_path / "full"))
        for number in range(2000):
            put(full, number)
        report = full.close(0.3).channels[0]
        assert report.delivered + report.undelivered == 2000
        assert report.undelivered > 0


def test_a_defect_of_a_sender_loses_nothing_silently() -> None:
    class Broken:
        label = "broken"

        def send(self, one: Notice, timeout_s: float) -> None:
            raise ZeroDivisionError(one.key)

    channel = Channel(Broken(), patience=HASTE)
    channel.put(notice(1))
    channel.finish_by(time.monotonic() + 1)
    assert channel.report().undelivered == 1


def test_the_same_target_twice_is_one(server: Server, tmp_path: Path) -> None:
    to = deliveries(tmp_path, server.target, server.target)
    put(to, 1)
    to.close()
    assert Counter(key for key, _ in server.got) == {"rule-000001-raised": 1}


def test_no_target_needs_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    to = deliveries(tmp_path)
    put(to, 1)
    assert to.close().lines() == ()
    assert threading.active_count() == before
    assert not math.isnan(alert(1).value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("file:/var/log/a.jsonl", FileTarget(path=Path("/var/log/a.jsonl"))),
        ("syslog", SyslogTarget()),
        ("webhook:https://h.example/x?y=1", WebhookTarget(host="h.example", port=443, path="/x?y=1", tls=True)),
        ("webhook:http://[::1]:8080", WebhookTarget(host="::1", port=8080, path="/", tls=False)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert target_of(text) == target


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected file:PATH"), ("mail:me", "expected file:PATH, syslog or webhook:URL"),
        ("file:", "lacks its path"), ("webhook:", "lacks its URL"),
        ("https://h/x", "write webhook:https:"), ("syslog:x", "takes no value"),
        ("webhook:ftp://h/", "expected a URL"), ("webhook:http:///x", "host is missing"),
        ("webhook:http://h:0/", "port 0"),
        ("webhook:http://h:99999/", "[Pp]ort"), ("webhook:http://u:p@h/", "are not sent"),
        ("webhook:http://h/a b", "as %XX"), ("webhook:http://h/\r\nX: y", "printable"),
        ("webhook:http://[::1/", "URL"),
    ],
)  # fmt: skip
def test_wrong_targets(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        target_of(text)
