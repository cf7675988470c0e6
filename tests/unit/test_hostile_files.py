"""3,000 mutated files: each is read or refused, in time, without a traceback or a raw control character."""

from __future__ import annotations

import copy
import json
import os
import random
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
import yaml
from baseline_records import session
from file_mutations import as_json, as_yaml, mutate_bytes, mutate_value
from scenario_texts import VALID

from perfcheck.baseline import BaselineStore, HistoryStore
from perfcheck.baseline.document import _digest
from perfcheck.cli import main
from perfcheck.compare import judge_records
from perfcheck.diagnose import RuleSet, diagnose, load_rules, read_rules
from perfcheck.diagnose.loading import MAX_FILE_BYTES
from perfcheck.errors import PerfcheckError, RecordError
from perfcheck.lab.links.trace import read_trace
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.record import RunRecord
from perfcheck.model.trace import Trace
from perfcheck.output import read_records
from perfcheck.plugin import _has_scenario_key
from perfcheck.scenario import is_scenario
from perfcheck.system.bounded_read import read_bounded_text
from perfcheck.testing import make_record, make_scenario

ROOT: Final = Path(__file__).parents[2]
LONGEST_S: Final = 5.0
"""Of CPU time, so that a busy machine is no failure."""

SCENARIOS: Final = [VALID.encode(), *(path.read_bytes() for path in sorted((ROOT / "scenarios").glob("*.yaml")))]
RULES: Final = [
    b"""schema: 1
terms:
  - {name: queued, is: tcp.rtt_us.p50 - tcp.min_rtt_us, meaning: what the queue adds}
symptoms:
  - name: slow-start
    symptom: low_throughput
    when: tcp.bdp_use_pct < 80% and not (tcp.retrans_pct > 1% or has(udp.loss_pct))
    weight: 0.6
    evidence: the path is not filled
rules:
  - name: my-loss
    cause: random_loss
    when: >-
      tcp.retrans_pct > max(0.1%, 2 * baseline(tcp.retrans_pct)) and
      abs(queued) < 5ms
    weight: 0.8
    severity: critical
    evidence: packets vanish, and no queue is there
    advice: Look at the cable.
    explains: [low_throughput]
    judged: any_trial
    against:
      - {when: spread(tcp.rtt_us.p50) > 0.5, weight: 0.3, evidence: the round trip varies}
"""
]
TRACES: Final = [b"0\n1\n1\n5\n20\n", b"0s 10mbit 20ms\n1s 5mbit -\n2500ms - 40ms\nrepeat 5s\n", b"# a\n0s 1gbit 0s\n"]
MEASURED: Final[dict[str, Sequence[float]]] = {
    "tcp.rtt_us.p50": [20e3, 21e3, 20.5e3],
    "app.throughput_bps": [95e6, 94e6, 96e6],
}


@contextmanager
def in_time() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < LONGEST_S


