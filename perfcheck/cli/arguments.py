"""The words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from perfcheck import __version__
from perfcheck.cli import commands
from perfcheck.cli.calibration import calibrate
from perfcheck.cli.history import history
from perfcheck.cli.tolerance import tolerance
from perfcheck.cli.values import count, path_text, percent, ref
from perfcheck.errors import UsageError
from perfcheck.model.printable import printable_lines
from perfcheck.runner.sides import FORMS, Side
from perfcheck.system.printing import complain

T = TypeVar("T")

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction["Parser"]


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

    _add_run(subparsers)
    _add_compare(subparsers)
    _add_pairs(subparsers)
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


class _Deprecated(argparse.Action):
    """The former name of an option, which is hidden and still works; `const` is the name of today."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        """Take the value, and say how the option is called."""
        complain(f"{parser.prog}: note: {option_string} is now called {self.const}")
        setattr(namespace, self.dest, values)


def _former(parser: argparse.ArgumentParser, name: str, now: str, parse: Callable[[str], object]) -> None:
    parser.add_argument(name, action=_Deprecated, dest=now.removeprefix("--"), const=now, type=parse,
                        default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # fmt: skip


def _parsed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Let argparse name the option before what is wrong with its value."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


_count = _parsed(count)
_percent = _parsed(percent)
_ref = _parsed(ref)
_path = _parsed(lambda text: Path(path_text(text)))
_side = _parsed(Side.parse)


def _sessions(text: str) -> int:
    number = _count(text)
    if number < 2:
        raise argparse.ArgumentTypeError("noise between sessions needs two of them at least")
    return number


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-commands", action="store_true", help="refuse files that run commands (setup:, command:); docs/security.md"
    )
    parser.add_argument(
        "--trace-outside", action="store_true", help="allow traces that do not lie below the scenario file's folder"
    )


def _add_select(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--select", metavar="TEXT", help="only scenarios whose label contains this")


def _add_reports(parser: argparse.ArgumentParser, json: str = "") -> None:
    if json:
        parser.add_argument("--json", type=_path, metavar="PATH", help=f"{json} ('-': standard output)")
    parser.add_argument("--junit", type=_path, metavar="PATH", help="write a JUnit report")


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    """Add how scenarios are measured and diagnosed, the same for runs and pairs."""
    parser.add_argument("--mode", choices=("summary", "detail", "both"), help="mode of the measurement core")
    parser.add_argument(
        "--budget", type=_percent, metavar="PCT",
        help="share of one CPU that measuring may take, whatever the traffic, e.g. 10%%",
    )  # fmt: skip
    parser.add_argument(
        "--rules", action="append", default=[], type=_path, metavar="DIR",
        help="a folder of further diagnosis rules; may be given several times",
    )  # fmt: skip


def _add_repeat(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--repeat", type=_count, metavar="N", help=f"{text} (default: the file's)")


def _add_tolerance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance", action="append", default=[], type=tolerance, metavar="METRIC=PCT",
        help="what counts as a change of a metric, e.g. tcp.rtt_us.p99=5%%; may be given several times",
    )  # fmt: skip


def _add_run(subparsers: _Subparsers) -> None:
    run = subparsers.add_parser("run", help="measure scenarios without pytest")
    run.add_argument("files", nargs="+", type=_path, metavar="FILE", help="scenario files, or folders of them")
    _add_select(run)
    _add_reports(run, "append one run record a line")
    _add_repeat(run, "runs of each scenario")
    _add_measuring(run)
    run.add_argument("--events", type=_path, metavar="PATH", help="write the events of detail mode, one JSON a line")
    run.add_argument("--baseline", action="store_true", help="compare with the stored baselines")
    run.add_argument("--baseline-save", action="store_true", help="measure and write baselines")
    run.add_argument(
        "--baseline-update", action="store_true", help="measure and write baselines in place of all earlier sessions"
    )
    run.add_argument(
        "--baseline-dir", type=_path, metavar="DIR", help="where baselines are stored (default: baselines)"
    )
    run.add_argument(
        "--baseline-ref", type=_ref, metavar="REF",
        help="compare with the baselines that this commit or branch has, whatever the working tree has",
    )  # fmt: skip
    _add_trust(run)
    run.add_argument("--baseline-name", metavar="NAME", help="a named set of baselines")
    _add_tolerance(run)
    run.add_argument("--history", type=_path, metavar="DIR", help="append each run to the history in DIR")
    run.set_defaults(command=commands.run, judges=True)


def _add_compare(subparsers: _Subparsers) -> None:
    compare = subparsers.add_parser("compare", help="verdicts of two stored run records: B against A")
    compare.add_argument("baseline", type=_path, metavar="A.json", help="records as `perfcheck run --json` writes them")
    compare.add_argument("current", type=_path, metavar="B.json", help="the records that are judged")
    _add_tolerance(compare)
    _add_reports(compare)
    compare.set_defaults(command=commands.compare, judges=True)


def _add_pairs(subparsers: _Subparsers) -> None:
    pairs = subparsers.add_parser(
        "ab", help="two settings side by side, in interleaved pairs",
        description="Measures A and B in interleaved pairs on this machine until each metric is settled. "
        f"A side is one of: {'; '.join(FORMS.values())}.",
    )  # fmt: skip
    pairs.add_argument("file", type=_path, metavar="FILE", help="a scenario file")
    pairs.add_argument("--a", required=True, type=_side, metavar="SIDE", help="the setting as it is")
    _add_trust(pairs)
    pairs.add_argument("--b", required=True, type=_side, metavar="SIDE", help="the setting that is judged")
    _add_select(pairs)
    _add_reports(pairs, "append both run records, A before B, one a line")
    _add_measuring(pairs)
    _add_tolerance(pairs)
    pairs.set_defaults(command=commands.side_by_side, judges=True)


def _add_calibrate(subparsers: _Subparsers) -> None:
    noise = subparsers.add_parser(
        "calibrate", help="how much metrics vary on this machine, and the repeat and margins for that",
        description="Measures the file's scenarios several times with nothing changed, and prints a patch to the file.",
    )  # fmt: skip
    noise.add_argument("file", type=_path, metavar="FILE", help="a scenario file")
    _add_repeat(noise, "runs of each session")
    _former(noise, "--runs", "--repeat", _count)
    _add_trust(noise)
    noise.add_argument(
        "--sessions", type=_sessions, default=4, metavar="N", help="how often the lab is built anew (default: 4)"
    )
    _add_select(noise)
    noise.add_argument("--write", action="store_true", help="apply the patch to the file")
    noise.set_defaults(command=calibrate, judges=True)


def _add_history(subparsers: _Subparsers) -> None:
    past = subparsers.add_parser(
        "history", help="how a metric went over all runs that were kept",
        description="Shows levels, trend and what left its limits, for each scenario and machine. Advice: the exit "
        "status is 0 whatever it says.",
    )  # fmt: skip
    past.add_argument("metric", metavar="METRIC", help="its name; `perfcheck metrics` lists all")
    past.add_argument(
        "--history", type=_path, default=Path("results/history"), metavar="DIR",
        help="the history's folder (default: results/history)",
    )  # fmt: skip
    _former(past, "--dir", "--history", _path)
    past.add_argument("--scenario", metavar="NAME", help="only this scenario")
    past.add_argument("--html", type=_path, metavar="PATH", help="write a page with plots as well")
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
        "files", nargs="*", type=_path, default=[Path("scenarios")], metavar="FILE",
        help="scenario files, or folders of them (default: scenarios)",
    )  # fmt: skip
    _add_trust(listing)
    listing.set_defaults(command=commands.list_scenarios)
