"""The words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from perfcheck import __version__
from perfcheck.cli import commands
from perfcheck.cli.calibration import calibrate
from perfcheck.cli.history import history
from perfcheck.cli.tolerance import tolerance
from perfcheck.model.printable import printable_lines
from perfcheck.model.units import parse_percent
from perfcheck.runner.sides import FORMS, Side


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; argparse itself ends with status 2 on wrong usage."""
    parser = Parser(
        prog="perfcheck",
        description="Performance regression and assertion harness for Linux networking.",
        epilog="exit status: 0 all passed, 1 a failure or regression, 2 bad usage or a bad file, 3 could not measure",
    )
    parser.add_argument("--version", action="version", version=f"perfcheck {__version__}")
    parser.set_defaults(debug=False, judges=False)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    run = subparsers.add_parser("run", help="measure scenarios without pytest")
    run.add_argument("files", nargs="+", type=Path, metavar="FILE", help="scenario files, or folders of them")
    run.add_argument("--select", metavar="TEXT", help="only scenarios whose label contains this")
    run.add_argument("--json", type=Path, metavar="PATH", help="append one run record a line ('-': standard output)")
    run.add_argument("--junit", type=Path, metavar="PATH", help="write a JUnit report")
    run.add_argument("--repeat", type=_count, metavar="N", help="runs of each scenario (default: the file's)")
    run.add_argument("--mode", choices=("summary", "detail", "both"), help="mode of the measurement core")
    run.add_argument("--events", type=Path, metavar="PATH", help="write the events of detail mode, one JSON a line")
    run.add_argument(
        "--budget",
        type=_percent,
        metavar="PCT",
        help="share of one CPU that measuring may take, whatever the traffic, e.g. 10%%",
    )
    run.add_argument("--baseline", action="store_true", help="compare with the stored baselines")
    run.add_argument(
        "--baseline-dir",
        type=Path,
        default=Path("baselines"),
        metavar="DIR",
        help="where they lie (default: baselines)",
    )
    run.add_argument("--baseline-name", metavar="NAME", help="a named set of baselines")
    _add_tolerance(run)
    run.add_argument("--history", type=Path, metavar="DIR", help="append each run to the history in DIR")
    run.add_argument("--rules", action="append", default=[], type=Path, metavar="DIR", help="more diagnosis rules")
    run.set_defaults(command=commands.run, judges=True)

    compare = subparsers.add_parser("compare", help="verdicts of two stored run records: B against A")
    compare.add_argument("baseline", type=Path, metavar="A.json", help="records as `perfcheck run --json` writes them")
    compare.add_argument("current", type=Path, metavar="B.json", help="the records that are judged")
    _add_tolerance(compare)
    compare.add_argument("--junit", type=Path, metavar="PATH", help="write a JUnit report")
    compare.set_defaults(command=commands.compare, judges=True)

    pairs = subparsers.add_parser(
        "ab", help="two settings side by side, in interleaved pairs",
        description="Measures A and B in interleaved pairs on this machine until each metric is settled. "
        f"A side is one of: {'; '.join(FORMS.values())}.",
    )  # fmt: skip
    pairs.add_argument("file", type=Path, metavar="FILE", help="a scenario file")
    pairs.add_argument("--a", required=True, type=Side.parse, metavar="SIDE", help="the setting as it is")
    pairs.add_argument("--b", required=True, type=Side.parse, metavar="SIDE", help="the setting that is judged")
    pairs.add_argument("--select", metavar="TEXT", help="only scenarios whose label contains this")
    pairs.add_argument("--json", type=Path, metavar="PATH", help="append both records, A before B")
    _add_tolerance(pairs)
    pairs.add_argument("--junit", type=Path, metavar="PATH", help="write a JUnit report")
    pairs.set_defaults(command=commands.side_by_side, judges=True)

    _add_calibrate(subparsers)
    _add_history(subparsers)

    _add_inspecting(subparsers)
    return parser.parse_args(list(argv))


class Parser(argparse.ArgumentParser):
    """A parser of one command's words: `--debug` is everywhere, and errors show arguments as printable text."""

    def __init__(self, **options: Any) -> None:
        """Take argparse's options; the parsers of commands are made by it, too."""
        super().__init__(**options)
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS,
            help="show the traceback of what goes wrong inside perfcheck",
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Print usage and message; a file's name that a shell expanded may hold anything."""
        super().error(printable_lines(message))


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 1000, got {text!r}")
    return int(text)


def _percent(text: str) -> float:
    try:
        return parse_percent(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sessions(text: str) -> int:
    number = _count(text)
    if number < 2:
        raise argparse.ArgumentTypeError("noise between sessions needs two of them at least")
    return number


def _add_tolerance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance", action="append", default=[], type=tolerance, metavar="METRIC=PCT",
        help="what counts as a change of a metric, e.g. tcp.rtt_us.p99=5%%",
    )  # fmt: skip


def _add_calibrate(subparsers: argparse._SubParsersAction[Parser]) -> None:
    noise = subparsers.add_parser(
        "calibrate", help="how much metrics vary on this machine, and the repeat and margins for that",
        description="Measures the file's scenarios several times with nothing changed, and prints a patch to the file.",
    )  # fmt: skip
    noise.add_argument("file", type=Path, metavar="FILE", help="a scenario file")
    noise.add_argument("--runs", type=_count, metavar="N", help="runs of each session (default: the file's repeat)")
    noise.add_argument(
        "--sessions", type=_sessions, default=4, metavar="N", help="how often the lab is built anew (default: 4)"
    )
    noise.add_argument("--select", metavar="TEXT", help="only scenarios whose label contains this")
    noise.add_argument("--write", action="store_true", help="apply the patch to the file")
    noise.set_defaults(command=calibrate, judges=True)


def _add_history(subparsers: argparse._SubParsersAction[Parser]) -> None:
    past = subparsers.add_parser(
        "history", help="how a metric went over all runs that were kept",
        description="Shows levels, trend and what left its limits, for each scenario and machine. Advice: the exit "
        "status is 0 whatever it says.",
    )  # fmt: skip
    past.add_argument("metric", metavar="METRIC", help="its name; `perfcheck metrics` lists all")
    past.add_argument(
        "--dir", type=Path, default=Path("results/history"), metavar="DIR",
        help="the history's folder (default: results/history)",
    )  # fmt: skip
    past.add_argument("--scenario", metavar="NAME", help="only this scenario")
    past.add_argument("--html", type=Path, metavar="PATH", help="write a page with plots as well")
    past.set_defaults(command=history)


def _add_inspecting(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the commands that measure nothing."""
    metrics = subparsers.add_parser("metrics", help="the metric catalogue, and what this machine can measure")
    metrics.add_argument("pattern", nargs="?", default="", help="only names that contain this")
    metrics.add_argument("--json", action="store_true", help="as JSON")
    metrics.set_defaults(command=commands.metrics)

    doctor = subparsers.add_parser("doctor", help="what this machine lacks, and how to get it")
    doctor.set_defaults(command=commands.doctor)
    clean = subparsers.add_parser("clean", help="undo what killed runs left behind")
    clean.set_defaults(command=commands.clean)
    schema = subparsers.add_parser("schema", help="JSON Schema of the scenario file, for editors")
    schema.set_defaults(command=commands.schema)
    listing = subparsers.add_parser("list", help="the scenarios of files and folders, checked but not run")
    listing.add_argument(
        "files", nargs="*", type=Path, default=[Path("scenarios")], metavar="FILE",
        help="scenario files, or folders of them (default: scenarios)",
    )  # fmt: skip
    listing.set_defaults(command=commands.list_scenarios)
