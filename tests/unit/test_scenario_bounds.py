"""What a scenario may ask for at most; each bound is a located error, and stands in the JSON Schema and in the docs."""

from __future__ import annotations

from typing import Any, Final

import jsonschema
import pytest
import yaml
from scenario_texts import VALID, changed

from perfcheck.errors import ScenarioError
from perfcheck.model import bounds
from perfcheck.scenario import json_schema, load_text
from perfcheck.scenario.loader import MAX_PROBLEMS
from perfcheck.scenario.reference import tables

ROUTER: Final = "hosts:\n  client: {}\n  server: {}\n"


def hosts(count: int) -> str:
    return "hosts:\n  client: {}\n  server: {}\n" + "".join(f"  h{number}: {{}}\n" for number in range(count - 2))


def setups(count: int) -> str:
    return "hosts:\n  client: {setup: [" + "ip link, " * count + "]}\n  server: {}\n"


def sysctls(count: int) -> str:
    keys = ", ".join(f"net.ipv4.conf.x{number}.rp_filter: 0" for number in range(count))
    return f"hosts:\n  client: {{sysctl: {{{keys}}}}}\n  server: {{}}\n"


def traffic(count: int) -> str:
    return "  - iperf3: {from: client, to: server, duration: 2s}\n" * count


BEYOND: Final[dict[str, tuple[tuple[str, str], str]]] = {
    "hosts": ((ROUTER, hosts(65)), ":2:1: hosts: expected at most 64 hosts, got 65"),
    "many hosts": ((ROUTER, hosts(4000)), ":2:1: hosts: expected at most 64 hosts, got 4000"),
    "setup": ((ROUTER, setups(257)), ":2:1: hosts: expected at most 256 setup commands in all hosts, got 257"),
    "sysctls": ((ROUTER, sysctls(257)), ":2:1: hosts: expected at most 256 sysctls in all hosts, got 257"),
    "traffic": ((traffic(1), traffic(65)), ":10:1: traffic: expected at most 64 entries, got 65"),
    "command": (("client: {}", f"client: {{setup: ['{'x' * 4097}']}}"),
                ":3:20: hosts.client.setup[0]: expected at most 4096 characters, got"),
    "title": (("hosts:", f"title: {'x' * 501}\nhosts:"), ":2:8: title: expected at most 500 characters, got"),
    "tags": (("hosts:", f"tags: [{'x, ' * 33}]\nhosts:"), ":2:7: tags: expected at most 32 entries"),
    "tag": (("hosts:", f"tags: [{'x' * 65}]\nhosts:"), ":2:8: tags[0]: expected at most 64 characters"),
    "duration": (("duration: 2s", "duration: 3601s"),
                 ":11:50: traffic[0].iperf3.duration: expected at most 3600s, got '3601s'"),
    "start and duration": (("duration: 2s", "duration: 3600s, start: 1s"), "expected traffic that ends within an hour"),
    "warm-up": (("expect:", "warmup: 61min\nexpect:"), ":12:9: warmup: expected at most 3600s, got '61min'"),
    "time-out": (("traffic:\n", "traffic:\n  - command: {host: client, run: a, timeout: 2e9s}\n"),
                 "traffic[0].command.timeout: expected at most 3600s, got '2e9s'"),
    "transfer": (("duration: 2s", "bytes: 1001gb"), "traffic[0].iperf3.bytes: expected at most 1000gb, got '1001gb'"),
    "window": (("duration: 2s", "window: 1gb"), "traffic[0].iperf3.window: expected at most 512mib, got '1gb'"),
    "write": (("duration: 2s", "length: 2mib"), "traffic[0].iperf3.length: expected at most 1mib, got '2mib'"),
    "rate": (("duration: 2s", "rate: 1001gbit"), "traffic[0].iperf3.rate: expected at most 1000gbit, got '1001gbit'"),
    "total": (("duration: 2s}\n", "duration: 3600s}\nrepeat: 25\n"),
              ":12:1: repeat: expected at most 86400s of traffic in all runs together, got 90000s"),
    "CPU": (("client: {}", "client: {cpus: [8192]}"), ":3:19: hosts.client.cpus[0]: expected at most 8191"),
    "sysctl's value": (("client: {}", f"client: {{sysctl: {{net.ipv4.tcp_rmem: '{'1 ' * 300}'}}}}"),
                       "hosts.client.sysctl.net.ipv4.tcp_rmem: expected at most 500 characters"),
    "connections": ((traffic(1), "  - http: {from: client, to: server, connections: 1000}\n" * 5),
                    ":10:1: traffic: expected at most 4000 streams and connections in all, got 5000"),
    "streams": (("duration: 2s", "streams: 129"), "traffic[0].iperf3.streams: expected at most 128, such as 4"),
    "via": (("client: {}", "client: {via: {" + ", ".join(f"h{n}: server" for n in range(65)) + "}}"),
            ":2:1: hosts: expected at most 64 entries of via in all hosts, got 65"),
    "matrix keys": (("expect:", "matrix: {" + ", ".join(f"x{n}: [1]" for n in range(65)) + "}\nexpect:"),
                    ":12:1: matrix: expected at most 64 keys, got 65"),
    "matrix": (("expect:", f"matrix: {{links.0.seed: {list(range(65))}}}\nexpect:"),
               "matrix: expected at most 64 combinations, got 65"),
    "expect": (("expect:", "expect:\n" + "".join(f"  a{n}: '1'\n" for n in range(401))),
               ":12:1: expect: expected at most 400 lines, got 403"),
}  # fmt: skip


