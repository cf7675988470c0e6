"""Command lines of perfctl: wrong ones are one clear line and status 2, right ones are the request that they say."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.cli.perfctl import main
from perfcheck.cli.perfctl.machine import check_files, resolved
from perfcheck.cli.perfctl.options import output_of, request_of
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.registry import COMMANDS, parse, parser_of_all
from perfcheck.errors import UsageError
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.interval import LiveRequest

WATCHING = [name for name, command in COMMANDS.items() if command.watching is not None]

WRONG: tuple[tuple[str, str], ...] = (
    ("", "a command is missing"),
    ("--debug", "a command is missing"),
    ("--verison", "unknown option '--verison'; did you mean '--version'?"),
    ("tcpp", "unknown command 'tcpp'; did you mean 'tcp'?"),
    ("ss", "unknown command 'ss'"),
    ("top", "is not a terminal, which a screen needs; `perfctl tcp` writes to pipes and files"),
    ("tcp --tui", "is not a terminal, which a screen needs; `perfctl tcp` without --tui writes to pipes and files"),
    ("top --output json", "--output: has no effect on a screen; leave it out, or use `perfctl tcp`"),
    ("tcp --tui --trend", "--trend: has no effect on a screen; leave it out, or --tui"),
    ("observe --no-colour", "--no-colour: has no effect without --tui"),
    ("top --group-by cgroup", "--group-by: unknown value 'cgroup'"),
    ("''", "unknown command ''"),
    ("tcp extra", "unexpected word 'extra'"),
    ("tcp --src-i 10.0.0.1", "unknown option '--src-i'; did you mean '--src-ip'?"),
    ("tcp -x", "unknown option '-x'"),
    ("tcp --src-ip", "--src-ip: its value is missing"),
    ("tcp --src-ip ''", "--src-ip: the value is empty"),
    ("tcp --src-ip 10.0.0.256", "--src-ip: expected an IP address or network"),
    ("tcp --src-ip example.com", "host names are not resolved"),
    ("tcp --src-ip 10.0.0.1/8", "write 10.0.0.0/8 or 10.0.0.1"),
    ("tcp --src-ip 10.0.0.0/33", "--src-ip: expected an IP address"),
    ("tcp --src-ip fe80::1%eth0", "add --interface"),
    ("tcp --src-ip 10.0.0.1 --src-ip 10.0.0.2", "--src-ip: given twice"),
    ("tcp --src-ip 10.0.0.1 --dst-ip ::1", "--dst-ip: is IPv6, but --src-ip is IPv4"),
    ("tcp --local-ip ::1 --remote-ip 10.0.0.1", "--remote-ip: is IPv4, but --local-ip is IPv6"),
    ("tcp --remote-ip 10.0.0.1 --flow '[::1]:1->[::1]:2'", "--flow: is IPv6, but --remote-ip is IPv4"),
    ("tcp --src-port 0", "--src-port: expected a port from 1 to 65535"),
    ("tcp --src-port 70000", "--src-port: expected a port from 1 to 65535"),
    ("tcp --dst-port -1", "--dst-port: expected a port from 1 to 65535"),
    ("tcp --lport http", "--lport: expected a port"),
    ("tcp --rport 8100-8000", "write 8000-8100"),
    ("tcp --rport 80-", "--rport: expected a port"),
    ("tcp --rport 80,443", "--rport: expected a port"),
    ("tcp --rport ٨٠", "--rport: expected a port"),
    ("tcp --flow 10.0.0.1", "--flow: expected a flow such as"),
    ("tcp --flow 10.0.0.1:80-", "put the flow in quotes"),
    ("tcp --flow '10.0.0.1->10.0.0.2'", "expected ADDRESS:PORT"),
    ("tcp --flow '::1:80->::1:81'", "write IPv6 addresses in brackets"),
    ("tcp --flow '10.0.0.1:80->[::1]:81'", "both ends of a flow have the same version"),
    ("tcp --flow '10.0.0.1:0->10.0.0.2:81'", "expected a port from 1 to 65535"),
    ("tcp --flow '10.0.0.0/8:1->10.0.0.2:81'", "use --src-ip and --src-port for networks"),
    ("tcp --flow '1.1.1.1:1->1.1.1.2:2->1.1.1.3:3'", "--flow: expected a flow such as"),
    ("tcp --flow '10.0.0.1:80->10.0.0.2:81' --src-ip 10.0.0.1", "leave out --src-ip, or --flow"),
    ("tcp --flow '10.0.0.1:80->10.0.0.2:81' --dst-port 81", "leave out --dst-port, or --flow"),
    ("tcp --protocol sctp", "--protocol: unknown value 'sctp'; known: tcp, udp"),
    ("tcp --protocol TCP", "did you mean 'tcp'?"),
    ("tcp --interface no-such-if0", "--interface: there is no interface 'no-such-if0'"),
    ("tcp --interface ../eth0", "--interface: expected the name of an interface"),
    ("tcp --interface a-name-that-is-too-long", "--interface: expected the name of an interface"),
    ("tcp --netns no-such-namespace", "--netns: there is no network namespace 'no-such-namespace'"),
    ("tcp --netns /no/such/file", "--netns: there is no file '/no/such/file'"),
    ("tcp --netns /proc/self/ns/pid", "is not a network namespace"),
    ("tcp --netns /dev/null", "is not a network namespace"),
    ("tcp --netns 4194303", "--netns: there is no process 4194303"),
    ("tcp --netns /proc/self/ns/net --netns /proc/thread-self/ns/net", "name the same network namespace"),
    ("tcp --pid 0", "--pid: expected a process ID"),
    ("tcp --pid self", "--pid: expected a process ID"),
    ("tcp --pid 4194303", "--pid: there is no process 4194303"),
    ("tcp --comm averyveryverylongname", "process names have at most 15 bytes; write 'averyveryverylo'"),
    ("tcp --comm $'a\\x1b[31mb'", "U+001B"),
    ("tcp --comm $'a\\nb'", "U+000A"),
    ("tcp --cgroup no/such/group", "--cgroup: there is no cgroup"),
    ("tcp --cgroup ../../etc", "without '..'"),
    ("tcp --mode detial", "--mode: unknown value 'detial'; did you mean 'detail'?"),
    ("tcp --layer tpc", "--layer: unknown layer 'tpc'; did you mean 'tcp'?"),
    ("tcp --layer tcp,,ip", "--layer: expected layers such as tcp,qdisc"),
    ("tcp --layer all,tcp", "--layer: 'all' includes every other layer"),
    ("tcp --interval 5", "--interval: expected a duration such as 100ms or 1s"),
    ("tcp --interval 1ms", "--interval: expected from 10ms to 60min"),
    ("tcp --interval -1s", "--interval: its value is missing"),
    ("tcp --interval=-1s", "--interval: expected a duration"),
    ("tcp --interval=--", "--interval: expected a value, got '--'"),
    ("tcp --interval 1e999s", "--interval: expected a duration"),
    ("tcp --interval 2h", "units: ns, us, ms, s, min"),
    ("tcp --duration 0s", "--duration: expected from 1ns"),
    ("tcp --duration 500ms", "--duration: 500ms is shorter than one interval (1s)"),
    ("tcp --duration 1s --interval 2s", "--duration: 1s is shorter than one interval (2s)"),
    ("tcp --output xml", "--output: unknown value 'xml'"),
    ("tcp --output-file /no/such/folder/x", "--output-file: there is no folder '/no/such/folder'; make it first"),
    ("tcp --output-file /tmp", "--output-file: '/tmp' is a folder"),
    ("tcp --from /no/such/recording", "--from: there is no file '/no/such/recording'"),
    ("tcp --from /tmp", "--from: '/tmp' is a folder"),
    ("tcp --from x --output-file x", "--output-file: is the recording of --from"),
    ("tcp --from x --cgroup y", "--cgroup: cannot be used with --from"),
    ("tcp --from x --interface lo", "--interface: cannot be used with --from"),
    ("tcp --from x --netns y", "--from: there is no file 'x'"),
    ("tcp --from x --interval 1s", "--interval: cannot be used with --from"),
    ("tcp --from x --cpu-ceiling 2", "--cpu-ceiling: cannot be used with --from"),
    ("tcp --from x --max-flows 5", "--max-flows: cannot be used with --from"),
    ("tcp --from x --apply", "--apply: needs the live machine"),
    ("tcp --from x --event-mode ebpf", "--event-mode ebpf: needs the live machine"),
    ("tcp --max-flows 0", "--max-flows: expected a number of connections"),
    ("tcp --max-flows 1e6", "--max-flows: expected a number of connections"),
    ("tcp --cpu-ceiling 0", "--cpu-ceiling: expected a percentage above 0"),
    ("tcp --cpu-ceiling 101", "--cpu-ceiling: expected a percentage"),
    ("tcp --cpu-ceiling nan", "--cpu-ceiling: expected a percentage"),
    ("tcp --event-mode bpf", "--event-mode: unknown value 'bpf'; did you mean 'ebpf'?"),
    ("tcp --rwnd-limited-above 10", "no effect without --event-mode ebpf"),
    ("tcp --cwnd-below 10", "no effect without --event-mode ebpf"),
    ("tcp --event-mode ebpf --cwnd-below 0", "--cwnd-below: expected a number of segments"),
    ("tcp --event-mode ebpf --rwnd-limited-above 200", "--rwnd-limited-above: expected a percentage"),
    ("tcp --group-by proces", "did you mean 'process'?"),
    ("tcp --history-duration 5min", "--history-duration: has no effect without --history-file"),
    ("tcp --history-file /no/such/folder/x", "--history-file: there is no folder"),
    ("tcp --history-file x --output-file x", "--history-file: is also --output-file"),
    ("tcp --yes", "--yes: has no effect without --apply"),
    ("tcp --apply=yes", "--apply: takes no value"),
    ("observe --alert-rtt-p99 50", "--alert-rtt-p99: expected a duration such as 50ms"),
    ("observe --alert-retrans-rate 0", "--alert-retrans-rate: expected a percentage"),
    ("observe --alert-drop-rate 5ms", "--alert-drop-rate: expected a percentage"),
    ("observe --alert-output mail", "--alert-output: expected file:PATH, syslog or webhook:URL"),
    ("observe --alert-output http://host/", "for a webhook write webhook:http:"),
    ("observe --alert-output webhook:ftp://host/", "expected a URL such as"),
    ("observe --alert-output webhook:http://host:99999/", "expected a URL such as"),
    ("observe --alert-output file:/no/such/folder/x", "there is no folder"),
    ("observe --alert-output syslog --alert-output syslog", "name the same target"),
    ("observe --group-by process", "unknown option '--group-by'"),
    ("hist --perspective rxtx", "--perspective: unknown value 'rxtx'"),
    ("latency --slowest 5", "--slowest: has no effect without --detail"),
    ("latency --save x", "--save: has no effect without --detail"),
    ("latency --detail --mode summary", "--mode: summary does not follow packets"),
    ("latency --from x --detail", "--from: a recording has no packets"),
    ("latency --join x", "--join"),
    ("latency --join x x", "--join: names the same file twice"),
    ("latency --join x y --pid 1", "--pid: cannot be used with --join"),
    ("latency --join x y --duration 5s", "--duration: cannot be used with --join"),
    ("diagnose --problem slow", "--problem: unknown value 'slow'"),
    ("diagnose --problem high_latency", "did you mean 'high-latency'?"),
    ("diagnose --json --output console", "--json: contradicts --output console"),
    ("diagnose --interval 30s", "--interval: 30s is longer than the 10s that `perfctl diagnose` watches"),
    ("record --from x", "--from: `perfctl record` works on the live machine only"),
    ("record --hindsight 10", "--hindsight: expected a duration such as 5min"),
    ("record --hindsight 1s --interval 2s", "--hindsight: 1s is shorter than one interval"),
    ("record --output json", "--output: a recording has its own format"),
    ("undo", "say what to undo"),
    ("undo --all --list", "--all and --list: contradict each other"),
    ("undo x --all", "ID and --all: contradict each other"),
    ("undo a b", "unexpected word 'b'"),
    ("undo --list --force", "--force: has no effect with --list"),
    ("undo --rport 5", "unknown option '--rport'"),
    ("completion", "the following arguments are required: SHELL"),
    ("completion csh", "SHELL: unknown value 'csh'"),
)  # fmt: skip


def words_of(line: str) -> list[str]:
    """Split as a shell does; $'...' takes escapes."""
    return [word[1:].encode().decode("unicode_escape") if word.startswith("$") else word for word in shlex.split(line)]


def status_of(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else -1


@pytest.mark.parametrize(("line", "says"), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_command_lines_are_one_line_and_status_2(
    line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(words_of(line)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith("\n")
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("perfctl")
    assert "[OPTIONS]" not in shown.err
    assert "Traceback" not in shown.err
    assert shown.err[:-1].isprintable()
    assert says in shown.err


def test_bytes_that_are_no_text_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for word in (os.fsdecode(b"a\xffb"), "a\0b", "a\u202eb"):
        for name in ("--src-ip", "--flow", "--comm", "--cgroup", "--netns", "--from", "--output-file", "--interval"):
            assert status_of(["tcp", name, word]) == 2
            assert capsys.readouterr().err.count("\n") == 1


RIGHT: tuple[tuple[str, LiveRequest], ...] = (
    ("tcp", LiveRequest(layers=("socket", "tcp"))),
    ("hist", LiveRequest(send_side=True)),
    ("diagnose --from x", LiveRequest(layers="all", events=True, cpu_ceiling_pct=5.0)),
    ("diagnose --duration 1min --interval 30s", LiveRequest(
        layers="all", events=True, duration_ns=60 * 10**9, interval_ns=30 * 10**9, cpu_ceiling_pct=5.0)),
    ("observe", LiveRequest(layers=("tcp", "ip"), events=True)),
    ("latency", LiveRequest(duration_ns=5_000_000_000)),
    ("latency --detail", LiveRequest(mode="both", duration_ns=5_000_000_000)),
    ("diagnose", LiveRequest(layers="all", events=True, duration_ns=10_000_000_000, cpu_ceiling_pct=5.0)),
    ("record", LiveRequest(layers="all", events=True)),
    ("tcp --event-mode ebpf --cwnd-below 4", LiveRequest(layers=("socket", "tcp"), events=True)),
    (
        "hist --perspective rx --src-ip 10.0.0.0/8 --dst-port 8000-8100 --protocol tcp",
        LiveRequest(filter=FlowFilter(
            source=End(network=ipaddress.ip_network("10.0.0.0/8")), target=End(ports=(8000, 8100)),
            protocol=Protocol.TCP,
        )),
    ),
    (
        "hist --perspective rx --local-ip ::1 --lport 80 --remote-ip fd00::/8 --rport 1024-65535",
        LiveRequest(filter=FlowFilter(
            local=End(network=ipaddress.ip_network("::1"), ports=(80, 80)),
            remote=End(network=ipaddress.ip_network("fd00::/8"), ports=(1024, 65535)),
        )),
    ),
    (
        "hist --perspective rx --flow '[::1]:40000->[::2]:80'",
        LiveRequest(filter=FlowFilter(
            source=End(network=ipaddress.ip_network("::1"), ports=(40000, 40000)),
            target=End(network=ipaddress.ip_network("::2"), ports=(80, 80)),
        )),
    ),
    (
        "hist --perspective rx --src-ip ::ffff:10.0.0.1",
        LiveRequest(filter=FlowFilter(source=End(network=ipaddress.ip_network("10.0.0.1")))),
    ),
    (
        "hist --perspective rx --pid 1 --comm nginx --cgroup a/b --interface lo --netns x --netns y",
        LiveRequest(filter=FlowFilter(pid=1, comm="nginx", cgroup="a/b", interface="lo"), netns=("x", "y")),
    ),
    (
        "observe --layer qdisc,tcp,qdisc --mode both --interval 100ms --duration 1.5s --max-flows 7 --cpu-ceiling 0.5%",
        LiveRequest(
            layers=("qdisc", "tcp"), mode="both", interval_ns=100_000_000, duration_ns=1_500_000_000, max_flows=7,
            cpu_ceiling_pct=0.5, events=True,
        ),
    ),
    ("hist --perspective rx --layer all --interval=2s --duration=2s", LiveRequest(
        layers="all", interval_ns=2_000_000_000, duration_ns=2_000_000_000)),
)  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), RIGHT, ids=[line for line, _ in RIGHT])
def test_right_command_lines_are_requests(line: str, expected: LiveRequest) -> None:
    args, command = parse(words_of(line))
    assert request_of(args, command) == expected


def test_a_flow_passes_in_either_direction() -> None:
    args, command = parse(["tcp", "--flow", "10.0.0.1:40000->10.0.0.2:443"])
    found = request_of(args, command).filter
    near = FlowKey(protocol=Protocol.TCP, host="", local="10.0.0.2", local_port=443, remote="10.0.0.1",
                   remote_port=40000)  # fmt: skip
    assert found.passes_ends(near)


def test_output_is_as_the_options_say() -> None:
    args, command = parse(words_of("diagnose --json --from a.rec --output-file b"))
    assert output_of(args, command) == OutputChoice(
        prog="perfctl diagnose", format="json", file=Path("b"), recording=Path("a.rec")
    )


def test_what_is_there_is_resolved(tmp_path: Path) -> None:
    args, command = parse(["tcp", "--netns", str(os.getpid()), "--pid", str(os.getpid()), "--interface", "lo"])
    request = resolved(request_of(args, command))
    assert request.netns == (f"/proc/{os.getpid()}/ns/net",)
    args, command = parse(["tcp", "--output-file", str(tmp_path / "x")])
    check_files(args)


def test_a_file_that_is_the_recording_under_another_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"recorded")
    (tmp_path / "b").symlink_to("a")
    args, _ = parse(["tcp", "--from", str(tmp_path / "a"), "--output-file", str(tmp_path / "b")])
    with pytest.raises(UsageError, match="would be overwritten"):
        check_files(args)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_two_examples_that_parse(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert status_of([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert len(COMMANDS[name].examples) == 2
    for example in COMMANDS[name].examples:
        assert example.line in text
        words = shlex.split(example.line.partition(" > ")[0])
        assert words[:2] == ["perfctl", name]
        assert parse(words[1:])[1].name == name


@pytest.mark.parametrize("name", WATCHING)
def test_every_watching_command_has_the_one_set_of_options(name: str) -> None:
    _, parsers = parser_of_all()
    there = {option for action in parsers[name]._actions for option in action.option_strings}
    assert there >= {
        "--src-ip", "--dst-ip", "--src-port", "--dst-port", "--local-ip", "--remote-ip", "--lport", "--rport", "--flow",
        "--protocol", "--interface", "--netns", "--pid", "--comm", "--cgroup", "--mode", "--layer", "--interval",
        "--duration", "--output", "--output-file", "--from", "--max-flows", "--cpu-ceiling",
    }  # fmt: skip


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["--version"]) == 0
    assert capsys.readouterr().out.startswith("perfctl 0.")
    assert status_of(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from perfcheck.cli.perfctl.registry import parser_of_all; parser_of_all()\n"
        "print([name for name in ('numpy', 'rich', 'pydantic', 'pyroute2', 'scipy', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


TAKES_TEXT = [
    (name, option)
    for name, parser in parser_of_all()[1].items()
    for action in parser._actions
    for option in action.option_strings
    if action.nargs is None
]


@given(st.sampled_from(TAKES_TEXT), st.text(max_size=40) | st.text("0123456789.:/->[]%eEsmun,-", max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_as_a_value_is_a_request_or_a_usage_error(option: tuple[str, str], text: str) -> None:
    if status_of([option[0], f"{option[1]}={text}", "--version-of-nothing"]) != 2:
        pytest.fail("an unknown option was taken")
    try:
        args, command = parse([option[0], f"{option[1]}={text}"])
    except SystemExit as ended:
        status = ended.code
    else:
        status = 2
        if command.watching is not None:
            request = request_of(args, command)
            with contextlib.suppress(UsageError):
                check_files(args)
                resolved(request)
    assert status == 2


@given(st.sampled_from(("undo", "completion", "tcp", "")), st.text(max_size=20))
@settings(max_examples=150, deadline=None)
def test_any_text_as_a_word_is_a_usage_error_or_a_value(name: str, text: str) -> None:
    try:
        args, command = parse([name, text] if name else [text])
    except SystemExit as ended:
        assert ended.code in {0, 2} if text in {"-h", "--help", "--version"} else ended.code == 2  # noqa: PT017
        return
    assert command.name == name
    assert text in {getattr(args, "id", None), getattr(args, "shell", None), "--debug"}
