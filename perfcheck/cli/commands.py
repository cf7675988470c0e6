"""The commands: each takes the parsed arguments and returns the exit status."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perfcheck.baseline import baseline_of, lookup_of
from perfcheck.cli.cleaning import clean_there
from perfcheck.cli.comparison_page import ComparisonPage
from perfcheck.cli.formats import KTAP, STDOUT, console_of, teller_of
from perfcheck.cli.measuring import begun, final_status, opened, recorded, stored
from perfcheck.collect import doctor_checks as collect_checks
from perfcheck.compare import changed_conditions, judge_records
from perfcheck.errors import PerfcheckError, UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Direction, MetricSpec, Phased
from perfcheck.model.record import PHASES, SUBJECTS, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Output
from perfcheck.model.subject import SubjectKind
from perfcheck.model.unavailable import verdict_of
from perfcheck.model.verdict import Verdict
from perfcheck.output import (
    ConsoleOutput,
    ConsoleProgress,
    GithubOutput,
    JsonLinesOutput,
    JunitOutput,
    KtapOutput,
    Outputs,
    read_records,
)
from perfcheck.output.cases import untrusted
from perfcheck.output.rows import scenario_label
from perfcheck.output.terminal import console_for
from perfcheck.report.when_over import ReportWhenOver
from perfcheck.report.write import Form
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.history import HistoryOutput
from perfcheck.runner.keeping import Keep
from perfcheck.runner.kernel_choice import check_kernels
from perfcheck.runner.options import check_files, check_metrics, check_subjects
from perfcheck.runner.unmeasured import unmeasured_pairs
from perfcheck.scenario import ScenarioFile, json_schema, load_all
from perfcheck.system import clean as clean_up
from perfcheck.system.checks import NEEDED, Check, checked, system_checks
from perfcheck.system.printing import CommandStream, complain, say, say_json
from perfcheck.traffic import generators

T = TypeVar("T")

_MOST_LISTED: Final = 10


def run(arguments: argparse.Namespace) -> int:
    """Measure scenarios; every scenario is tried even where an earlier one could not be measured."""
    keep = _keep(arguments)
    if arguments.time is not None and arguments.kernel is None:
        raise UsageError("--time: has no effect without --kernel")
    files = _loaded(arguments, arguments.files)
    scenarios = _selected(files, arguments.files, arguments.select)
    options = replace(
        _options(arguments), baseline=arguments.baseline, baseline_ref=arguments.baseline_ref,
        baseline_dir=arguments.baseline_dir or Path("baselines"), baseline_name=arguments.baseline_name,
        repeat=arguments.repeat, events=arguments.events, time=arguments.time or "virtual",
    )  # fmt: skip
    check_metrics(options.tolerances, scenarios)
    check_subjects(options.tolerances, scenarios)
    check_files(options, scenarios)
    check_kernels(options.kernel)
    console = console_of(arguments)
    histories = [] if arguments.history is None else [HistoryOutput(arguments.history)]
    reports = _reports(console, arguments, files, len(scenarios))
    report = ReportWhenOver(arguments.report)
    outputs = Outputs([*_json_lines(arguments), *histories, report, *_exports(arguments), *reports])
    verdicts: list[Verdict] = []
    wrong: list[PerfcheckError] = []
    progress = ConsoleProgress(console)
    runner = Runner.create(options, progress)
    # The report is written when the session has ended: it needs the files of series and events.
    with report, begun(runner, progress, outputs) as refusal:
        measured = recorded(scenarios, runner.run, runner.unmeasured, refusal=refusal, wrong=wrong)
        for scenario, record in zip(scenarios, measured, strict=True):
            progress.clear()
            verdicts.append(record.verdict)
            unwritten = outputs.write(record)
            if keep is not None:
                # The last step of a scenario: what went wrong before leaves the stored baseline as it is.
                told = stored(runner, scenario, record, keep, unwritten=unwritten, wrong=wrong)
                console.print(f"{scenario.label}: baseline {told}", soft_wrap=True)
    return final_status(verdicts, wrong, (*outputs.problems, *report.problems))


def _keep(arguments: argparse.Namespace) -> Keep | None:
    """Return what becomes of the runs as baselines; UsageError for options that would do nothing."""
    keep = arguments.baseline_save or arguments.baseline_update
    if arguments.baseline_ref is not None:
        if keep:
            raise UsageError("--baseline-ref: baselines of a commit cannot be changed; save without it")
        arguments.baseline = True
    if not (arguments.baseline or keep):
        for option in ("baseline_dir", "baseline_name", "tolerance"):
            if getattr(arguments, option) not in (None, []):
                raise UsageError(f"--{option.replace('_', '-')}: has no effect without --baseline or --baseline-save")
    return Keep(update=arguments.baseline_update) if keep else None


def side_by_side(arguments: argparse.Namespace) -> int:
    """Measure two settings in interleaved pairs; exit 1 where B is worse, 3 where it could not be measured."""
    files = _loaded(arguments, arguments.files)
    scenarios = _selected(files, arguments.files, arguments.select)
    console = console_of(arguments)
    records, reports = Outputs(_json_lines(arguments)), Outputs(_reports(console, arguments, files, len(scenarios)))
    a, b = arguments.a, arguments.b
    verdicts: list[Verdict] = []
    wrong: list[PerfcheckError] = []
    progress = ConsoleProgress(console)
    options = _options(arguments)
    check_metrics(options.tolerances, scenarios)
    check_subjects(options.tolerances, scenarios)
    check_files(options, scenarios)
    check_kernels(options.kernel, a, b)
    runner = Runner.create(options, progress)
    page = ComparisonPage([] if arguments.report is None else [(arguments.report, None)])
    # The page is written last: the series that it draws are written when the runner ends.
    with page, begun(runner, progress, records, reports) as refusal:
        sides = functools.partial(runner.ab, a=a, b=b)
        lost = functools.partial(unmeasured_pairs, a=a, b=b, kernel=options.kernel)
        for before, after in recorded(scenarios, sides, lost, refusal=refusal, wrong=wrong):
            progress.clear()
            records.write(before)
            records.write(after)
            reports.write(after)
            page.add(before, after)
            verdicts.append(after.verdict)
    return final_status(verdicts, wrong, (*records.problems, *reports.problems, *page.problems))


def _options(arguments: argparse.Namespace) -> RunOptions:
    """Return the options that runs and pairs share."""
    return RunOptions(
        mode=arguments.mode, budget_pct=arguments.budget, tolerances=tuple(arguments.tolerance),
        rule_dirs=tuple(arguments.rules), commands=not arguments.no_commands, series=arguments.series,
        kernel=arguments.kernel,
    )  # fmt: skip


def _loaded(arguments: argparse.Namespace, paths: Sequence[Path]) -> tuple[ScenarioFile, ...]:
    """Read scenario files, as far as they are trusted."""
    return load_all(paths, commands=not arguments.no_commands, trace_outside=arguments.trace_outside)


def _json_lines(arguments: argparse.Namespace) -> list[Output]:
    if arguments.json is None:
        return []
    return [JsonLinesOutput(None if arguments.json == STDOUT else arguments.json)]


def _exports(arguments: argparse.Namespace) -> list[Output]:
    if arguments.prometheus_textfile is None:
        return []
    from perfcheck.export.records import PrometheusOutput

    return [PrometheusOutput(arguments.prometheus_textfile)]


def _reports(
    console: Console, arguments: argparse.Namespace, files: Iterable[ScenarioFile], planned: int
) -> list[Output]:  # fmt: skip
    """Return what every measuring or comparing command can report to: terminal, KTAP, GitHub, JUnit."""
    lines = {file.file: file.lines for file in files}
    github = GithubOutput(
        stream=CommandStream(stderr=console.stderr), lines=lines, series=getattr(arguments, "series", None)
    )  # fmt: skip
    outputs: list[Output] = [ConsoleOutput(console, why=getattr(arguments, "why", False)), github]
    if arguments.output == KTAP:
        outputs.append(KtapOutput(planned, lines))
    if arguments.junit is not None:
        outputs.append(JunitOutput(arguments.junit, lines))
    return outputs


def compare(arguments: argparse.Namespace) -> int:
    """Compare two files of stored records, scenario by scenario; exit 1 on a regression, 3 where B is INVALID."""
    before = {scenario_label(record): record for record in read_records(arguments.baseline)}
    after = {scenario_label(record): record for record in read_records(arguments.current)}
    if not set(before) & set(after):
        raise UsageError(
            f"no scenario is in both files: {arguments.baseline} has {_listed(before)}, "
            f"{arguments.current} has {_listed(after)}"
        )
    check_metrics(arguments.tolerance, [*before.values(), *after.values()])
    verdicts = []
    tell = teller_of(arguments)
    outputs = Outputs(_reports(console_of(arguments), arguments, (), len(set(before) & set(after))))
    page = ComparisonPage(_page_targets(arguments), names=(str(arguments.baseline), str(arguments.current)))
    folders = (arguments.baseline.parent, arguments.current.parent)
    with ExitStack() as stack:
        stack.enter_context(page)
        opened(outputs, stack)
        for file, records in ((arguments.baseline, before), (arguments.current, after)):
            _say_older(file, records.values(), tell)
        for label, record in after.items():
            if label not in before:
                tell(f"{label}: only in {arguments.current}, not compared")
                continue
            compared = _compared(before[label], record, dict(arguments.tolerance), str(arguments.baseline))
            verdicts.append(compared.verdict)
            outputs.write(compared)
            page.add(before[label], compared, folders)
    for label in sorted(set(before) - set(after)):
        tell(f"{label}: only in {arguments.baseline}, not compared")
    return final_status(verdicts, (), (*outputs.problems, *page.problems))


def _page_targets(arguments: argparse.Namespace) -> list[tuple[Path, Form | None]]:
    forms = ((arguments.html, Form.HTML), (arguments.md, Form.MARKDOWN), (arguments.pdf, Form.PDF))
    return [(path, form) for path, form in forms if path is not None]


def _say_older(file: Path, records: Iterable[RunRecord], tell: Callable[[str], None]) -> None:
    """Say what an older perfcheck did not keep in records of a file; the rest is compared as ever."""
    kinds = [kind for kind in (SUBJECTS, PHASES) if any(kind in record.predates for record in records)]
    if kinds:
        tell(f"{file}: older records, made before {' and '.join(kinds)} had figures of their own")


def _listed(labels: Iterable[str]) -> str:
    """Return the first labels, and how many there are besides."""
    known = sorted(labels)
    more = len(known) - _MOST_LISTED
    return ", ".join(known[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _compared(before: RunRecord, record: RunRecord, tolerance_pct: Mapping[str, float], file: str) -> RunRecord:
    """Return the record judged against the other; what could not be trusted is neither judged nor judged against."""
    if untrusted(record) is not None:
        return record
    reason = untrusted(before)
    if reason is not None:
        reason = f"not compared: the run in {file} is INVALID: {reason}"
        nothing: dict[str, object] = {"comparisons": (), "expectations": (), "sides": None}
        return record.model_copy(update=nothing | {"verdict": Verdict.INVALID, "invalid_reason": reason})
    lookup = lookup_of(baseline_of(before, file), record)
    comparisons = judge_records(record, lookup, tolerance_pct)
    return record.model_copy(
        update={
            "comparisons": comparisons, "expectations": (), "verdict": verdict_of(record, comparisons),
            "changed_conditions": changed_conditions(record, lookup), "sides": None,
        }
    )  # fmt: skip


_SUBJECTS: Final[Mapping[SubjectKind, str]] = MappingProxyType({
    SubjectKind.TRAFFIC: "traffic entry (@NAME)", SubjectKind.HOST: "host (@HOST)",
    SubjectKind.DIRECTION: "direction of a link (@A>B)",
})  # fmt: skip
_PHASED: Final[Mapping[Phased, str]] = MappingProxyType({
    Phased.NEVER: "\n    phases: none, it is measured over the whole time", Phased.ALSO: "",
    Phased.ONLY: "\n    phases: only (/PHASE)",
})  # fmt: skip


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
             "margin_pct": spec.margin_pct, "host_wide": spec.host_wide, "subjects": list(spec.subjects),
             "phases": spec.phased,
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
        of = f"\n    subjects: {', '.join(_SUBJECTS[kind] for kind in spec.subjects)}" if spec.subjects else ""
        of += _PHASED[spec.phased]
        console.print(f"    {spec.meaning}{computed}{of}\n    from {_of(spec, hooks) or spec.source}", style="dim")
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Say what works here and what does not; exit 3 where nothing could be measured at all."""
    del arguments
    checks = [*system_checks(), *_generator_checks(), *collect_checks()]
    table = Table("", "what", "metrics", "problem", "how to fix it", box=None, header_style="bold")
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
        rest = "" if measured == len(CATALOGUE) else "; `perfcheck metrics` lists them, and says why the others cannot"
        console.print(f"{measured} of {len(CATALOGUE)} metrics can be measured here{rest}")
    return 3 if lacking else 0


