"""The arguments of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from perfcheck.cli import commands
from perfcheck.cli.bisect_arguments import add_bisect
from perfcheck.cli.calibration import calibrate
from perfcheck.cli.diagnosing import NO_LIMIT, diagnose
from perfcheck.cli.faults import list_faults, run_faults, write_fault
from perfcheck.cli.formats import FORMATS, require_files_apart
from perfcheck.cli.history import history
from perfcheck.cli.kernel_arguments import add_kernel_commands
from perfcheck.cli.report_arguments import add_report
from perfcheck.cli.show import show
from perfcheck.model.causes import CAUSES
from perfcheck.model.printable import printable_lines
from perfcheck.runner.option_values import count, for_argparse, kernel_name, path, percent, ref, tolerance
from perfcheck.runner.sides import FORMS, Side
from perfcheck.scenario import hint
from perfcheck.system.printing import complain
from perfcheck.version import VERSION

T = TypeVar("T")

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction["Parser"]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; argparse itself ends with status 2 on wrong usage."""
    arguments = parser_of_all().parse_args(list(argv))
    require_files_apart(arguments)
    return arguments


def parser_of_all() -> Parser:
    """Return the parser of whole command lines."""
    parser = Parser(
        prog="perfcheck",
        description="Performance regression and assertion harness for Linux networking.",
        epilog="exit status: 0 all passed, 1 a failure or regression, 2 bad usage or a bad file, 3 could not measure",
    )
    parser.add_argument("--version", action="version", version=f"perfcheck {VERSION}")
    parser.set_defaults(debug=False, judges=False)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_run(subparsers)
    _add_compare(subparsers)
    _add_pairs(subparsers)
    bisecting = add_bisect(subparsers)
    _add_tolerance(bisecting)
    _add_json(bisecting, "append the run records of all steps to PATH, A before B, one per line")
    _add_diagnose(subparsers)
    _add_calibrate(subparsers)
    _add_history(subparsers)
    add_report(subparsers)
    _add_faults(subparsers)
    add_kernel_commands(subparsers)

    _add_inspecting(subparsers)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser of one command's words: `--debug` is everywhere, and errors show arguments as printable text."""

    def __init__(self, **options: Any) -> None:
        """Take argparse's options; the parsers of commands are made by it, too."""
        super().__init__(**options)
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS,
            help="show the traceback of an internal error",
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


_count = for_argparse(count)
_percent = for_argparse(percent)
_kernel_name = for_argparse(kernel_name)
_ref = for_argparse(ref)
_side = for_argparse(Side.parse)


def _cause(text: str) -> str:
    known = [cause for cause in CAUSES if cause not in NO_LIMIT]
    if text in NO_LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r} names no limit that could be relieved")
    if text not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is not a cause{hint(text, known)}")
    return text


def _sessions(text: str) -> int:
    number = _count(text)
    if number < 2:
        raise argparse.ArgumentTypeError("noise between sessions needs at least two sessions")
    return number


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kernel", type=_kernel_name, metavar="NAME",
        help="measure in a guest that boots this kernel of the store (`perfcheck kernel list`)",
    )  # fmt: skip


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-commands",
        action="store_true",
        help="refuse files that run commands (setup:, command:); see docs/security.md",
    )
    parser.add_argument(
        "--trace-outside", action="store_true", help="allow trace files outside the scenario file's folder"
    )


