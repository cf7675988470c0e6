"""The plugin's options, on the command line and in pytest's configuration file; the command line wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from perfcheck.plugin.ini import Option, from_file, mistake, parsed
from perfcheck.plugin.output_paths import possible_report, require_own_files

if TYPE_CHECKING:
    from perfcheck.runner.keeping import Keep

Mode = Literal["summary", "detail", "both"]
Time = Literal["virtual", "real"]
MODES: Final[tuple[Mode, ...]] = ("summary", "detail", "both")
TIMES: Final[tuple[Time, ...]] = ("virtual", "real")


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
    baseline_ref: str | None = None
    commands: bool = True
    trace_outside: bool = False
    events_path: Path | None = None
    textfile_path: Path | None = None
    series_path: Path | None = None
    report_path: Path | None = None
    budget_pct: float | None = None
    debug: bool = False
    kernel: str | None = None
    time: Time = "virtual"

    @property
    def compares(self) -> bool:
        """Whether anything is compared, with a baseline or side by side."""
        return self.baseline or self.ab is not None


def _values(name: str) -> Callable[[str], Any]:
    """Return the parser of that name which perfcheck's own command line has; it is imported when it is needed."""

    def parse(text: str) -> Any:
        from perfcheck.runner import option_values

        return getattr(option_values, name)(text)

    return parse