def refuse_raw(text: str) -> None:
    """Fail on a character that a terminal obeys or that hides or reorders text."""
    raw = [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not raw, (raw, text[:400])


def tried(read: Callable[[], object]) -> None:
    """Read a file by a function that the plugin or the runner calls; only perfcheck's own errors may come out."""
    with in_time():
        try:
            read()
        except PerfcheckError as error:
            refuse_raw(str(error))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Run a command of perfcheck in this process."""

    def run(*words: str | Path) -> None:
        with in_time():
            status = main([str(word) for word in words])
        told = capsys.readouterr()
        assert status in (0, 1, 2, 3)
        assert "internal error" not in told.out + told.err
        refuse_raw(told.out + told.err)

    return run


def either(seeds: list[bytes], chance: random.Random) -> bytes:
    """Mutate the bytes of a YAML seed, or the values that it stands for."""
    seed = chance.choice(seeds)
    if chance.random() < 0.6:
        return mutate_bytes(seed, chance)
    value = yaml.safe_load(seed)
    mutate_value(value, chance)
    return as_yaml(value, chance)


def test_scenarios(tmp_path: Path, command: Callable[..., None]) -> None:
    chance, path = random.Random(1), tmp_path / "x.yaml"  # noqa: S311 - the same mutations in each run
    for _ in range(400):
        path.write_bytes(either(SCENARIOS, chance))
        with in_time():
            assert is_scenario(path) in (True, False)
            assert _has_scenario_key(path) in (True, False)
        command("list", path)


def test_baselines(tmp_path: Path) -> None:
    chance = random.Random(2)  # noqa: S311
    store, now = BaselineStore(tmp_path), session(9, metrics=MEASURED)
    for number in (1, 2):
        path = store.save(session(number, metrics=MEASURED))
    seed = path.read_bytes()

    def compare() -> object:
        known = store.of(now)
        found = store.load(make_scenario(), {})
        store.load(make_scenario())
        return [judge_records(now, lookup, {}) for lookup in (BaselineLookup(like=known), found) if lookup.found]

    for _ in range(500):
        path.write_bytes(mutate_bytes(seed, chance) if chance.random() < 0.4 else signed(seed, chance))
        tried(compare)


def signed(seed: bytes, chance: random.Random) -> bytes:
    """Mutate a baseline's values and put the check sums right, as somebody who means harm does."""
    data = yaml.safe_load(seed)
    mutate_value(data, chance)
    try:
        names = ("scenario", "point", "workload", "environment", "conditions", "accepted")
        data["check"] = _digest({name: data[name] for name in names})
        for each in data["sessions"]:
            each["check"] = _digest({name: each[name] for name in ("run_id", "started_at", "runs")})
    except (KeyError, TypeError):
        pass
    return as_yaml(data, chance) + b"...\n"


def test_rules(tmp_path: Path) -> None:
    chance, path = random.Random(3), tmp_path / "x.yaml"  # noqa: S311
    run = json.loads((ROOT / "tests/golden/diagnosis.jsonl").read_text(encoding="utf-8").splitlines()[0])

    def judge_run(rules: RuleSet) -> object:
        diagnose(rules, run["trials"][0], run["trials"])
        return diagnose(rules, {})

    for _ in range(400):
        path.write_bytes(either(RULES, chance))
        tried(lambda: judge_run(read_rules(str(path), read_bounded_text(path, MAX_FILE_BYTES))))
    tried(lambda: load_rules([tmp_path]))


def test_traces(tmp_path: Path) -> None:
    chance, path = random.Random(4), tmp_path / "x.trace"  # noqa: S311

    def read() -> None:
        try:
            read_trace(Trace(name=str(path)))
        except ValueError as error:
            refuse_raw(str(error))

    for _ in range(500):
        path.write_bytes(mutate_bytes(chance.choice(TRACES), chance))
        tried(read)


def records() -> list[dict[str, Any]]:
    plain = json.loads(session(1, metrics=MEASURED).to_json())
    rich = json.loads(make_record(MEASURED, name="rich").to_json())
    return [plain, rich]


def test_records(tmp_path: Path, command: Callable[..., None]) -> None:
    chance, good, path = random.Random(5), tmp_path / "good.jsonl", tmp_path / "x.jsonl"  # noqa: S311
    seeds = records()
    good.write_bytes(b"".join(map(as_json, seeds)))
    for turn in range(400):
        if chance.random() < 0.3:
            path.write_bytes(mutate_bytes(good.read_bytes(), chance))
        else:
            mutated = copy.deepcopy(seeds)
            mutate_value(mutated, chance)
            path.write_bytes(b"".join(map(as_json, mutated)))
        tried(lambda: [record.to_json() for record in read_records(path)])
        command("compare", *((good, path) if turn % 2 else (path, good)))


def test_histories(tmp_path: Path, command: Callable[..., None]) -> None:
    chance = random.Random(6)  # noqa: S311
    store = HistoryStore(tmp_path)
    for number in range(1, 4):
        path = store.append(session(number, metrics=MEASURED))
    seed = path.read_bytes()
    main(["history", "tcp.rtt_us.p50", "--history", str(tmp_path)])  # what is imported at the first call takes its time
    for turn in range(120):
        if turn % 2:
            path.write_bytes(mutate_bytes(seed, chance))
        else:
            data = copy.deepcopy(records()[0])
            mutate_value(data, chance)
            try:
                path = store.append(RunRecord.model_validate_json(as_json(data)))
            except (ValueError, PerfcheckError):
                continue
        command("history", "tcp.rtt_us.p50", "--history", tmp_path)
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308, 5e-324])
def test_a_history_with_a_value_that_no_run_measured(value: float, tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    store.append(session(1, metrics=MEASURED))
    path = store.append(session(2, metrics={"tcp.rtt_us.p50": [1.0]}))
    with duckdb.connect(":memory:") as database:
        # A record has no figure that is no number: only a file that somebody else wrote does.
        database.execute("CREATE TABLE rows AS SELECT * REPLACE ($value AS value) FROM read_parquet($file)",
                         {"value": value, "file": str(path)})  # fmt: skip
        database.execute(f"COPY rows TO '{path}' (FORMAT parquet)")
    with pytest.raises(RecordError, match=r"the run 0+2 has .* for tcp\.rtt_us\.p50, which is out of range"):
        store.series("tcp.rtt_us.p50")
    assert main(["history", "tcp.rtt_us.p50", "--history", str(tmp_path)]) == 2


def test_a_fifo_in_a_history_is_not_waited_for(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    path = store.append(session(1, metrics=MEASURED))
    os.mkfifo(path.with_name("other.parquet"))
    assert store.series("tcp.rtt_us.p50")[0].values == (20500.0,)
