"""What each command does; each takes the parsed arguments and gives the exit status."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perfcheck.baseline import baseline_of, lookup_of
from perfcheck.collect import doctor_checks as collect_checks
from perfcheck.compare import changed_conditions, judge_records
from perfcheck.errors import CouldNotMeasure, Stopped, UsageError
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Direction, MetricSpec
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Output
from perfcheck.model.verdict import Verdict, exit_status, overall
from perfcheck.output import ConsoleOutput, ConsoleProgress, GithubOutput, JsonLinesOutput, JunitOutput, read_records
from perfcheck.output.cases import untrusted
from perfcheck.output.terminal import console_for
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.history import HistoryOutput
from perfcheck.scenario import ScenarioFile, json_schema, load_all
from perfcheck.system import clean as clean_up
from perfcheck.system.checks import NEEDED, Check, checked, system_checks
from perfcheck.system.printing import complain, say, say_json
from perfcheck.traffic import generators

T = TypeVar("T")


def run(arguments: argparse.Namespace) -> int:
    """Measure scenarios; every scenario is tried even where an earlier one could not be measured."""
    files = load_all(arguments.files)
    scenarios = _selected(files, arguments.files, arguments.select)
    options = RunOptions(
        baseline=arguments.baseline, baseline_dir=arguments.baseline_dir, baseline_name=arguments.baseline_name,
        repeat=arguments.repeat, mode=arguments.mode, tolerances=tuple(arguments.tolerance),
        rule_dirs=tuple(arguments.rules), events=arguments.events, budget_pct=arguments.budget,
    )  # fmt: skip
    to_stdout = arguments.json == Path("-")
    console = console_for(stderr=to_stdout)
    outputs = _reports(console, arguments, files)
    if arguments.json is not None:
        outputs.append(JsonLinesOutput(None if to_stdout else arguments.json))
    if arguments.history is not None:
        outputs.append(HistoryOutput(arguments.history))
    verdicts: list[Verdict] = []
    with ExitStack() as stack:
        _open(outputs, stack)
        progress = stack.enter_context(ConsoleProgress(console))
        runner = stack.enter_context(Runner.create(options, progress))
        for record in _measured(scenarios, runner.run, outputs, progress, verdicts):
            verdicts.append(record.verdict)
            for output in outputs:
                output.write(record)
    return exit_status(verdicts)


def side_by_side(arguments: argparse.Namespace) -> int:
    """Measure two settings in interleaved pairs; exit 1 where B is worse, 3 where it could not be measured."""
    files = load_all([arguments.file])
    scenarios = _selected(files, [arguments.file], arguments.select)
    options = RunOptions(tolerances=tuple(arguments.tolerance))
    console = console_for()
    outputs = _reports(console, arguments, files)
    records = JsonLinesOutput(arguments.json) if arguments.json is not None else None
    verdicts: list[Verdict] = []
    with ExitStack() as stack:
        _open([*outputs, *([records] if records is not None else [])], stack)
        progress = stack.enter_context(ConsoleProgress(console))
        runner = stack.enter_context(Runner.create(options, progress))
        sides = functools.partial(runner.ab, a=arguments.a, b=arguments.b)
        for before, after in _measured(scenarios, sides, outputs, progress, verdicts):
            progress.clear()
            if records is not None:
                records.write(before)
                records.write(after)
            for output in outputs:
                output.write(after)
            verdicts.append(after.verdict)
    return exit_status(verdicts)


def _measured(
    scenarios: Iterable[Scenario], measure: Callable[[Scenario], T], outputs: Sequence[Output],
    progress: ConsoleProgress, verdicts: list[Verdict],
) -> Iterator[T]:  # fmt: skip
    """Measure one scenario after the other; one that cannot be measured is told to the outputs, and is INVALID."""
    for scenario in scenarios:
        try:
            found = measure(scenario)
        except Stopped:
            raise
        except CouldNotMeasure as error:
            verdicts.append(Verdict.INVALID)
            progress.clear()
            for output in outputs:
                output.not_measured(scenario.label, scenario.file, str(error))
        else:
            yield found


def _reports(console: Console, arguments: argparse.Namespace, files: Iterable[ScenarioFile] = ()) -> list[Output]:
    """Give what every measuring or comparing command can report to: terminal, GitHub, JUnit."""
    lines = {file.file: file.lines for file in files}
    outputs: list[Output] = [ConsoleOutput(console), GithubOutput(lines=lines)]
    if arguments.junit is not None:
        outputs.append(JunitOutput(arguments.junit, lines))
    return outputs


def _open(outputs: Sequence[Output], stack: ExitStack) -> None:
    for output in outputs:
        output.open()
        stack.callback(output.close)


def compare(arguments: argparse.Namespace) -> int:
    """Compare two files of stored records, scenario by scenario; exit 1 on a regression, 3 where B is INVALID."""
    before = {_label(record): record for record in read_records(arguments.baseline)}
    after = {_label(record): record for record in read_records(arguments.current)}
    if not set(before) & set(after):
        raise UsageError(
            f"no scenario is in both files: {arguments.baseline} has {', '.join(sorted(before)) or 'none'}, "
            f"{arguments.current} has {', '.join(sorted(after)) or 'none'}"
        )
    verdicts = []
    with ExitStack() as stack:
        outputs = _reports(console_for(), arguments)
        _open(outputs, stack)
        for label, record in after.items():
            if label not in before:
                say(f"{label}: only in {arguments.current}, not compared")
                continue
            compared = _compared(before[label], record, dict(arguments.tolerance), str(arguments.baseline))
            verdicts += [compared.verdict, *(comparison.verdict for comparison in compared.comparisons)]
            for output in outputs:
                output.write(compared)
    for label in sorted(set(before) - set(after)):
        say(f"{label}: only in {arguments.baseline}, not compared")
    return exit_status(verdicts)


def _compared(before: RunRecord, record: RunRecord, tolerance_pct: Mapping[str, float], file: str) -> RunRecord:
    """Give the record judged against the other; what could not be trusted is neither judged nor judged against."""
    if untrusted(record) is not None:
        return record
    reason = untrusted(before)
    if reason is None:
        lookup = lookup_of(baseline_of(before), record)
    else:
        lookup = BaselineLookup(missing=f"the run in {file} is INVALID: {reason}")
    comparisons = judge_records(record, lookup, tolerance_pct)
    return record.model_copy(
        update={
            "comparisons": comparisons, "expectations": (), "verdict": overall(each.verdict for each in comparisons),
            "changed_conditions": changed_conditions(record, lookup), "sides": None,
        }
    )  # fmt: skip


def metrics(arguments: argparse.Namespace) -> int:
    """Print the catalogue, with why a metric cannot be had on this machine."""
    checks = _with_parts((*collect_checks(), *_generator_checks()))
    missing = {check.name: check for check in checks if not check.ok}
    hooks = {check.name: check.hook for check in checks if check.hook}
    specs = [spec for name, spec in CATALOGUE.items() if arguments.pattern in name]
    if not specs:
        raise UsageError(f"no metric's name contains {arguments.pattern!r}; `perfcheck metrics` lists all")
    rows = [(spec, _lacking(spec, missing)) for spec in specs]
    if arguments.json:
        say_json(json.dumps([
            {"name": spec.name, "unit": spec.unit, "layer": spec.layer, "better": spec.direction,
             "meaning": spec.meaning, "computed": spec.computed, "source": _of(spec, hooks) or spec.source,
             "margin_pct": spec.margin_pct, "host_wide": spec.host_wide,
             "available": why is None, "why": why.why if why else None, "fix": why.fix if why else None}
            for spec, why in rows
        ], indent=1))  # fmt: skip
        return 0
    console = console_for()
    for spec, why in rows:
        better = "" if spec.direction is Direction.NEITHER else f"{spec.direction} is better"
        here = "measured here" if why is None else f"not here: {why.why}; {why.fix}"
        console.print(Text.assemble((f"{spec.name:<28}", "bold"), f" {spec.unit:<6} {better:<16} {here}"))
        computed = f"\n    computed: {spec.computed}" if spec.computed else ""
        console.print(f"    {spec.meaning}{computed}\n    from {_of(spec, hooks) or spec.source}", style="dim")
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Say what works here and what does not; exit 3 where nothing could be measured at all."""
    del arguments
    checks = [*system_checks(), *_generator_checks(), *collect_checks()]
    table = Table("", "what", "metrics", "why not", "to get it", box=None, header_style="bold")
    for check in checks:
        needing = sum(check.name in spec.needs for spec in CATALOGUE.values())
        table.add_row(
            Text("ok", "green") if check.ok else Text("--", "red"),
            check.name,
            str(needing or ""),
            check.why,
            check.fix,
        )
    console = console_for()
    console.print(table)
    console.print()
    lacking = [check for check in checks if check.name in NEEDED and not check.ok]
    for check in lacking[:1]:
        console.print(f"Nothing can be measured here: {check.why}; {check.fix}")
    if not lacking:
        missing = {check.name: check for check in _with_parts(checks) if not check.ok}
        measured = sum(_lacking(spec, missing) is None for spec in CATALOGUE.values())
        rest = "" if measured == len(CATALOGUE) else "; `perfcheck metrics` says which, and why not the others"
        console.print(f"{measured} of {len(CATALOGUE)} metrics can be measured here{rest}")
    return 3 if lacking else 0