def _for_argparse(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the parser as argparse wants it."""

    def convert(text: str) -> Any:
        from perfcheck.runner.option_values import for_argparse

        return for_argparse(parse)(text)

    return convert


_count, _percent, _ref, _path, _kernel_name = (
    _values(name) for name in ("count", "percent", "ref", "path_text", "kernel_name")
)

BASELINE: Final = Option(flags=("--baseline",), kind="flag", help="compare with the stored baselines")
SAVE: Final = Option(flags=("--baseline-save",), kind="flag", help="measure, and save as baselines")
UPDATE: Final = Option(
    flags=("--baseline-update",), kind="flag", help="measure, and save as baselines that replace all earlier sessions"
)
ACCEPT: Final = Option(
    flags=("--baseline-accept",), kind="lines", metavar="METRIC",
    help="measure and record a known change of METRIC, so that it is not reported again; needs --reason",
)  # fmt: skip
REASON: Final = Option(
    flags=("--baseline-reason", "--reason"), metavar="TEXT",
    help="why the changes of --baseline-accept are intended",
)  # fmt: skip
AB: Final = Option(
    flags=("--ab",), kind="pair", metavar=("A", "B"),
    help="compare two settings in interleaved pairs, e.g. --ab file 'congestion bbr'; like `perfcheck ab`",
)  # fmt: skip
HISTORY: Final = Option(
    flags=("--history",), metavar="DIR", parse=_for_argparse(_path), help="append each run to the history in DIR"
)
NAME: Final = Option(flags=("--baseline-name",), metavar="NAME", help="name of a set of baselines")
FOLDER: Final = Option(
    flags=("--baseline-dir",), metavar="DIR", parse=_for_argparse(_path),
    help="folder of the baselines (default: baselines/ in the root directory)",
)  # fmt: skip
REF: Final = Option(
    flags=("--baseline-ref",), metavar="REF", parse=_for_argparse(_ref),
    help="compare with the baselines of this git commit or branch, not with those of the working tree",
)  # fmt: skip
TRACE_OUTSIDE: Final = Option(
    flags=("--trace-outside",), kind="flag", help="allow trace files outside the scenario file's folder"
)
NO_COMMANDS: Final = Option(
    flags=("--no-commands",), kind="flag",
    help="refuse scenario files that run commands (setup:, command:); see docs/security.md",
)  # fmt: skip
STRICT: Final = Option(
    flags=("--baseline-strict",), kind="flag",
    help="fail what has no baseline and what this machine cannot measure, instead of skipping it",
)  # fmt: skip
JSON: Final = Option(
    flags=("--perfcheck-json",), metavar="PATH", parse=_for_argparse(_path),
    help="append run records to PATH, one JSON object per line",
)  # fmt: skip
TEXTFILE: Final = Option(
    flags=("--perfcheck-prometheus-textfile",), metavar="FILE.prom", parse=_for_argparse(_path),
    help="replace this file for node_exporter with each run",
)  # fmt: skip
REPEAT: Final = Option(
    flags=("--perfcheck-repeat",), kind="count", metavar="N", parse=_for_argparse(_count), help="runs of each scenario"
)
MODE: Final = Option(
    flags=("--perfcheck-mode",),
    choices=MODES,
    help="what is measured: summary (figures), detail (the paths of packets) or both",
)
BUDGET: Final = Option(
    flags=("--perfcheck-budget",), metavar="PCT", parse=_for_argparse(_percent),
    help="share of one CPU that measuring may use, also while traffic runs, e.g. 10%%",
)  # fmt: skip
EVENTS: Final = Option(
    flags=("--perfcheck-events",), metavar="PATH", parse=_for_argparse(_path),
    help="write events (drops, retransmissions, resets...) to PATH, one JSON object per line",
)  # fmt: skip
SERIES: Final = Option(
    flags=("--perfcheck-series",), metavar="PATH", parse=_for_argparse(_path),
    help="write time series of all runs to PATH, a Parquet file",
)  # fmt: skip
REPORT: Final = Option(
    flags=("--perfcheck-report",), metavar="PATH", parse=_for_argparse(_path),
    help="write a report of the session to PATH, which ends with .html, .md or .pdf",
)  # fmt: skip
RULES: Final = Option(
    flags=("--perfcheck-rules",), kind="folders", metavar="DIR", parse=_for_argparse(_path),
    help="folder with more diagnosis rules; can be repeated",
)  # fmt: skip
WHY: Final = Option(
    flags=("--perfcheck-why",), kind="flag", help="print what the diagnosis rests on: each question with what it read"
)
TOLERANCE: Final = Option(
    flags=("--tolerance",), kind="lines", metavar="METRIC=PCT",
    help="margin of a metric: smaller changes do not count, e.g. tcp.rtt_us.p99=5%%; can be repeated",
)  # fmt: skip
KERNEL: Final = Option(
    flags=("--kernel",), metavar="NAME", parse=_for_argparse(_kernel_name),
    help="measure in guests that boot this kernel; `perfcheck kernel list` lists them",
)  # fmt: skip
TIME: Final = Option(
    flags=("--perfcheck-time",),
    choices=TIMES,
    help="time in the guests of --kernel: counted instructions (virtual, the default), or KVM (real)",
)
DEBUG: Final = Option(
    flags=("--perfcheck-debug",), kind="flag",
    help="show the traceback of an internal error; so does PERFCHECK_DEBUG=1 in the environment",
)  # fmt: skip

OPTIONS: Final = (
    BASELINE, SAVE, UPDATE, ACCEPT, REASON, AB, HISTORY, NAME, FOLDER, STRICT, JSON, REPEAT, MODE, BUDGET, EVENTS,
    SERIES, REPORT, RULES, WHY, TOLERANCE, REF, NO_COMMANDS, TRACE_OUTSIDE, KERNEL, TIME, DEBUG, TEXTFILE,
)  # fmt: skip

_OWN_SETTINGS: Final = (BASELINE, SAVE, UPDATE, ACCEPT, HISTORY)
"""What is for runs with the file's own settings, which a measurement side by side does not make."""


def add_options(parser: pytest.Parser) -> None:
    """Declare them all."""
    group = parser.getgroup("perfcheck", "network performance scenarios")
    for option in OPTIONS:
        option.declare(group, parser)


def check(config: pytest.Config) -> None:
    """Raise pytest.UsageError for wrong options; costs next to nothing where none is given."""
    chosen = _Chosen(config)
    if any(chosen.of(option) is not None for option in OPTIONS):
        read(config)


class _Chosen:
    """The values of the command line and of the file, each None where there is none."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def line(self, option: Option) -> Any:
        """Return the command line's value."""
        value = self.config.getoption(option.key)
        return None if value is False or value == [] else value

    def file(self, option: Option) -> Any:
        """Return the file's value; a flag that is off there is as if it were not there."""
        value = from_file(self.config, option)
        return None if value is False else value

    def of(self, option: Option) -> Any:
        """Return the command line's value, else the file's."""
        value = self.line(option)
        return self.file(option) if value is None else value

    def source(self, option: Option) -> str:
        """Name the option as the user gave it."""
        return option.flags[0] if self.line(option) is not None else option.key

    def path(self, option: Option) -> Path | None:
        """Return a path: relative to the working directory on the command line, to the root directory in the file."""
        given: str | None = self.line(option)
        if given:
            return self.config.invocation_params.dir / given
        known: str | None = self.file(option)
        return self.config.rootpath / known if known else None

    def typed(self, option: Option) -> bool:
        """Whether the user typed it, as against `addopts`, which stand for all sessions."""
        words = self.config.invocation_params.args
        return any(str(word).partition("=")[0] in option.flags for word in words)


def read(config: pytest.Config) -> PluginOptions:
    """Return the options of this session; pytest.UsageError says which is wrong."""
    chosen = _Chosen(config)
    sides = _sides(chosen)
    ref = _value(chosen, REF, _ref) if sides is None else None
    baseline = sides is None and (ref is not None or bool(chosen.of(BASELINE)))
    keep = _keep(chosen) if sides is None else None
    if keep is not None and ref is not None:
        raise pytest.UsageError(f"{chosen.source(REF)}: baselines of a commit cannot be changed; save without it")
    found = PluginOptions(
        baseline=baseline,
        keep=keep,
        ab=sides,
        strict=bool(chosen.of(STRICT)),
        baseline_ref=ref,
        commands=not chosen.of(NO_COMMANDS),
        trace_outside=bool(chosen.of(TRACE_OUTSIDE)),
        baseline_name=chosen.of(NAME),
        baseline_dir=chosen.path(FOLDER) or config.rootpath / "baselines",
        repeat=_value(chosen, REPEAT, _count),
        mode=_mode(chosen),
        tolerances=_tolerances(chosen),
        rule_dirs=_rule_dirs(chosen),
        json_path=chosen.path(JSON),
        # Runs of changed settings are no part of a history.
        history_dir=chosen.path(HISTORY) if sides is None else None,
        textfile_path=_own(config, chosen.path(TEXTFILE)),
        events_path=_own(config, chosen.path(EVENTS)),
        series_path=_own(config, chosen.path(SERIES)),
        report_path=possible_report(chosen.path(REPORT), chosen.source(REPORT)),
        budget_pct=_value(chosen, BUDGET, _percent),
        debug=debugging(config),
        kernel=_value(chosen, KERNEL, _kernel_name),
        time=_time(chosen),
    )
    _refuse_idle(chosen, found)
    require_own_files({each.flags[0]: chosen.path(each) for each in (JSON, TEXTFILE, EVENTS, SERIES, REPORT)})
    return found


def _own(config: pytest.Config, path: Path | None) -> Path | None:
    """Return a file of this process alone: pytest-xdist's workers cannot write one file together."""
    worker = getattr(config, "workerinput", {}).get("workerid")
    return path.with_name(f"{path.stem}.{worker}{path.suffix}") if path is not None and worker else path


def debugging(config: pytest.Config) -> bool:
    """Whether tracebacks of perfcheck's own are shown."""
    return bool(_Chosen(config).of(DEBUG)) or os.environ.get("PERFCHECK_DEBUG", "0") not in ("", "0")


def telling_why(config: pytest.Config) -> bool:
    """Whether the summary says what each diagnosis rests on."""
    return bool(_Chosen(config).of(WHY))


def _value(chosen: _Chosen, option: Option, parse: Callable[[str], Any]) -> Any:
    given, known = chosen.line(option), chosen.file(option)
    if given is not None or known is None:
        return given
    return parsed(chosen.config, option, parse, str(known))


def _mode(chosen: _Chosen) -> Mode | None:
    given: Mode | None = chosen.of(MODE)
    if given not in (*MODES, None):
        raise mistake(chosen.config, MODE, f"expected {', '.join(MODES)}, got {given!r}")
    return given


def _time(chosen: _Chosen) -> Time:
    given: Time = chosen.of(TIME) or "virtual"
    if given not in TIMES:
        raise mistake(chosen.config, TIME, f"expected {' or '.join(TIMES)}, got {given!r}")
    return given


def _rule_dirs(chosen: _Chosen) -> tuple[Path, ...]:
    config = chosen.config
    below = config.inipath.parent if config.inipath is not None else config.rootpath
    known: Sequence[str] = chosen.file(RULES) or ()
    given: Sequence[str] = chosen.line(RULES) or ()
    return (*(below / each for each in known), *(config.invocation_params.dir / each for each in given))


def _tolerances(chosen: _Chosen) -> tuple[tuple[str, float], ...]:
    """Parse `METRIC=PCT`; the last one for a metric counts, and the command line's come last."""
    known, given = chosen.file(TOLERANCE) or (), chosen.line(TOLERANCE) or ()
    if not (known or given):
        return ()
    from perfcheck.errors import UsageError
    from perfcheck.runner.option_values import tolerance

    found = dict(parsed(chosen.config, TOLERANCE, tolerance, text) for text in known)
    try:
        return tuple((found | dict(tolerance(text) for text in given)).items())
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _keep(chosen: _Chosen) -> Keep | None:
    """Read what becomes of the runs as baselines; imports nothing where nothing does.

    Where the command line says how, the file's way of doing it does not count.
    """
    of = chosen.line if any(chosen.line(each) for each in (SAVE, UPDATE, ACCEPT)) else chosen.of
    update, accept, reason = bool(of(UPDATE)), of(ACCEPT) or [], chosen.of(REASON)
    if chosen.line(REASON) is not None and not accept:
        raise pytest.UsageError("--reason: needs --baseline-accept METRIC")
    if not (of(SAVE) or update or accept):
        return None
    if accept and update:
        raise pytest.UsageError(
            "--baseline-accept: --baseline-update leaves no earlier session, so there is no change to accept; use "
            "only one of the two"
        )
    if accept and not (reason or "").strip():
        raise pytest.UsageError(f"--baseline-accept {accept[0]}: say why the change is intended, with --reason 'TEXT'")
    from perfcheck.model.catalogue import CATALOGUE
    from perfcheck.model.own_metric import may_be_own
    from perfcheck.runner.keeping import Keep
    from perfcheck.scenario.suggest import hint

    for metric in accept:
        if metric not in CATALOGUE and not may_be_own(metric):
            raise pytest.UsageError(f"{chosen.source(ACCEPT)}: unknown metric {metric!r}{hint(metric, CATALOGUE)}")
    return Keep(update=update, accept=tuple(dict.fromkeys(accept)), reason=(reason or "").strip())


def _sides(chosen: _Chosen) -> tuple[str, str] | None:
    """Read the two sides; what they are must parse, and nothing may be asked that needs the file's own settings.

    Where one of the two stands on the command line and the other in the file, the command line wins.
    """
    typed = chosen.line(AB)
    given = chosen.of(AB)
    if given is None:
        return None
    others = [option for option in _OWN_SETTINGS if chosen.line(option) is not None]
    if others and typed is None:
        return None
    if not others and typed is None:
        others = [option for option in _OWN_SETTINGS if option is not HISTORY and chosen.file(option) is not None]
    for option in others:
        raise pytest.UsageError(
            f"{chosen.source(AB)}: cannot be combined with {chosen.source(option)}, which is for runs with the "
            f"file's own "
            "settings; run pytest twice"
        )
    from perfcheck.errors import UsageError
    from perfcheck.runner.sides import Side

    if len(given) != 2:
        raise mistake(chosen.config, AB, f"expected two settings, A and B, got {len(given)}")
    try:
        first, second = (Side.parse(text).text for text in given)
    except UsageError as error:
        if typed is None:
            raise mistake(chosen.config, AB, str(error)) from None
        raise pytest.UsageError(f"--ab: {error}") from None
    return first, second


def _refuse_idle(chosen: _Chosen, found: PluginOptions) -> None:
    """Refuse options that the user typed and that would do nothing."""
    if found.kernel is None and chosen.typed(TIME):
        raise pytest.UsageError(f"{TIME.flags[0]}: has no effect without --kernel")
    if found.compares or found.keep is not None:
        return
    for option in (FOLDER, NAME, TOLERANCE):
        if chosen.typed(option):
            raise pytest.UsageError(f"{option.flags[0]}: has no effect without --baseline or --baseline-save")
