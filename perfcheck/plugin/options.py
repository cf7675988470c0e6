"""The plugin's options, on the command line and in the ini file; the command line wins."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

if TYPE_CHECKING:
    from perfcheck.runner.keeping import Keep

Mode = Literal["summary", "detail", "both"]
MODES: Final[tuple[Mode, ...]] = ("summary", "detail", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOptions:
    """What the user chose for this pytest session; paths are absolute."""

    baseline: bool
    keep: Keep | None
    ab: tuple[str, str] | None
    strict: bool
    baseline_name: str | None
    baseline_dir: Path
    repeat: int | None
    mode: Mode | None
    tolerances: tuple[tuple[str, float], ...]
    rule_dirs: tuple[Path, ...]
    json_path: Path | None
    history_dir: Path | None
    events_path: Path | None = None
    budget_pct: float | None = None

    @property
    def compares(self) -> bool:
        """Whether anything is compared, with a baseline or side by side."""
        return self.baseline or self.ab is not None


def add_options(parser: pytest.Parser) -> None:
    """Declare them; `--baseline` takes no value, so that it never swallows the word after it."""
    group = parser.getgroup("perfcheck", "network performance scenarios")
    group.addoption(
        "--baseline", action="store_true", dest="perfcheck_baseline", help="compare with the stored baselines"
    )
    group.addoption("--baseline-save", action="store_true", dest="perfcheck_save", help="measure and write baselines")
    group.addoption(
        "--baseline-update", action="store_true", dest="perfcheck_update",
        help="measure and write baselines in place of all earlier sessions",
    )  # fmt: skip
    group.addoption(
        "--baseline-accept", action="append", default=[], dest="perfcheck_accept", metavar="METRIC",
        help="measure and record a known change of METRIC, so that it is not reported again; needs --reason",
    )  # fmt: skip
    group.addoption(
        "--baseline-reason", "--reason", dest="perfcheck_reason", metavar="TEXT",
        help="why the changes of --baseline-accept are as they should be",
    )  # fmt: skip
    group.addoption(
        "--ab", nargs=2, dest="perfcheck_ab", metavar=("A", "B"),
        help="compare two settings in interleaved pairs, e.g. --ab file 'congestion bbr'; as `perfcheck ab`",
    )  # fmt: skip
    group.addoption("--history", dest="perfcheck_history", metavar="DIR", help="append each run to the history in DIR")
    group.addoption("--baseline-name", dest="perfcheck_baseline_name", metavar="NAME", help="a named set of baselines")
    group.addoption(
        "--baseline-dir", dest="perfcheck_baseline_dir", metavar="DIR",
        help="where baselines are stored (default: baselines/ in the root directory)",
    )  # fmt: skip
    group.addoption(
        "--baseline-strict", action="store_true", dest="perfcheck_strict",
        help="fail what has no baseline and what this machine cannot measure, instead of skipping it",
    )  # fmt: skip
    group.addoption(
        "--perfcheck-json", dest="perfcheck_json", metavar="PATH", help="append one run record (JSON) a line to PATH"
    )
    group.addoption(
        "--perfcheck-repeat", type=_count, dest="perfcheck_repeat", metavar="N", help="runs of each scenario"
    )
    group.addoption("--perfcheck-mode", choices=MODES, dest="perfcheck_mode", help="mode of the measurement core")
    group.addoption(
        "--perfcheck-budget", type=_percent, dest="perfcheck_budget", metavar="PCT",
        help="share of one CPU that measuring may take, whatever the traffic, e.g. 10%%",
    )  # fmt: skip
    group.addoption(
        "--perfcheck-events", dest="perfcheck_events", metavar="PATH",
        help="write the events of detail mode, one JSON a line",
    )  # fmt: skip
    group.addoption(
        "--perfcheck-rules", action="append", default=[], dest="perfcheck_rules", metavar="DIR",
        help="a folder of further diagnosis rules; may be given several times",
    )  # fmt: skip
    group.addoption(
        "--tolerance", action="append", default=[], dest="perfcheck_tolerance", metavar="METRIC=PCT",
        help="what counts as a change of a metric, e.g. tcp.rtt_us.p99=5%%; may be given several times",
    )  # fmt: skip
    parser.addini("perfcheck_baseline_dir", "where baselines are stored, relative to the root directory")
    parser.addini("perfcheck_baseline_name", "a named set of baselines")
    parser.addini("perfcheck_baseline_strict", "as --baseline-strict", type="bool", default=False)
    parser.addini("perfcheck_history", "as --history, relative to the root directory")
    parser.addini("perfcheck_repeat", "runs of each scenario")
    parser.addini("perfcheck_mode", "mode of the measurement core: summary, detail or both")
    parser.addini("perfcheck_rules", "folders of further diagnosis rules", type="paths", default=[])
    parser.addini("perfcheck_tolerance", "METRIC=PCT, one a line", type="linelist", default=[])


def check(config: pytest.Config) -> None:
    """Raise pytest.UsageError for wrong options; costs nothing where none is given."""
    given = ("perfcheck_tolerance", "perfcheck_update", "perfcheck_accept", "perfcheck_reason", "perfcheck_ab")
    if any(config.getoption(name) is not None and config.getoption(name) not in ([], False) for name in given) or any(
        config.getini(name) for name in ("perfcheck_tolerance", "perfcheck_repeat", "perfcheck_mode")
    ):
        read(config)


def read(config: pytest.Config) -> PluginOptions:
    """Give the options of this session; pytest.UsageError says which is wrong."""
    here = config.invocation_params.dir
    given_dir = config.getoption("perfcheck_baseline_dir")
    mode = config.getoption("perfcheck_mode") or config.getini("perfcheck_mode") or None
    if mode not in (*MODES, None):
        raise pytest.UsageError(f"perfcheck_mode: expected {', '.join(MODES)}, got {mode!r}")
    json_path = config.getoption("perfcheck_json")
    return PluginOptions(
        baseline=config.getoption("perfcheck_baseline"),
        keep=_keep(config),
        ab=_sides(config),
        strict=config.getoption("perfcheck_strict") or config.getini("perfcheck_baseline_strict"),
        baseline_name=config.getoption("perfcheck_baseline_name") or config.getini("perfcheck_baseline_name") or None,
        baseline_dir=here / given_dir
        if given_dir
        else config.rootpath / (config.getini("perfcheck_baseline_dir") or "baselines"),
        repeat=config.getoption("perfcheck_repeat") or _ini_repeat(config.getini("perfcheck_repeat")),
        mode=mode,
        tolerances=_tolerances([*config.getini("perfcheck_tolerance"), *config.getoption("perfcheck_tolerance")]),
        rule_dirs=(
            *config.getini("perfcheck_rules"),
            *(here / given for given in config.getoption("perfcheck_rules")),
        ),
        json_path=here / json_path if json_path else None,
        history_dir=_history_dir(config),
        events_path=here / given_events if (given_events := config.getoption("perfcheck_events")) else None,
        budget_pct=config.getoption("perfcheck_budget"),
    )


def _ini_repeat(text: str) -> int | None:
    try:
        return _count(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"perfcheck_repeat: {error}") from None


def _parsed(parse: str, text: str) -> Any:
    """Parse as the command line of perfcheck does; imports nothing where no such option is given."""
    from perfcheck.cli import values
    from perfcheck.errors import UsageError

    try:
        return getattr(values, parse)(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    return int(_parsed("count", text))


def _percent(text: str) -> float:
    return float(_parsed("percent", text))


def _tolerances(texts: list[str]) -> tuple[tuple[str, float], ...]:
    """Parse `METRIC=PCT`; the last one for a metric counts, and the command line's come last."""
    if not texts:
        return ()
    from perfcheck.cli.tolerance import tolerance
    from perfcheck.errors import UsageError

    try:
        return tuple(dict(tolerance(text) for text in texts).items())
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _keep(config: pytest.Config) -> Keep | None:
    """Read what becomes of the runs as baselines; imports nothing where nothing does."""
    save, update = config.getoption("perfcheck_save"), config.getoption("perfcheck_update")
    accept, reason = config.getoption("perfcheck_accept"), (config.getoption("perfcheck_reason") or "").strip()
    if config.getoption("perfcheck_reason") is not None and not accept:
        raise pytest.UsageError("--reason: it belongs to --baseline-accept METRIC, which is not given")
    if not (save or update or accept):
        return None
    if accept and update:
        raise pytest.UsageError(
            "--baseline-accept: --baseline-update leaves no earlier session, so there is no change to accept; use one"
        )
    if accept and not reason:
        raise pytest.UsageError(
            f"--baseline-accept {accept[0]}: say why the change is as it should be, with --reason 'TEXT'"
        )
    from perfcheck.model.catalogue import CATALOGUE
    from perfcheck.runner.keeping import Keep
    from perfcheck.scenario.suggest import hint

    for metric in accept:
        if metric not in CATALOGUE:
            raise pytest.UsageError(f"--baseline-accept: unknown metric {metric!r}{hint(metric, CATALOGUE)}")
    return Keep(update=update, accept=tuple(dict.fromkeys(accept)), reason=reason)


