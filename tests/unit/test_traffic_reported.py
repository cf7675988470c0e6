"""An application's own figures, read from its standard output: formats, units, and what makes a trial not count."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import TrafficError
from perfcheck.model.own_metric import ReportSpec
from perfcheck.model.printable import unprintable
from perfcheck.model.scenario import TrafficSpec
from perfcheck.system.json_bounds import in_bounds
from perfcheck.testing import FakeHost, FakeProcess
from perfcheck.traffic import Command
from perfcheck.traffic.reported import figures

REDIS = '"test","rps","avg_latency_ms","p99_latency_ms"\n"SET","1000.50","0.9","1.5"\n"GET","2000.00","0.4","0.759"\n'
WRK = """\
Running 2s test @ http://198.18.0.2:8080/
  2 threads and 10 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    20.31ms    1.53ms  52.68ms   98.04%
  Latency Distribution
     50%   20.10ms
     99%    1.52s
  984 requests in 2.00s, 839.29KB read
Requests/sec:    491.52
"""


def report(form: str, **metrics: dict[str, Any]) -> ReportSpec:
    named = {f"app.{name.replace('__', '.')}": {"better": "lower", **metric} for name, metric in metrics.items()}
    return ReportSpec.model_validate({"format": form, "metrics": named})


def test_json_by_dotted_path_and_by_pointer() -> None:
    spec = report("json", get_us__p99={"at": "latency.p99", "unit": "ms"}, miss_pct={"at": "/miss.rate", "unit": "pct"})
    assert figures(spec, '{"latency": {"p99": 1.5}, "miss.rate": 3}') == {"app.get_us.p99": 1500.0, "app.miss_pct": 3.0}


def test_a_json_list_is_reached_by_index_or_taken_as_several_values() -> None:
    second = report("json", a_count={"at": "runs.1.n", "unit": "count"})
    assert figures(second, '{"runs": [{"n": 1}, {"n": 7}]}') == {"app.a_count": 7.0}
    every = report("json", a_count={"at": "n", "unit": "count", "take": "sum"})
    assert figures(every, '{"n": [1, 2, 4]}') == {"app.a_count": 7.0}


@pytest.mark.parametrize(
    ("take", "expected"), [("last", 4.0), ("first", 2.0), ("mean", 4.0), ("min", 2.0), ("max", 6.0), ("sum", 12.0)]
)
def test_of_several_lines_one_figure_is_made(take: str, expected: float) -> None:
    spec = report("jsonl", rps_per_s={"at": "rps", "unit": "per_s", "take": take})
    assert figures(spec, '{"rps": 2}\n{"rps": 6}\n\n{"event": "end"}\n{"rps": 4.0}\n') == {"app.rps_per_s": expected}


def test_csv_by_column_and_row() -> None:
    spec = report(
        "csv", get_us__p99={"at": "p99_latency_ms", "row": "GET", "unit": "ms"},
        best_per_s={"at": "rps", "unit": "per_s", "take": "max"},
    )  # fmt: skip
    assert figures(spec, REDIS) == {"app.get_us.p99": pytest.approx(759.0), "app.best_per_s": 2000.0}


def test_text_may_carry_its_own_unit() -> None:
    spec = report(
        "regex",
        wrk_us__p50={"at": r"^\s+50%\s+(\S+)$", "unit": "us"}, wrk_us__p99={"at": r"99%\s+(\S+)", "unit": "us"},
        wrk_per_s={"at": r"^Requests/sec:\s+(?P<value>[0-9.]+)", "unit": "per_s"},
        read_bytes={"at": r", (\S+) read$", "unit": "bytes"},
    )  # fmt: skip
    assert figures(spec, WRK) == {
        "app.wrk_us.p50": pytest.approx(20_100.0), "app.wrk_us.p99": pytest.approx(1_520_000.0),
        "app.wrk_per_s": 491.52, "app.read_bytes": pytest.approx(839_290.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "metric", "stdout", "expected"),
    [
        ("json", {"at": "a.b", "unit": "us"}, '{"a": 1}', "app.x_us: nothing at 'a.b'; its standard output is: {"),
        ("json", {"at": "a", "unit": "us"}, '{"a": NaN}', "expected a number, got NaN"),
        ("json", {"at": "a", "unit": "us"}, '{"a": "12"}x', "is not JSON: Extra data"),
        ("json", {"at": "a", "unit": "us"}, '{"a": true}', "expected a number of 0 or more at 'a', got True"),
        ("json", {"at": "a", "unit": "us"}, '{"a": -1}', "expected a number of 0 or more at 'a', got -1"),
        ("json", {"at": "a", "unit": "us"}, '{"a": 1e999}', "expected a number between"),
        ("json", {"at": "a", "unit": "us"}, '{"a": 1, "a": 2}', "duplicate key"),
        ("json", {"at": "a", "unit": "us"}, "[" * 100_000, "nested too deep"),
        ("json", {"at": "a", "unit": "us"}, "", "its standard output is empty"),
        ("jsonl", {"at": "a", "unit": "us"}, '{"a": 1}\nready\n', "line 2 is not JSON"),
        ("csv", {"at": "p99", "unit": "us"}, "test,p50\nGET,1\n", "no column 'p99'; there is test, p50"),
        ("csv", {"at": "p50", "row": "SET", "unit": "us"}, "test,p50\nGET,1\n", "app.x_us: nothing at 'p50'"),
        ("csv", {"at": "p50", "unit": "us"}, "test,p50\nGET,nan\n", "got 'nan'"),
        ("csv", {"at": "p50", "unit": "us"}, "test,p50\nGET,5kb\n", "got '5kb'"),
        ("csv", {"at": "p50", "unit": "us"}, "", "expected a table"),
        ("regex", {"at": "p50 (.*)", "unit": "us"}, "p99 7", "nothing at"),
        ("regex", {"at": "p50 (.*)", "unit": "us"}, "p50 \x1b[31m\n::error::7", r"got '\x1b[31m'"),
    ],
)  # fmt: skip
def test_what_is_no_figure_is_told_with_the_output(form: str, metric: Any, stdout: str, expected: str) -> None:
    with pytest.raises(TrafficError) as caught:
        figures(report(form, x_us=metric), stdout)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert unprintable(str(caught.value)) is None


def test_a_share_cannot_exceed_its_whole() -> None:
    with pytest.raises(TrafficError, match="expected a number from 0 to 100, got 101"):
        figures(report("json", x_pct={"at": "a", "unit": "pct"}), '{"a": 101}')


def test_an_expression_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfcheck.traffic.reported.MATCHING_S", 0.5)
    spec = report("regex", x_us={"at": "^(a+)+$", "unit": "us"})
    with pytest.raises(TrafficError, match=r"search with the report's regular expressions took longer than 0\.5 s"):
        figures(spec, "a" * 60 + "!")


@given(
    st.sampled_from(["json", "jsonl", "csv"]), st.text() | st.dictionaries(st.just("a"), st.floats()).map(json.dumps)
)
def test_any_output_gives_a_figure_that_can_be_kept_or_a_short_error(form: str, stdout: str) -> None:
    told, value = "", 0.0
    try:
        (value,) = figures(report(form, x_us={"at": "a", "unit": "ms"}), stdout).values()
    except TrafficError as error:
        told = str(error)
    assert len(told) < 1000
    assert unprintable(told) is None
    assert math.isfinite(value)
    assert value >= 0
    assert in_bounds(value)


@given(st.lists(st.floats(0, 1e12, allow_subnormal=False).filter(in_bounds), min_size=1, max_size=20))
def test_what_is_made_of_several_values_lies_among_them(values: list[float]) -> None:
    lines = "".join(f"{json.dumps({'v': value})}\n" for value in values)

    def taken(take: str) -> float:
        return figures(report("jsonl", v_count={"at": "v", "unit": "count", "take": take}), lines)["app.v_count"]

    assert taken("min") <= taken("mean") * (1 + 1e-12) <= taken("max") * (1 + 1e-9)
    assert taken("sum") == pytest.approx(sum(values))
    assert (taken("first"), taken("last")) == (values[0], values[-1])


def _run(stdout: bytes, run: str = "bench") -> Any:
    host = FakeHost(
        name="client", addresses=("198.18.3.1",), processes=lambda argv: FakeProcess(argv, stdout=stdout, exit_status=0)
    )
    metrics = {"app.x_us.p99": {"at": "p99", "unit": "ms", "better": "lower"}}
    entry = {"host": "client", "run": run, "report": {"format": "json", "metrics": metrics}}
    session = Command().prepare(TrafficSpec.model_validate({"command": entry}), {"client": host}, 0)
    session.start()
    try:
        return session.wait()
    finally:
        session.stop()


def test_a_command_reports_its_own_figures_beside_perfchecks() -> None:
    said = _run(b'{"p99": 2}\n')
    assert said.metrics["app.x_us.p99"] == 2000.0
    assert said.metrics["app.duration_us"] > 0
    assert said.invalid_reason is None


def test_a_figure_that_is_missing_makes_the_trial_not_count() -> None:
    said = _run('{"p50": 2, "note": "\u202e"}\n'.encode(), "bench --fast")
    assert "app.x_us.p99" not in said.metrics
    named = "`bench --fast` in host client did not report its own figures: app.x_us.p99: nothing at 'p99'"
    assert said.invalid_reason.startswith(f"{named}; its standard output is: ")
    assert unprintable(said.invalid_reason) is None


def test_output_that_is_not_kept_as_a_whole_is_not_read() -> None:
    said = _run(b" " * (5 << 20) + b'{"p99": 2}\n')
    assert said.invalid_reason.endswith("wrote more than 2 MiB: its report is not read, as its beginning is not kept")
