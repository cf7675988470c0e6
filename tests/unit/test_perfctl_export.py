"""Options of exports: what fits together, what is refused and why, and what perfctl writes by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_intervals import flow_table, interval
from prometheus_programs import complaints

from perfcheck.cli.perfctl import main
from perfcheck.cli.perfctl.export_options import labels_of, listen_of, token_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.errors import UsageError
from perfcheck.export.exporter import Exporter
from perfcheck.export.textfile import Textfile
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.writing import RecordingFile
from perfcheck.model.interval import Accounting, LiveRequest


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("diagnose --output prometheus", "`perfctl diagnose` has no figures of each interval for prometheus"),
        ("latency --output influx", "use console or json, or `perfctl observe --output influx`"),
        ("observe --listen 127.0.0.1:1", "--listen: has no effect without --output prometheus"),
        ("observe --native-histograms", "--native-histograms: has no effect without --output prometheus"),
        ("observe --labels app", "--labels: has no effect without --output prometheus, --output influx"),
        ("observe --output prometheus --max-series 5", "--max-series: has no effect without --labels"),
        ("observe --output prometheus --labels ports", "unknown label 'ports'; known: process, app, cgroup"),
        ("observe --output prometheus --listen 0.0.0.0:9435", "add --listen-anywhere"),
        ("observe --output prometheus --listen [::]:9435", "add --listen-anywhere"),
        ("observe --output prometheus --listen ::1:9435", "write IPv6 addresses in brackets"),
        ("observe --output prometheus --listen 9435", "expected ADDRESS:PORT"),
        ("observe --output prometheus --listen 127.0.0.1:70000", "expected ADDRESS:PORT"),
        ("observe --output prometheus --listen web1:9435", "expected an IP address"),
        ("observe --output prometheus --output-file x", "Prometheus scrapes an endpoint"),
        ("observe --prometheus-textfile x.txt", "expected a name that ends with .prom"),
        ("observe --influx-url http://127.0.0.1/w", "--influx-url: has no effect without --output influx"),
        ("observe --output influx --influx-url http://10.0.0.1/w", "add --influx-plain-http"),
        ("observe --output influx --influx-url ftp://h/w", "expected a URL such as https://host:8086"),
        ("observe --output influx --influx-url https://u:p@h/w", "are not sent"),
        ("observe --output influx --influx-url https://h/w --output-file x", "lines go to --influx-url"),
        ("observe --output influx --influx-token-file x", "has no effect without --influx-url"),
        ("tcp --output prometheus --group-by app", "--group-by: has no effect with --output prometheus"),
        ("tcp --output influx --trend", "--trend: has no effect with --output influx"),
        ("tcp --output prometheus --labels cgroup --from x", "a recording keeps no paths of cgroups"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words.split())
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_what_is_asked_for_is_taken() -> None:
    args, _ = parse(["observe", "--output", "prometheus", "--listen", "[::1]:0", "--labels", "app,process", "--labels",
                     "app", "--max-series", "7", "--native-histograms"])  # fmt: skip
    assert listen_of(args) == ("::1", 0)
    assert labels_of(args) == ("app", "process")
    args, _ = parse(["hist", "--output", "prometheus", "--listen", "0.0.0.0:80", "--listen-anywhere"])
    assert listen_of(args) == ("0.0.0.0", 80)  # noqa: S104 - nothing listens
    assert listen_of(parse(["tcp", "--output", "prometheus"])[0]) == ("127.0.0.1", 9435)


def test_the_token_is_of_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["tcp", "--output", "influx", "--influx-url", "https://h/w"]
    monkeypatch.delenv("PERFCTL_INFLUX_TOKEN", raising=False)
    assert token_of(parse(words)[0]) is None
    monkeypatch.setenv("PERFCTL_INFLUX_TOKEN", "of-the-environment")
    assert token_of(parse(words)[0]) == "of-the-environment"
    file = tmp_path / "token"
    args, _ = parse([*words, "--influx-token-file", str(file)])
    for text, says in (
        (None, "No such file"),
        ("a b\n", "does not hold one token"),
        ("", "does not hold"),
        ("é", "ASCII"),
    ):
        if text is not None:
            file.write_text(text)
        with pytest.raises(UsageError, match=says):
            token_of(args)
    file.write_text("abc==\n")
    assert token_of(args) == "abc=="


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = RecordingFile(tmp_path / "a.rec", header_of(LiveRequest()))
    for number in range(3):
        flows = flow_table(2, bytes_acked=100, srtt_us=2000.0, comm=b"ng inx,")
        file.append(interval(number, flows, metrics={"tcp.min_rtt_us": 900.0}, accounting=Accounting(opened=1)))
    file.close()
    return tmp_path / "a.rec"


@pytest.mark.parametrize("command", ["observe", "tcp", "hist"])
def test_a_recording_as_line_protocol(command: str, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--from", str(recording), "--output", "influx", "--labels", "app"]) == 0
    lines = capsys.readouterr().out.splitlines()
    flows = [line for line in lines if line.startswith("perfctl_flow,")]
    assert len([line for line in flows if r"app=ng\ inx\, " in line]) == 3
    assert sum("min_rtt_seconds=0.0009" in line for line in lines) == 3


@pytest.mark.parametrize("command", ["observe", "tcp", "hist"])
def test_a_text_file_beside_the_console(
    command: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "perfctl.prom"
    assert main([command, "--from", str(recording), "--prometheus-textfile", str(path)]) == 0
    text = path.read_text()
    assert "perfctl_tcp_acked_bytes_total 600\n" in text
    assert "perfctl_up 0\n" in text
    assert complaints(text) == ""
    assert capsys.readouterr().out


def test_a_text_file_that_cannot_be_written_is_told(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gone" / "perfctl.prom"
    words = ["tcp", "--from", str(recording), "--prometheus-textfile", str(path)]
    assert main(words) == 2
    assert "--prometheus-textfile: there is no folder" in capsys.readouterr().err
    file, snapshot = Textfile(path), Exporter().exported()
    for _ in range(3):
        file.write(snapshot)
    path.parent.mkdir()
    file.write(snapshot)
    assert file.news() == (
        f"{path}: No such file or directory; it is tried again at each interval", f"{path}: is written again",
    )  # fmt: skip
    assert file.told() == f"{path}: 3 of 4 times not written"
    assert "perfctl_up 1" in path.read_text()