@pytest.mark.parametrize("what", BEYOND)
def test_beyond_a_bound_is_a_located_error(what: str) -> None:
    change, expected = BEYOND[what]
    with pytest.raises(ScenarioError) as refused:
        load_text(changed(change), "f")
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        (ROUTER, hosts(64)), (ROUTER, setups(256)), (ROUTER, sysctls(256)), (traffic(1), traffic(64)),
        ("duration: 2s", "duration: 3600s"), ("duration: 2s}\n", "duration: 3600s}\nrepeat: 24\n"),
        ("duration: 2s", "bytes: 1000gb"), ("duration: 2s", "window: 512mib"), ("duration: 2s", "length: 1mib"),
        ("expect:", f"matrix: {{links.0.seed: {list(range(64))}}}\nexpect:"),
    ],
)  # fmt: skip
def test_a_bound_itself_is_allowed(change: tuple[str, str]) -> None:
    assert load_text(changed(change), "f")


def test_the_matrix_counts_in_the_total_time() -> None:
    text = changed(("duration: 2s}\n", "duration: 3600s}\nrepeat: 5\nmatrix: {links.0.seed: [1, 2, 3, 4, 5]}\n"))
    with pytest.raises(ScenarioError, match="86400s of traffic in all runs of 5 combinations together, got 90000s"):
        load_text(text, "f")


def test_no_more_mistakes_than_one_reads() -> None:
    text = VALID + "".join(f"unknown{number}: 1\n" for number in range(300))
    with pytest.raises(ScenarioError) as refused:
        load_text(text, "f")
    assert len(refused.value.problems) == MAX_PROBLEMS + 1
    assert refused.value.problems[-1].message == "and 150 more mistakes"


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (("title", "x" * 500), True), (("title", "x" * 501), False),
        (("tags", ["x"] * 32), True), (("tags", ["x"] * 33), False), (("tags", ["x" * 65]), False),
        (("hosts", {f"h{n}": {} for n in range(65)}), False),
        (("hosts", {"a": {"setup": ["x" * 4097]}, "b": {}}), False),
        (("warmup", " " * 60 + "1s" + " " * 9), False),
    ],
)  # fmt: skip
def test_the_json_schema_has_the_bounds(change: tuple[str, Any], valid: bool) -> None:
    content = yaml.safe_load(VALID) | dict([change])
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(content) is valid


def test_the_docs_have_the_bounds() -> None:
    page = tables()
    for cell in ("mapping of at most 64", "list of at most 128", "duration, at most 3600s", "size, at most 1000gb",
                 f"text of at most {bounds.MAX_COMMAND} characters", "whole number, 1 to 128"):  # fmt: skip
        assert f"| {cell} |" in page
