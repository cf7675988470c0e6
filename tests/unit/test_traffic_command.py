"""The command generator, played with scripted processes: addresses, metrics handed back, failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import TrafficError
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host, TrafficSession
from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic import Command
from perfcheck.traffic.command import handed_back, words

Scripted = Callable[[Sequence[str]], FakeProcess]
SERVER = {"host": "server", "run": "daemon --for {client} -p 8080", "port": 8080}


def plays(stdout: bytes = b"", stderr: bytes = b"", exit_status: int | None = 0) -> Callable[..., FakeProcess]:
    return lambda argv: FakeProcess(argv, stdout=stdout, stderr=stderr, exit_status=exit_status)


class Lab:
    """Two scripted hosts; the server listens once its process is started, unless it is said to listen never."""

    def __init__(self, client: Scripted, server: Scripted | None = None, *, listens: bool | None = None) -> None:
        self.client = FakeHost(name="client", addresses=("198.18.3.1",), processes=client)
        self.server = FakeHost(
            name="server",
            addresses=("198.18.3.2",),
            processes=server or plays(exit_status=None),
            listens=lambda port, protocol: bool(self.server.commands) if listens is None else listens,
        )

    def prepare(self, run: str = "tool --to {server}", **keys: Any) -> TrafficSession:
        spec = TrafficSpec.model_validate({"command": {"host": "client", "run": run, **keys}})
        return Command().prepare(spec, {"client": self.client, "server": self.server}, 0)


def test_command_gives_its_duration_and_what_it_hands_back() -> None:
    said = b'working\n{"perfcheck": {"app.throughput_bps": 5e6, "app.errors": 0}}\n'
    lab = Lab(plays(said))
    session = lab.prepare()
    session.start()
    report = session.wait()
    session.stop()
    assert lab.client.commands == [("tool", "--to", "198.18.3.2")]
    duration_us = (report.end_ns - report.start_ns) / 1e3
    assert report.metrics == {"app.throughput_bps": 5e6, "app.errors": 0.0, "app.duration_us": duration_us}
    assert (report.generator, report.flows, report.raw["stdout"]) == ("command", (), said.decode())


def test_command_waits_for_its_server_and_ends_it() -> None:
    lab = Lab(plays())
    session = lab.prepare(server=SERVER)
    assert lab.server.commands == [("daemon", "--for", "198.18.3.1", "-p", "8080")]
    session.start()
    assert session.wait().served == (("198.18.3.2", 8080),)
    assert lab.server.started[0].signals == []
    session.stop()
    assert lab.server.started[0].signals == [15]


def test_command_whose_servers_port_is_taken_is_an_error() -> None:
    lab = Lab(plays(), listens=True)
    with pytest.raises(TrafficError, match="something listens on tcp port 8080 of host server already"):
        lab.prepare(server=SERVER)
    assert lab.server.commands == []


def test_command_whose_server_never_listens_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.traffic.command.READY_S", 0.01)
    lab = Lab(plays(), listens=False)
    with pytest.raises(
        TrafficError, match=r"`daemon .* 8080` in host server does not listen on tcp port 8080 after 0.01"
    ):
        lab.prepare(server=SERVER)
    assert lab.server.started[0].signals == [15]


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (plays(b"", b"a\nb\nc\nd\ne\nno route\n", 7), r"failed with status 7: b \| c \| d \| e \| no route$"),
        (plays(b"only stdout\n", b"", 1), "failed with status 1: only stdout"),
        (plays(exit_status=-11), "failed with signal 11"),
    ],
)
def test_command_that_fails_is_told_with_its_last_words(process: Callable[..., FakeProcess], message: str) -> None:
    session = Lab(process).prepare()
    session.start()
    with pytest.raises(TrafficError, match=message):
        session.wait()
    session.stop()


def test_command_that_hangs_is_given_up() -> None:
    lab = Lab(plays(exit_status=None), plays(b"", b"stuck in accept\n", None))
    session = lab.prepare(timeout="10ms", server=SERVER)
    session.start()
    with pytest.raises(
        TrafficError, match=r"did not end within 0.01 s; its server said: stuck in accept\. Raise its timeout"
    ):
        session.wait()
    session.stop()
    assert lab.client.started[0].signals == [15]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"perfcheck": {"app.throughput_bp": 1}}', "is not a metric: did you mean 'app.throughput_bps'"),
        ('{"perfcheck": {"zzz": 1}}', "is not a metric: `perfcheck metrics` lists them"),
        ('{"perfcheck": {"app.errors": true}}', "app.errors = True: expected a finite number"),
        ('{"perfcheck": {"app.errors": "1"}}', "expected a finite number"),
        ('{"perfcheck": {"app.errors": NaN}}', "expected a finite number"),
        (f'{{"perfcheck": {{"app.errors": 1{"0" * 400}}}}}', "expected a finite number"),
        ('{"perfcheck": {"app.throughput_bps": -1}}', "= -1: expected a finite number, 0 or more"),
        ('{"perfcheck": {"udp.loss_pct": 100.5}}', "= 100.5: expected a number from 0 to 100"),
        ('{"perfcheck": [1]}', r"must map metrics to numbers, got \[1\]"),
        ('{"perfcheck": {"app.errors": 1}', "is not JSON"),
    ],
)
def test_metrics_that_cannot_be_taken_are_told(line: str, message: str) -> None:
    with pytest.raises(TrafficError, match=message):
        handed_back(f"before\n{line}\n", "`tool` in host client")


@pytest.mark.parametrize(
    "stdout", ["", "done\n", '{"other": 1}\n', "{not for us}", '{"perfcheck": {"app.errors": 1}}\nlater line\n', "[1]"]
)
def test_output_that_is_not_meant_for_us_is_left_alone(stdout: str) -> None:
    assert handed_back(stdout, "`tool`") == {}


@given(st.text(max_size=300) | st.text(max_size=100).map(lambda text: f'{{"perfcheck": {text}}}'))
def test_any_output_gives_metrics_or_a_traffic_error(stdout: str) -> None:
    try:
        metrics = handed_back(stdout, "`tool`")
    except TrafficError:
        return
    assert all(isinstance(value, float) for value in metrics.values())


@given(st.dictionaries(st.sampled_from(["app.errors", "app.throughput_bps"]), st.floats(0, 1e12)))
def test_metrics_survive_the_way(metrics: dict[str, float]) -> None:
    assert handed_back(f"x\n{json.dumps({'perfcheck': metrics})}\n\n", "`tool`") == metrics


def test_addresses_replace_only_the_labs_hosts() -> None:
    towards = FakeHost(name="server", addresses=("198.18.9.9",), towards={"client": "198.18.3.2"})
    hosts: dict[str, Host] = {"client": FakeHost(name="client", addresses=("198.18.3.1",)), "server": towards}
    split = words("""curl 'http://{server}:80/a b' -H {} {client} awk {print} {"x":1}""", "client", hosts)
    assert split == ("curl", "http://198.18.3.2:80/a b", "-H", "{}", "198.18.3.1", "awk", "{print}", "{x:1}")
    with pytest.raises(TrafficError, match=r"cannot split the command .* into words: No closing quotation"):
        words("echo 'open", "client", hosts)
    with pytest.raises(TrafficError, match="has no words"):
        words("  ", "client", hosts)


def test_traffic_of_another_generator_is_refused_and_nothing_is_needed() -> None:
    Command().check()
    spec = TrafficSpec.model_validate({"iperf3": {"from": "client", "to": "server"}})
    with pytest.raises(TrafficError, match="command was given traffic of iperf3"):
        Command().prepare(spec, {}, 0)