def _generator_checks() -> tuple[Check, ...]:
    """Check each generator under its own name (MetricSpec.needs)."""
    return tuple(checked(name, generator.check) for name, generator in generators().items())


def _with_parts(checks: Iterable[Check]) -> tuple[Check, ...]:
    return tuple(one for check in checks for one in (check, *check.parts))


def _of(spec: MetricSpec, by_metric: Mapping[str, T]) -> T | None:
    """Return what is said of a metric, by its name or by its name without the stat."""
    return by_metric.get(spec.name, by_metric.get(spec.name.rpartition(".")[0]))


def _lacking(spec: MetricSpec, missing: Mapping[str, Check]) -> Check | None:
    """Return what keeps a metric from being measured here; of several generators that report it one is enough."""
    part = _of(spec, missing)
    if part is not None:
        return part
    lacking = [missing[needed] for needed in spec.needs if needed in missing]
    if len(lacking) < len(spec.needs) and set(spec.needs) <= set(generators()):
        return None
    return lacking[0] if lacking else None


def clean(arguments: argparse.Namespace) -> int:
    """Undo what killed runs left behind; what runs now is left alone."""
    if arguments.ssh is not None:
        return clean_there(arguments)
    report = clean_up()
    for undone in report.undone:
        say(str(undone))
    for tag in report.alive:
        say(f"{tag}: its run is still alive, so nothing was changed")
    for problem in (*report.failed, *report.unreadable):
        complain(str(problem))
    # Not above: reading packages and images takes modules that no other command needs.
    from perfcheck.kernels.store import KernelStore

    unfinished = KernelStore.create().clean()
    for folder in unfinished:
        say(f"kernel lab: the unfinished folder {folder} was removed")
    if not (report.undone or report.failed or report.unreadable or unfinished):
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
    files = _loaded(arguments, arguments.files)
    for scenario in _selected(files, arguments.files, None):
        table.add_row(scenario.label, scenario.file, str(scenario.repeat), scenario.title)
    console_for().print(table)
    return 0


def _selected(files: Iterable[ScenarioFile], given: Sequence[Path], text: str | None) -> list[Scenario]:
    """Return the scenarios of the files; UsageError where there is none, or none has the text in its label."""
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
