from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from baseline_records import folder_in_memory

from perfcheck.baseline import history
from perfcheck.baseline.history import HistoryStore
from perfcheck.compare.changepoints import change_points
from perfcheck.errors import RecordError, UsageError
from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.system.files import UNFINISHED
from perfcheck.testing import make_record

RTT = "tcp.rtt_us.p50"


def run(number: int, values: Sequence[float] = (1.0, 3.0, 2.0), name: str = "example", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": f"{number:032x}",
        "started_at": f"2024-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}+00:00",
        "environment": {"cpu.model": "Example 9000", "emulators": ["relay"]},
    }
    return make_record({RTT: values, "tcp.mss_bytes": [1448.0] * len(values)}, name=name, **(fields | changes))


def test_each_run_is_one_point_the_median_of_its_valid_trials(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    spoilt = TrialRecord(index=9, metrics={RTT: 1e9}, valid=False, invalid_reason="link")
    second = run(2, (20.0, 40.0))
    store.append(second.model_copy(update={"trials": (*second.trials, spoilt)}))
    store.append(run(1))
    (found,) = store.series(RTT)
    assert found.values == (2.0, 30.0)
    assert found.run_ids == (f"{1:032x}", f"{2:032x}")
    assert found.started_at == ("2024-01-01T00:00:01+00:00", "2024-01-01T00:00:02+00:00")
    assert (found.metric, found.unit, found.scenario, found.emulators) == (RTT, "us", "example", "relay")


def test_the_same_run_twice_is_one_point(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    assert store.append(run(1)) == store.append(run(1))
    assert store.series(RTT)[0].values == (2.0,)


def test_only_like_runs_are_in_one_series(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    store.append(run(1))
    store.append(run(2, environment={"cpu.model": "Other", "emulators": ["relay"]}))
    store.append(run(3, environment={"cpu.model": "Example 9000", "emulators": ["netem"]}))
    moved = run(4).scenario.model_copy(update={"workload": "another"})
    store.append(run(4, scenario=moved))
    pointed = run(5).scenario.model_copy(update={"point": {"congestion": "bbr"}})
    store.append(run(5, scenario=pointed))
    store.append(run(6, name="elsewhere"))
    assert sorted(len(each.values) for each in store.series(RTT)) == [1] * 6
    assert {each.point for each in store.series(RTT)} == {"", "congestion=bbr"}
    assert len(store.series(RTT, "elsewhere")) == 1


def test_a_metric_without_history_has_no_series_and_an_unknown_scenario_is_told(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    assert store.series(RTT) == ()
    store.append(run(1))
    assert store.series("udp.loss_pct") == ()
    with pytest.raises(UsageError, match="no history of scenario 'nowhere'"):
        store.series(RTT, "nowhere")


def test_many_files_are_joined_without_losing_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_FILES", 5)
    store = HistoryStore(tmp_path)
    for number in range(14):
        store.append(run(number, (float(number),)))
        assert len(list(tmp_path.rglob("*.parquet"))) <= 5
    assert store.series(RTT)[0].values == tuple(float(number) for number in range(14))


def test_a_crash_between_joining_and_removing_changes_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HistoryStore(tmp_path)
    for number in range(4):
        store.append(run(number, (1.0 + number, 2.0 + number)))
    before = store.series(RTT)
    monkeypatch.setattr(history, "MOST_FILES", 4)

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            store.append(run(4, (9.0, 9.0)))
    assert len(list(tmp_path.rglob("*.parquet"))) == 6
    found = store.series(RTT)[0]
    assert found.values[:4] == before[0].values
    assert found.values[4:] == (9.0,)


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    path = store.append(run(1))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordError) as caught:
        store.series(RTT)
    assert str(path) in str(caught.value)


def test_a_run_id_that_is_no_file_name_is_kept_all_the_same(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    path = store.append(run(1, run_id="../../it's; DROP"))
    assert path.parent == tmp_path / "example"
    assert store.series(RTT)[0].run_ids == ("../../it's; DROP",)


def test_a_folder_with_a_quote_in_its_name(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "it's")
    store.append(run(1))
    assert store.series(RTT)[0].values == (2.0,)


def test_other_engines_can_read_the_files(tmp_path: Path) -> None:
    import duckdb

    path = HistoryStore(tmp_path).append(run(1))
    assert path.read_bytes()[:4] == b"PAR1"
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT metric, trial, value FROM read_parquet(?)", [str(path)]).fetchall()
    assert sorted(rows) == [
        ("tcp.mss_bytes", 0, 1448.0), ("tcp.mss_bytes", 1, 1448.0), ("tcp.mss_bytes", 2, 1448.0),
        (RTT, 0, 1.0), (RTT, 1, 3.0), (RTT, 2, 2.0),
    ]  # fmt: skip


def test_a_change_is_found_in_what_the_store_gives(tmp_path: Path) -> None:
    import duckdb

    folder = tmp_path / "example"
    folder.mkdir()
    with duckdb.connect() as connection:
        connection.execute("""
            CREATE TABLE rows AS
            SELECT 1::UTINYINT AS schema, (i // 50)::VARCHAR AS run_id,
                   strftime(TIMESTAMP '2024-01-01' + INTERVAL (i // 50) MINUTE, '%Y-%m-%dT%H:%M') AS started_at,
                   'example' AS scenario, '' AS point, 'w' AS workload, 'd' AS digest, 'm' AS machine,
                   'relay' AS emulators, '{}' AS environment, 'PASS' AS verdict, 'metric' || i % 50 AS metric,
                   'us' AS unit, 0::INTEGER AS trial,
                   100 + hash(i) % 1000 / 1000.0 + (i > 30000)::INTEGER AS value
            FROM range(50000) t(i)
        """)
        connection.table("rows").write_parquet(str(folder / "all.parquet"))
    (found,) = HistoryStore(tmp_path).series("metric7")
    assert len(found.values) == 1_000
    assert any(abs(each.index - 600) <= 2 for each in change_points(found.values))


# crashes and writers


def _kill_writers(root: Path, rounds: int) -> None:
    """Fork a writer, kill it in mid-append or mid-join, look at what it left; runs in a process of its own."""
    import duckdb  # noqa: F401 - the forked writers need not load it each

    vars(history)["MOST_FILES"] = 5  # joins are as often hit as appends
    rng = random.Random(7)  # noqa: S311 - which moment is hit needs no secrecy
    saved: set[int] = set()
    for begin in range(0, 20 * rounds, 20):
        hears, told = os.pipe()
        writer = os.fork()
        if not writer:
            for number in range(begin, begin + 20):
                HistoryStore(root).append(run(number))
                os.write(told, number.to_bytes(4))
            os._exit(0)
        os.close(told)
        saved.add(int.from_bytes(os.read(hears, 4)))
        time.sleep(rng.uniform(0, 0.03))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        while more := os.read(hears, 4):
            saved.add(int.from_bytes(more))
        os.close(hears)
    HistoryStore(root).append(run(20 * rounds))
    (found,) = HistoryStore(root).series(RTT)
    assert {f"{number:032x}" for number in saved} <= set(found.run_ids)
    assert set(found.values) == {2.0}
    assert not list(root.rglob(f"{UNFINISHED}*"))


def test_80_killed_writers_lose_and_spoil_nothing() -> None:
    context = multiprocessing.get_context("forkserver")
    with folder_in_memory() as folder:
        process = context.Process(target=_kill_writers, args=(folder, 80))
        process.start()
        process.join(180)
        assert process.exitcode == 0


def _append_many(root: Path, first: int) -> None:
    for number in range(first, first + 5):
        HistoryStore(root).append(run(number))


def test_two_writers_at_once_are_both_kept() -> None:
    with folder_in_memory() as folder:
        _two_writers(folder)


def _two_writers(folder: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    writers = [context.Process(target=_append_many, args=(folder, first)) for first in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    (found,) = HistoryStore(folder).series(RTT)
    assert set(found.run_ids) == {f"{n:032x}" for n in (*range(5), *range(100, 105))}


def test_of_an_error_of_a_file_duckdbs_own_sentence_is_told() -> None:
    wrapped = r'IO Error: Async: {"exception_message":"Could not write file \"/h/x\": No space left","errno":"28"}'
    assert history._said(wrapped) == "Could not write file '/h/x': No space left"
    assert history._said("IO Error: no files\nsecond line") == "IO Error: no files"


def test_a_damaged_file_is_found_where_duckdb_does_not_name_it(tmp_path: Path) -> None:
    root = tmp_path / "a folder"
    store = HistoryStore(root)
    store.append(make_record(run_id="good"))
    damaged = root / "example" / "zz.parquet"
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 1 AS schema, 'x' AS value) TO '{damaged}' (FORMAT parquet)")
    with pytest.raises(RecordError) as caught:
        store.series("app.throughput_bps")
    assert str(caught.value).startswith(f"{damaged}:1:1: cannot be read or written: ")
    assert "remove it to continue with the other runs" in str(caught.value)


@pytest.mark.parametrize(
    ("varied", "most", "told"),
    [
        ("workload", "MOST_SERIES", "more than 3 series of app.throughput_bps"),
        ("run_id", "MOST_RUNS", "more than 3 runs in a series of app.throughput_bps"),
    ],
)
def test_a_history_has_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, varied: str, most: str, told: str
) -> None:
    store = HistoryStore(tmp_path)
    store.append(make_record(run_id="first"))
    file = next(tmp_path.rglob("*.parquet"))
    rows = f"SELECT rows.* REPLACE (rows.{varied} || number AS {varied}) FROM '{file}' rows"  # noqa: S608 - a test's own
    monkeypatch.setattr(history, most, 3)
    for number, name in ((3, "within"), (4, "beyond")):
        other = tmp_path / name / "example"
        other.mkdir(parents=True)
        with duckdb.connect() as database:
            database.execute(f"COPY ({rows}, range({number}) each(number)) TO '{other / 'a.parquet'}' (FORMAT parquet)")
    assert HistoryStore(tmp_path / "within").series("app.throughput_bps")
    with pytest.raises(RecordError, match=told):
        HistoryStore(tmp_path / "beyond").series("app.throughput_bps")