def _add_select(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--select", metavar="TEXT", help="only scenarios whose label contains TEXT")


def _add_reports(parser: argparse.ArgumentParser, json: str = "") -> None:
    if json:
        _add_json(parser, json)
    parser.add_argument("--junit", type=path, metavar="PATH", help="write a JUnit report to PATH")
    parser.add_argument(
        "--output", choices=FORMATS, default=FORMATS[0],
        help="what standard output gets: tables (console, the default) or the kernel's KTAP (all else goes to "
             "standard error)",
    )  # fmt: skip


def _add_json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", type=path, metavar="PATH", help=f"{text} ('-': standard output)")
    parser.set_defaults(streaming=("--json",))


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rules", action="append", default=[], type=path, metavar="DIR",
        help="folder with more diagnosis rules; can be repeated",
    )  # fmt: skip


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    """Add how scenarios are measured and diagnosed, the same for runs and pairs."""
    parser.add_argument(
        "--mode",
        choices=("summary", "detail", "both"),
        help="what is measured: summary (figures), detail (the paths of packets) or both",
    )
    parser.add_argument(
        "--budget", type=_percent, metavar="PCT",
        help="share of one CPU that measuring may use, also while traffic runs, e.g. 10%%",
    )  # fmt: skip
    parser.add_argument(
        "--series", type=path, metavar="PATH", help="write time series of all runs to PATH, a Parquet file"
    )
    _add_rules(parser)


