"""Time series as a file, read by another engine's eyes, and drawn."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.cli import main
from perfcheck.errors import OutputError, RecordError, UsageError
from perfcheck.model.record import SeriesRecord
from perfcheck.model.series import Curve
from perfcheck.output.chart import Axis, Strip, axis_lines, chart, columns_for, marks
from perfcheck.output.series import SeriesFile, SeriesReader
from perfcheck.testing import make_record

SECOND = 10**9


def curve(subject: str | None, metric: str, values: list[float]) -> Curve:
    t_ns = np.arange(1, len(values) + 1, dtype=np.int64) * (SECOND // 10)
    return Curve(subject=subject, metric=metric, t_ns=t_ns, values=np.array(values, dtype=float))


def written(path: Path) -> Path:
    file = SeriesFile(path)
    file.open()
    rtts = [20_000.0] * 20 + [400_000.0] * 20
    file.write(
        [curve("bulk", "tcp.rtt_us.p50", rtts), curve("rpc", "tcp.rtt_us.p50", rtts[::-1]),
         curve(None, "nic.rx_softirq_pct", [3.0]), curve("client>server", "qdisc.link_drops", [0.0] * 30 + [2.0])],
        run_id="ab12", trial=0,
    )  # fmt: skip
    file.write([curve("bulk", "tcp.cwnd_segs", [10.0, 11.0])], run_id="ab12", trial=1)
    file.close()
    return path


def test_the_file_is_one_long_table(tmp_path: Path) -> None:
    path = written(tmp_path / "new/series.parquet")
    table = duckdb.read_parquet(str(path))
    assert table.filter("trial = 1").fetchall() == [
        ("ab12", 1, 10**8, "bulk", "tcp.cwnd_segs", 10.0),
        ("ab12", 1, 2 * 10**8, "bulk", "tcp.cwnd_segs", 11.0),
    ]
    assert dict(zip(table.columns, map(str, table.types), strict=True)) == {
        "run": "VARCHAR", "trial": "INTEGER", "t_ns": "BIGINT", "subject": "VARCHAR", "metric": "VARCHAR",
        "value": "DOUBLE",
    }  # fmt: skip
    assert table.filter("subject IS NULL").project("value").fetchall() == [(3.0,)]
    assert [one.name for one in path.parent.iterdir()] == ["series.parquet"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=300), st.integers(1, 60))
def test_what_is_drawn_adds_up(values: list[float], columns: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = SeriesFile(Path(folder) / "s.parquet")
        file.write([curve("bulk", "tcp.retrans_segs", values)], run_id="r", trial=0)
        file.close()
        reader = SeriesReader(file.path)
        (drawn,) = reader.drawn("r", 0, ["tcp.retrans_segs"], span_ns=reader.span_ns("r", 0), columns=columns)
    assert np.nansum(drawn.total) == pytest.approx(sum(values), rel=1e-9, abs=1e-6)
    assert np.nanmax(drawn.high) == max(values)
    assert np.nanmin(drawn.low) == min(values)


def test_a_file_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write the series: .*name another file"):
        SeriesFile(tmp_path).open()
    folder = tmp_path / "gone"
    file = SeriesFile(folder / "s.parquet")
    file.write([curve("bulk", "tcp.cwnd_segs", [1.0])], run_id="r", trial=0)
    folder.rmdir()
    with pytest.raises(OutputError, match="cannot write the series"):
        file.close()
    file.close()
    (tmp_path / "no.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RecordError, match="expected a Parquet file of time series"):
        SeriesReader(tmp_path / "no.parquet").kinds()


def test_nothing_measured_leaves_an_empty_table(tmp_path: Path) -> None:
    file = SeriesFile(tmp_path / "s.parquet")
    file.open()
    file.close()
    assert SeriesReader(file.path).kinds() == ()


@pytest.mark.parametrize("width", [80, 120])
def test_charts_fit_the_terminal(width: int) -> None:
    columns = columns_for(width)
    t = np.linspace(0, 6, 2 * columns)
    values = np.where(t < 3, 20_000.0, 400_000.0)
    strip = Strip(subject="a-very-long-subject-name", low=values, high=values, mean=values)
    axis = Axis(begin_ns=0, end_ns=6 * SECOND, phases=[("before", SECOND), ("outage", 3 * SECOND)])
    flat = Strip(subject="rpc", low=np.zeros(2 * columns), high=np.zeros(2 * columns), mean=np.zeros(2 * columns))
    lines = [
        *chart("tcp.rtt_us.p50", "us", [strip, flat], axis, columns), marks("bulk", "RTO", values > 20_000),
        *axis_lines(axis, columns),
    ]  # fmt: skip
    texts = [line.plain for line in lines]
    assert max(map(len, texts)) <= width
    assert "400 ms" in texts[1]
    assert any("outage" in text for text in texts)
    assert any("4 s" in text for text in texts)
    assert any(text.startswith("rpc") and text.endswith("always 0") for text in texts)
    # The step is in the middle of the strip: low on the left, high on the right.
    top = texts[1]
    assert not top[28 : 28 + columns // 2 - 2].strip("┤┊ ")
    assert top[28 + columns // 2 + 2 : 28 + columns - 1].strip()


def test_show_draws_a_record_and_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "series.parquet")
    record = make_record().model_copy(
        update={"run_id": "ab12", "series": SeriesRecord(file="elsewhere/series.parquet", interval_ms=100)}
    )
    records = tmp_path / "runs.jsonl"
    records.write_text(record.to_json() + "\n")
    assert main(["show", str(records), "tcp.rtt_us"]) == 0
    told = capsys.readouterr().out
    assert record.scenario.name in told
    assert "tcp.rtt_us.p50" in told
    assert "▲" in told
    assert main(["show", str(path), "tcp.rtt_us.p50@rpc"]) == 0
    alone = capsys.readouterr().out
    assert "bulk" not in alone
    assert "rpc" in alone
    assert main(["show", str(path), "--trial", "2"]) == 0
    assert "tcp.cwnd_segs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tcp.rtt_us.p55"], "did you mean 'tcp.rtt_us.p50'"),
        (["tcp.rtt_us.p50@bluk"], "did you mean 'bulk'"),
        (["qdisc.link_drops@bulk"], "qdisc.link_drops is of client>server"),
        (["--trial", "3"], "has trials 1, 2, not 3"),
        (["--run", "cd"], "no run of"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(written(tmp_path / "s.parquet")), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_record_without_series_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "runs.jsonl"
    records.write_text(make_record().to_json() + "\n")
    assert main(["show", str(records)]) == 2
    assert "--series PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "said"), [("", "s.parquet, is not there\n"), ("elsewhere/", "is not there, nor is ")]
)
def test_each_place_where_series_are_looked_for_is_named_once(
    folder: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lost = SeriesRecord(file=f"{folder}s.parquet", interval_ms=100)
    Path("runs.jsonl").write_text(make_record().model_copy(update={"series": lost}).to_json() + "\n")
    assert main(["show", "runs.jsonl"]) == 2
    assert said in capsys.readouterr().err
