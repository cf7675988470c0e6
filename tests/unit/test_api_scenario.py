"""Scenarios built in Python are those of a file with the same keys, and are told of the same mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scenario_texts import VALID, documents

from perfcheck import Scenario, ScenarioError, UsageError, mbit, ms, pct
from perfcheck.scenario import load_text
from perfcheck.scenario.values import read_values

HOSTS: dict[str, dict[str, object]] = {"client": {}, "server": {}}
LINK: dict[str, object] = {"between": ["client", "server"], "delay": "10ms", "rate": "100mbit", "queue": "1bdp"}
TRAFFIC: list[dict[str, object]] = [{"iperf3": {"from": "client", "to": "server", "duration": "2s"}}]


def built(**changes: Any) -> Scenario:
    known = {"name": "example", "hosts": HOSTS, "links": [LINK], "traffic": TRAFFIC}
    return Scenario(**cast("Any", known | changes))


def mistakes(make: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        make()
    return str(caught.value).splitlines()


@given(documents())
def test_values_are_read_as_the_same_text_is(drawn: tuple[str, dict[str, Any]]) -> None:
    text, _ = drawn
    values = yaml.safe_load(text)
    values["name"] = values.pop("scenario")
    (expected,) = load_text(text, "x.yaml")
    assert read_values(values, {}, "x.yaml", here=False) == expected


@given(delay=st.integers(0, 500), rate=st.integers(1, 1000))
def test_a_quantity_is_its_notation(delay: int, rate: int) -> None:
    one = built(links=[LINK | {"delay": ms(delay), "rate": mbit(rate)}])
    other = built(links=[LINK | {"delay": f"{delay}ms", "rate": f"{rate}mbit"}])
    assert one == other
    assert hash(one) == hash(other)
    assert one.spec.workload_digest == other.spec.workload_digest


@given(delay=st.integers(1, 5000))
def test_a_change_makes_the_point_that_a_matrix_makes(delay: int) -> None:
    (expected,) = load_text(VALID + f"matrix: {{'links[0].delay': [{delay}ms]}}\n", "x.yaml")
    made = built(expect={"tcp.rtt_us.p50": "<= 60ms", "diagnosis": "none"}).with_({"links[0].delay": ms(delay)})
    assert made.label == expected.label == f"example[delay={delay}ms]"
    assert made.spec.model_copy(update={"file": ""}) == expected.model_copy(update={"file": ""})


def test_mistakes_are_located_by_their_key() -> None:
    assert mistakes(lambda: built(links=[LINK | {"delay": 5, "jitter": "1"}], repeat=0)) == [
        "Scenario(...): links[0].delay: expected a duration such as 10ms, got '5'",
        "Scenario(...): links[0].jitter: expected a duration such as 10ms, got '1'",
        "Scenario(...): repeat: expected at least 1, such as 3, got '0'",
    ]
    assert mistakes(lambda: built(name="Two words"))[0].startswith("Scenario(...): name: expected a name")
    assert mistakes(lambda: built(links=[LINK | {"dealy": "5ms"}]))[0].startswith(
        "Scenario(...): links[0].dealy: unknown key; did you mean 'delay'?"
    )
    assert mistakes(lambda: built(reference=object()))[0].endswith("got an object of type object")
    assert mistakes(lambda: built(expect={"tcp.rtt_us.p9": "<= 60ms"}))[0].endswith("did you mean 'tcp.rtt_us.p99'?")


@pytest.mark.parametrize("value", [object(), float("nan"), {1: 2}, b"5ms", 10**20])
def test_what_no_file_could_hold_is_told(value: object) -> None:
    (message,) = mistakes(lambda: built(links=[LINK | {"delay": value}]))
    assert message.startswith("Scenario(...): links[0].delay: expected a text")


def test_values_that_hold_themselves_end() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "nested deeper than" in mistakes(lambda: read_values({"name": "a", "tags": endless}, {}, "here"))[0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("links[0].delay", 5, "links[0].delay: expected a duration such as 10ms, got '5'"),
        ("links[3].delay", "5ms", "links[3].delay: there is no links[3]; the file has 1"),
        ("links[0].dely", "5ms", "links[0].dely: unknown key 'dely'; did you mean 'delay'?"),
        ("clint.congestion", "bbr", "clint.congestion: only hosts, links and traffic can vary, "),
    ],
)
def test_mistakes_in_changes_are_located_by_the_users_key(key: str, value: object, message: str) -> None:
    (told,) = mistakes(lambda: built().with_({key: value}))
    assert told.startswith(f"Scenario(...): {message}")


def test_a_matrix_is_refused() -> None:
    (told,) = mistakes(lambda: built().with_(matrix={"links[0].delay": ["5ms"]}))
    assert told.startswith("Scenario(...): matrix: a scenario in Python has no matrix")


def test_a_scenario_does_not_change_with_the_lists_it_was_made_of() -> None:
    link = dict(LINK)
    made = built(links=[link])
    link["delay"] = "99ms"
    assert made.with_(repeat=4).spec.links[0].delay_ns == 10_000_000
    assert made.with_(tolerance={"tcp.rtt_us.p50": pct(7)}).spec.tolerance_pct == {"tcp.rtt_us.p50": 7}


def test_files_are_loaded_selected_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(VALID + "matrix: {client.congestion: [cubic, reno], 'links[0].mtu': [1400]}\n")
    with pytest.raises(UsageError, match=r"has 2 scenarios: example\[congestion=cubic,mtu=1400\], "):
        Scenario.load(path)
    with pytest.raises(UsageError, match="no scenario's label contains 'vegas'; known: "):
        Scenario.load(path, select="vegas")
    chosen = Scenario.load(path, select="reno")
    assert chosen.is_file
    assert chosen.spec.file == str(path)
    moved = chosen.with_({"client.congestion": "bbr"})
    assert moved.label == "example[congestion=bbr,mtu=1400]"
    assert not moved.is_file
    (told,) = mistakes(lambda: chosen.with_({"links[0].delay": "5"}))
    assert told == f"{path} with_(...): links[0].delay: expected a duration such as 10ms, got '5'"