def _sides(config: pytest.Config) -> tuple[str, str] | None:
    """Read the two sides; what they are must parse, and nothing may be asked that needs the file's own settings."""
    given = config.getoption("perfcheck_ab")
    if given is None:
        return None
    others = {
        "--baseline": "perfcheck_baseline", "--baseline-save": "perfcheck_save",
        "--baseline-update": "perfcheck_update",
        "--baseline-accept": "perfcheck_accept", "--history": "perfcheck_history",
    }  # fmt: skip
    for option, name in others.items():
        if config.getoption(name):
            raise pytest.UsageError(
                f"--ab: it cannot go with {option}, which is for runs with the file's own settings; run pytest twice"
            )
    from perfcheck.errors import UsageError
    from perfcheck.runner.sides import Side

    try:
        first, second = (Side.parse(text).text for text in given)
    except UsageError as error:
        raise pytest.UsageError(f"--ab: {error}") from None
    return first, second


def _history_dir(config: pytest.Config) -> Path | None:
    """Give the history's folder; runs of changed settings (--ab) are no part of a history."""
    if config.getoption("perfcheck_ab") is not None:
        return None
    given: str | None = config.getoption("perfcheck_history")
    if given:
        return config.invocation_params.dir / given
    known: str = config.getini("perfcheck_history")
    return config.rootpath / known if known else None
