"""The scenarios of docs/applications.md, one run of each as it stands there; the path bounds their figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner
from perfcheck.scenario import load

pytestmark = pytest.mark.kernel

PAGE: Final = Path(__file__).parents[2] / "docs" / "applications.md"
BLOCKS: Final = dict(
    re.findall(r"^```yaml\n# my-scenarios/(\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)


def run(runner: Runner, folder: Path, name: str) -> RunRecord:
    file = folder / name
    file.write_text(BLOCKS[name])
    (scenario,) = load(file)
    record = runner.run(scenario.model_copy(update={"repeat": 1}))
    failed = [(line.metric, line.expected, line.actual, line.reason) for line in record.expectations
              if line.verdict is not Verdict.PASS]  # fmt: skip
    assert record.verdict is Verdict.PASS, (record.invalid_reason, failed)
    return record


def test_the_page_has_one_scenario_for_each_of_its_formats() -> None:
    assert {re.search(r"format: (\w+)", text)[1] for text in BLOCKS.values()} == {"csv", "regex", "json"}  # type: ignore[index]


def test_redis_benchmark(runner: Runner, tmp_path: Path) -> None:
    record = run(runner, tmp_path, "redis.yaml")
    p99_us, per_s = (record.metrics[name].value for name in ("app.redis_get_us.p99", "app.redis_gets_per_s"))
    # 20 clients, one request each at a time, and a round trip of 4 ms: no more than 20 in 4 ms.
    assert 4000 <= p99_us <= 20_000
    assert 2000 <= per_s <= 20 / 0.004
    assert record.subjects["cache"].metrics["app.redis_get_us.p99"].value == p99_us


def test_wrk(runner: Runner, tmp_path: Path) -> None:
    record = run(runner, tmp_path, "wrk.yaml")
    p50_us, p99_us, per_s = (
        record.metrics[name].value for name in ("app.web_us.p50", "app.web_us.p99", "app.web_requests_per_s")
    )
    assert 20_000 <= p50_us <= p99_us
    assert per_s <= 4 / 0.020 * 1.02
    # Little's law: four requests are under way all the time.
    assert per_s * p50_us / 1e6 == pytest.approx(4, rel=0.3)


def test_a_program_of_ones_own(runner: Runner, tmp_path: Path) -> None:
    record = run(runner, tmp_path, "program.yaml")
    # A request on a connection of its own takes two round trips of 10 ms.
    assert record.metrics["app.request_us.p50"].value == pytest.approx(20_000, rel=0.25)
    assert record.metrics["app.request_us.max"].value >= record.metrics["app.request_us.p50"].value