def _generator_checks() -> tuple[Check, ...]:
    """Check each generator under its own name (MetricSpec.needs)."""
    return tuple(checked(name, generator.check) for name, generator in generators().items())


def _with_parts(checks: Iterable[Check]) -> tuple[Check, ...]:
    return tuple(one for check in checks for one in (check, *check.parts))


def _of(spec: MetricSpec, by_metric: Mapping[str, T]) -> T | None:
    """Give what is said of a metric, by its name or by its name without the stat."""
    return by_metric.get(spec.name, by_metric.get(spec.name.rpartition(".")[0]))


def _lacking(spec: MetricSpec, missing: Mapping[str, Check]) -> Check | None:
    """Give what keeps a metric from being measured here; of several generators that report it one is enough."""
    part = _of(spec, missing)
    if part is not None:
        return part
    lacking = [missing[needed] for needed in spec.needs if needed in missing]
    if len(lacking) < len(spec.needs) and set(spec.needs) <= set(generators()):
        return None
    return lacking[0] if lacking else None


def clean(arguments: argparse.Namespace) -> int:
    """Undo what killed runs left behind; what runs now is left alone."""
    del arguments
    report = clean_up()
    for undone in report.undone:
        say(str(undone))
    for tag in report.alive:
        say(f"{tag}: its run is alive, left alone")
    for problem in (*report.failed, *report.unreadable):
        complain(str(problem))
    if not (report.undone or report.failed or report.unreadable):
        say("nothing to undo")
    return 3 if report.failed or report.unreadable else 0


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of the scenario file."""
    del arguments
    say_json(json.dumps(json_schema(), indent=1))
    return 0


def list_scenarios(arguments: argparse.Namespace) -> int:
    """List scenarios; a malformed file ends with status 2 and all of its problems."""
    table = Table("scenario", "file", "runs", "title", box=None, header_style="bold")
    for column in table.columns[:2]:
        column.no_wrap = True  # a title can be broken, what is typed again cannot
    for scenario in _selected(load_all(arguments.files), arguments.files, None):
        table.add_row(scenario.label, scenario.file, str(scenario.repeat), scenario.title)
    console_for().print(table)
    return 0


def _selected(files: Iterable[ScenarioFile], given: Sequence[Path], text: str | None) -> list[Scenario]:
    """Give the scenarios of the files; UsageError where there is none, or none has the text in its label."""
    scenarios = [scenario for file in files for scenario in file.scenarios]
    if not scenarios:
        places = ", ".join(map(str, given))
        raise UsageError(f"no scenario in {places}: a scenario is a *.yaml file whose top level has the key `scenario`")
    if text is None:
        return scenarios
    found = [scenario for scenario in scenarios if text in scenario.label]
    if not found:
        raise UsageError(f"--select: no scenario's label contains {text!r}; `perfcheck list` lists them")
    return found


def _label(record: RunRecord) -> str:
    point = ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in record.scenario.point.items())
    return f"{record.scenario.name}[{point}]" if point else record.scenario.name