def _add_repeat(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--repeat", type=_count, metavar="N", help=f"{text} (default: the file's)")


def _add_tolerance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance", action="append", default=[], type=tolerance, metavar="METRIC=PCT",
        help="margin of a metric: smaller changes do not count, e.g. tcp.rtt_us.p99=5%%; can be repeated",
    )  # fmt: skip


def _add_run(subparsers: _Subparsers) -> None:
    run = subparsers.add_parser("run", help="measure scenarios without pytest")
    run.add_argument("files", nargs="+", type=path, metavar="FILE", help="scenario files, or folders of them")
    _add_select(run)
    _add_kernel(run)
    _add_reports(run, "append run records to PATH, one per line")
    _add_repeat(run, "runs of each scenario")
    _add_measuring(run)
    run.add_argument(
        "--time", choices=("virtual", "real"),
        help="time in the guests of --kernel: counted instructions (virtual, the default), or KVM (real)",
    )  # fmt: skip
    run.add_argument(
        "--events",
        type=path,
        metavar="PATH",
        help="write events (drops, resets...) to PATH, one JSON object per line",
    )
    run.add_argument(
        "--why", action="store_true", help="print what the diagnosis rests on: each question with what it read"
    )
    run.add_argument("--baseline", action="store_true", help="compare with the stored baselines")
    run.add_argument("--baseline-save", action="store_true", help="measure, and save as baselines")
    run.add_argument(
        "--baseline-update",
        action="store_true",
        help="measure, and save as baselines that replace all earlier sessions",
    )
    run.add_argument("--baseline-dir", type=path, metavar="DIR", help="folder of the baselines (default: baselines)")
    run.add_argument(
        "--baseline-ref", type=_ref, metavar="REF",
        help="compare with the baselines of this git commit or branch, not with those of the working tree",
    )  # fmt: skip
    _add_trust(run)
    run.add_argument("--baseline-name", metavar="NAME", help="name of a set of baselines")
    _add_tolerance(run)
    run.add_argument("--history", type=path, metavar="DIR", help="append each run to the history in DIR")
    run.add_argument(
        "--prometheus-textfile", type=path, metavar="FILE.prom",
        help="replace this file for node_exporter with each run",
    )  # fmt: skip
    run.add_argument(
        "--report", type=path, metavar="PATH", help="write a report to PATH, which ends with .html, .md or .pdf"
    )
    run.set_defaults(command=commands.run, judges=True)


def _add_compare(subparsers: _Subparsers) -> None:
    compare = subparsers.add_parser("compare", help="compare two stored run records: B against A")
    compare.add_argument("baseline", type=path, metavar="A.json", help="records as `perfcheck run --json` writes them")
    compare.add_argument("current", type=path, metavar="B.json", help="the records to judge")
    _add_tolerance(compare)
    _add_reports(compare)
    for name, form in (("html", "an HTML page"), ("md", "Markdown"), ("pdf", "a PDF")):
        where = "PATH, too ('-': standard output)" if name == "md" else "PATH, too"
        compare.add_argument(f"--{name}", type=path, metavar="PATH", help=f"write {form} with both sides to {where}")
    compare.set_defaults(command=commands.compare, judges=True, streaming=("--md",))


def _add_pairs(subparsers: _Subparsers) -> None:
    pairs = subparsers.add_parser(
        "ab", help="compare two settings, measured in interleaved pairs",
        description="Measures A and B in interleaved pairs on this machine until each metric has a verdict. "
        f"A side is one of: {'; '.join(FORMS.values())}.",
    )  # fmt: skip
    pairs.add_argument("files", nargs="+", type=path, metavar="FILE", help="scenario files, or folders of them")
    pairs.add_argument("--a", required=True, type=_side, metavar="SIDE", help="the current setting")
    _add_trust(pairs)
    pairs.add_argument("--b", required=True, type=_side, metavar="SIDE", help="the setting to judge")
    _add_kernel(pairs)
    _add_select(pairs)
    _add_reports(pairs, "append both run records to PATH, A before B, one per line")
    _add_measuring(pairs)
    _add_tolerance(pairs)
    pairs.add_argument(
        "--report", type=path, metavar="PATH", help="write a page with both sides to PATH: .html, .md or .pdf"
    )
    pairs.set_defaults(command=commands.side_by_side, judges=True)


def _add_diagnose(subparsers: _Subparsers) -> None:
    causes = subparsers.add_parser(
        "diagnose", help="name the causes of a run, and test them",
        description="Measures a scenario, or takes stored records, and prints the causes with their evidence. With "
        "--confirm each suspected limit is relieved, and nothing else, in runs between unchanged ones. The exit status "
        "does not depend on the causes.",
    )  # fmt: skip
    causes.add_argument(
        "file", type=path, metavar="FILE|RECORD", help="a scenario file, or run records (JSON lines)"
    )  # fmt: skip
    causes.add_argument(
        "--confirm", action="store_true",
        help="run the scenario with only the suspected limit relieved: confirmed or refuted (at least 6 more runs)",
    )  # fmt: skip
    causes.add_argument(
        "--cause", type=_cause, metavar="NAME",
        help="test this cause, not those that were found",
    )  # fmt: skip
    _add_select(causes)
    _add_json(causes, "append the records, with their causes and tests, to PATH, one per line")
    _add_repeat(causes, "runs of the scenario before it is diagnosed")
    _add_rules(causes)
    _add_trust(causes)
    causes.set_defaults(command=diagnose, judges=True)


def _add_calibrate(subparsers: _Subparsers) -> None:
    noise = subparsers.add_parser(
        "calibrate", help="measure how much metrics vary on this machine, and suggest repeat and margins",
        description="Measures the file's scenarios several times without any change, and prints a patch for the file.",
    )  # fmt: skip
    noise.add_argument("file", type=path, metavar="FILE", help="a scenario file")
    _add_repeat(noise, "runs of each session")
    _former(noise, "--runs", "--repeat", _count)
    _add_trust(noise)
    noise.add_argument(
        "--sessions",
        type=_sessions,
        default=4,
        metavar="N",
        help="number of sessions; the lab is built again for each (default: 4)",
    )
    _add_select(noise)
    noise.add_argument("--write", action="store_true", help="apply the patch to the file")
    noise.set_defaults(command=calibrate, judges=True)


def _add_history(subparsers: _Subparsers) -> None:
    past = subparsers.add_parser(
        "history", help="show how a metric changed over all stored runs",
        description="Shows the levels and the trend of a metric, and the runs outside its limits, for each scenario "
                    "and machine. The exit status does not depend on what it finds.",
    )  # fmt: skip
    past.add_argument("metric", metavar="METRIC", help="name of the metric; `perfcheck metrics` lists all")
    past.add_argument(
        "--history", type=path, default=Path("results/history"), metavar="DIR",
        help="folder of the history (default: results/history)",
    )  # fmt: skip
    _former(past, "--dir", "--history", path)
    past.add_argument("--scenario", metavar="NAME", help="only this scenario")
    past.add_argument("--html", type=path, metavar="PATH", help="write an HTML page with plots to PATH as well")
    past.set_defaults(command=history)


def _add_faults(subparsers: _Subparsers) -> None:
    faults = subparsers.add_parser(
        "faults", help="the fault matrix: known causes, each by several means, beside healthy twins",
        description="Lists, runs and writes scenarios with a known fault (docs/faults.md).",
    )  # fmt: skip
    actions = faults.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the injectors of all causes, or of one")
    listing.add_argument("cause", nargs="?", metavar="CAUSE", help="only this cause, e.g. random_loss")
    listing.add_argument("--names", action="store_true", help="print the name of each combination instead")
    listing.set_defaults(command=list_faults)
    running = actions.add_parser("run", help="measure faults and their twins, and compare what is named")
    running.add_argument(
        "names", nargs="*", metavar="NAME",
        help="a fault, or the begin of several: random_loss, random_loss/nft-random (default: one of each injector)",
    )  # fmt: skip
    running.add_argument("--json", type=path, metavar="PATH", help="append the runs to PATH, one JSON object a line")
    running.set_defaults(command=run_faults, judges=True)
    writing = actions.add_parser("write", help="print the scenario file of a fault")
    writing.add_argument("name", metavar="NAME", help="a whole name, as `perfcheck faults list --names` prints it")
    writing.set_defaults(command=write_fault)
    for each in (listing, running, writing):
        each.add_argument(
            "--library", type=path, metavar="DIR", help="data files of another matrix (default: scenarios/faults)"
        )


def _add_inspecting(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the commands that measure nothing."""
    shown = subparsers.add_parser(
        "show", help="draw time series of a run in the terminal",
        description="Draws time series that `perfcheck run --series PATH` wrote.",
    )  # fmt: skip
    shown.add_argument("file", type=path, metavar="RECORD|PARQUET", help="run records (JSON lines), or the series")
    shown.add_argument(
        "metrics", nargs="*", metavar="METRIC", help="metric, metric@subject or @subject (default: the most telling)"
    )
    shown.add_argument(
        "--trial", type=_count, default=1, metavar="N", help="the run's trial, counted from 1 (default: 1)"
    )
    shown.add_argument("--run", metavar="TEXT", help="the run whose scenario or id has this in its name")
    shown.set_defaults(command=show)

    metrics = subparsers.add_parser("metrics", help="list all metrics, and which of them this machine can measure")
    metrics.add_argument("pattern", nargs="?", default="", help="only metrics whose name contains this")
    metrics.add_argument("--json", action="store_true", help="print JSON")
    metrics.set_defaults(command=commands.metrics)

    doctor = subparsers.add_parser("doctor", help="show what this machine lacks, and how to fix it")
    doctor.set_defaults(command=commands.doctor)
    clean = subparsers.add_parser("clean", help="remove what killed runs left behind")
    clean.add_argument(
        "--ssh", metavar="DESTINATION",
        help="on this machine instead, where agents were killed (docs/ssh.md)",
    )  # fmt: skip
    clean.add_argument("--python", default="python3", metavar="PROGRAM", help="Python 3.11 or later there")
    clean.set_defaults(command=commands.clean)
    schema = subparsers.add_parser("schema", help="print the JSON Schema of the scenario file, for editors")
    schema.set_defaults(command=commands.schema)
    listing = subparsers.add_parser(
        "list", help="list and check the scenarios of files and folders, without running them"
    )
    listing.add_argument(
        "files", nargs="*", type=path, default=[Path("scenarios")], metavar="FILE",
        help="scenario files, or folders of them (default: scenarios)",
    )  # fmt: skip
    _add_trust(listing)
    listing.set_defaults(command=commands.list_scenarios)
