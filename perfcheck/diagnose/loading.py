"""Loads rule files: those that ship with the package, then those of the user's directories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

from perfcheck.diagnose.condition import Condition, Quantity
from perfcheck.diagnose.digest import digest_of
from perfcheck.diagnose.fitted import NOT_FITTED, Fitted, FittedForm, fitted_of
from perfcheck.diagnose.graph_files import read_causality, read_tree
from perfcheck.diagnose.located import nearest, read_form
from perfcheck.diagnose.parsing import ConditionError, Terms, parse_condition, parse_term
from perfcheck.diagnose.rule import (
    Cause,
    CauseForm,
    Counter,
    CounterForm,
    Evidence,
    EvidenceForm,
    Rule,
    RuleFileForm,
    RuleForm,
    Symptom,
    SymptomForm,
    Term,
    TermForm,
)
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.errors import Problem, RuleError, UnreadableFile
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.metric import MetricSpec
from perfcheck.system.bounded_read import read_bounded_text
from perfcheck.system.located_yaml import MAX_PROBLEMS, LocatedFile
from perfcheck.system.place import START, Place, problem_at, show_path
from perfcheck.system.yaml_bounds import YamlBounds

Catalogue = Mapping[str, MetricSpec]
Parsed = TypeVar("Parsed")

MAX_FILE_BYTES: Final = 200_000
MAX_FILES: Final = 200
MAX_RULES: Final = 500
"""Rules and symptoms of all files together."""
MAX_TERMS: Final = 200
_BOUNDS: Final = YamlBounds(characters=MAX_FILE_BYTES, values=10_000, depth=16, scalar=4000)
_BOUNDS_OF_NUMBERS: Final = YamlBounds(characters=1_000_000, values=100_000, depth=8, scalar=200)
_SUFFIXES: Final = (".yaml", ".yml")
FITTED_FILE: Final = "fitted.yaml"
"""Numbers, not rules; its name in the folder of the shipped rules."""
_CAUSALITY: Final = "causality.yaml"
_TREE: Final = "tree.yaml"
_NO_RULES: Final = frozenset({_CAUSALITY, _TREE})
"""Files beside the rules with forms of their own; a later one takes the place of an earlier one of its name."""


def load_rules(
    directories: Iterable[Path] = (), catalogue: Mapping[str, MetricSpec] = CATALOGUE, *, fitted: Fitted | None = None
) -> RuleSet:
    """Load and check the shipped rules and every *.yaml file of the directories, in order of their names.

    A directory's `causality.yaml` and `tree.yaml` take the place of the shipped ones; `fitted` are other numbers than
    the shipped ones. Raises RuleError with every mistake of every file, each with its place.
    """
    shipped = list(_shipped())
    sources = [*shipped, *(source for directory in directories for source in _of_directory(Path(directory)))]
    numbers = _shipped_numbers() if fitted is None else fitted
    try:
        return _loaded(sources, len(shipped), catalogue, numbers)
    except RuleError:
        # The shipped files have no mistakes, but another file can make one of them: then it is told exactly where.
        return _loaded(sources, 0, catalogue, numbers)


def _loaded(
    sources: Sequence[tuple[str, str]], fast: int, catalogue: Mapping[str, MetricSpec], fitted: Fitted
) -> RuleSet:
    """Load the files, so many of the first ones by the fast parser."""
    loader = _Loader(catalogue)
    for number, (file, text) in enumerate(sources):
        if Path(file).name not in _NO_RULES:
            loader.add(file, text, fast=number < fast)
    beside = {
        Path(file).name: _Beside(file=file, text=text, fast=number < fast)
        for number, (file, text) in enumerate(sources)
    }
    return loader.finish(fitted, beside)


def read_fitted(file: str, text: str, *, fast: bool = False) -> Fitted:
    """Check the text of a file of fitted numbers; raises RuleError with its mistakes.

    `fast`: by libyaml, for the shipped file.
    """
    return fitted_of(read_form(file, text, FittedForm, _BOUNDS_OF_NUMBERS, fast=fast)[1])


def read_rules(file: str, text: str, catalogue: Mapping[str, MetricSpec] = CATALOGUE) -> RuleSet:
    """Check one rule file's text by itself, without the shipped rules."""
    loader = _Loader(catalogue)
    loader.add(file, text)
    return loader.finish()


def _shipped() -> Iterator[tuple[str, str]]:
    folder = resources.files("perfcheck.diagnose").joinpath("rules")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(_SUFFIXES) and entry.name != FITTED_FILE:
            yield f"perfcheck/diagnose/rules/{entry.name}", entry.read_text(encoding="utf-8")


def _shipped_numbers() -> Fitted:
    file = resources.files("perfcheck.diagnose").joinpath("rules", FITTED_FILE)
    if not file.is_file():
        return NOT_FITTED
    return read_fitted(f"perfcheck/diagnose/rules/{FITTED_FILE}", file.read_text(encoding="utf-8"), fast=True)


def _of_directory(directory: Path) -> Iterator[tuple[str, str]]:
    if not directory.is_dir():
        raise RuleError(_problem(str(directory), "not a directory: expected one with rule files (*.yaml)"))
    files = sorted(path for path in directory.iterdir() if path.suffix in _SUFFIXES)
    if not files:
        raise RuleError(_problem(str(directory), "no rule file (*.yaml) in it"))
    if len(files) > MAX_FILES:
        raise RuleError(_problem(str(directory), f"expected at most {MAX_FILES} rule files, got {len(files)}"))
    for file in files:
        try:
            yield str(file), read_bounded_text(file, MAX_FILE_BYTES)
        except UnreadableFile as error:
            raise RuleError(_problem(str(file), f"cannot be read: {error.reason}")) from None


def _problem(file: str, message: str) -> Problem:
    return problem_at(file, START, "", message)


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a rule or symptom stands."""

    source: LocatedFile
    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """A file that has no rules; `fast`: it is read by libyaml."""

    file: str
    text: str
    fast: bool


class _Loader:
    """Gathers files, so that all mistakes are told at once."""

    def __init__(self, catalogue: Mapping[str, MetricSpec]) -> None:
        self._catalogue = catalogue
        self._terms: dict[str, Term] = {}
        self._nodes: dict[str, Quantity | Condition] = {}
        self._rules: dict[str, Rule] = {}
        self._symptoms: dict[str, Symptom] = {}
        self._evidence: dict[str, Evidence] = {}
        self._causes: dict[str, Cause] = {}
        self._causes_at: dict[str, _Entry] = {}
        self._entries: dict[str, _Entry] = {}
        self._problems: list[Problem] = []

    def add(self, file: str, text: str, *, fast: bool = False) -> None:
        """Check one file; its mistakes are kept until `finish`."""
        try:
            source, form = read_form(file, text, RuleFileForm, _BOUNDS, fast=fast)
        except RuleError as error:
            self._problems.extend(error.problems)
            return
        before = len(self._rules) + len(self._symptoms) + len(self._evidence)
        if before + len(form.rules) + len(form.symptoms) + len(form.evidence) > MAX_RULES:
            self._problems.append(_problem(file, f"more than {MAX_RULES} rules and symptoms in all files"))
            return
        for index, name in enumerate(form.disable[: MAX_RULES + 1]):
            self._disable(_Entry(source, ("disable", index)), name)
        for index, term in enumerate(form.terms):
            self._add_term(_Entry(source, ("terms", index)), term)
        for index, symptom in enumerate(form.symptoms):
            self._add_symptom(_Entry(source, ("symptoms", index)), symptom)
        for index, rule in enumerate(form.rules):
            self._add_rule(_Entry(source, ("rules", index)), rule)
        for index, evidence in enumerate(form.evidence):
            self._add_evidence(_Entry(source, ("evidence", index)), evidence)
        for index, cause in enumerate(form.causes[: MAX_RULES + 1]):
            self._add_cause(_Entry(source, ("causes", index)), cause)

    def finish(self, fitted: Fitted = NOT_FITTED, beside: Mapping[str, _Beside] | None = None) -> RuleSet:
        """Return the rules, or raise RuleError with all mistakes.

        `beside` has the files that are no rules, by name.
        """
        self._check_explains()
        if self._problems:
            raise RuleError(*self._problems[:MAX_PROBLEMS])
        rules = RuleSet(
            rules=tuple(self._rules.values()),
            symptoms=tuple(self._symptoms.values()),
            terms=tuple(self._terms.values()),
            evidence=tuple(self._evidence.values()),
            causes=self._causes,
            fitted=fitted,
        )
        beside = beside or {}
        if (graph := beside.get(_CAUSALITY)) is not None:
            causality = read_causality(graph.file, graph.text, self._catalogue, self._nodes, fast=graph.fast)
            rules = replace(rules, causality=causality)
        if (tree := beside.get(_TREE)) is not None:
            rules = replace(rules, tree=read_tree(tree.file, tree.text, self._catalogue, self._nodes, fast=tree.fast))
        return rules

    def _add_term(self, entry: _Entry, form: TermForm) -> None:
        if len(self._terms) >= MAX_TERMS:
            self._add_problem(entry, entry.path, f"more than {MAX_TERMS} terms in all files")
            return
        known = self._terms.get(form.name)
        if known is not None:
            self._add_problem(
                entry,
                (*entry.path, "name"),
                f"duplicate term {form.name!r}, already defined as `{known.text}`",
            )
            return
        node = self._parsed(entry, form.stands_for, ("is",), parse_term)
        if node is not None:
            self._nodes[form.name] = node
            self._terms[form.name] = Term(
                name=form.name, text=_one_line(form.stands_for), node=node, meaning=form.meaning
            )  # fmt: skip

    def _add_symptom(self, entry: _Entry, form: SymptomForm) -> None:
        condition = self._condition(entry, form.when, "when")
        if not self._claim(entry, form.name, replace=form.replace, table=self._symptoms) or condition is None:
            return
        self._symptoms[form.name] = Symptom(
            name=form.name, symptom=form.symptom, text=_one_line(form.when), condition=condition, weight=form.weight,
            evidence=form.evidence, judged=form.judged, origin=_origin(entry),
            digest=self._digest(form.judged, form.when),
        )  # fmt: skip

    def _add_rule(self, entry: _Entry, form: RuleForm) -> None:
        condition = self._condition(entry, form.when, "when")
        against = [self._counter(entry, index, counter) for index, counter in enumerate(form.against)]
        counters = tuple(counter for counter in against if counter is not None)
        if not self._claim(entry, form.name, replace=form.replace, table=self._rules) or condition is None:
            return
        self._rules[form.name] = Rule(
            name=form.name, cause=form.cause, text=_one_line(form.when), condition=condition, weight=form.weight,
            severity=form.severity, evidence=form.evidence, advice=form.advice, explains=form.explains,
            against=counters, judged=form.judged, origin=_origin(entry),
            digest=self._digest(form.judged, form.when, *(counter.when for counter in form.against)),
        )  # fmt: skip

    def _add_evidence(self, entry: _Entry, form: EvidenceForm) -> None:
        condition = self._condition(entry, form.when, "when")
        given = None if form.given is None else self._condition(entry, form.given, "given")
        for cause in form.says:
            if cause not in CAUSES:
                path = (*entry.path, "says", cause)
                message = f"{cause!r} is not a cause{nearest(cause, CAUSES)}"
                self._add_problem(entry, path, message, entry.source.key_place(path))
        if not self._claim(entry, form.name, replace=form.replace, table=self._evidence) or condition is None:
            return
        self._evidence[form.name] = Evidence(
            name=form.name, text=_one_line(form.when), condition=condition, says=form.says, leak=form.leak,
            sentence=form.sentence, layer=form.layer, judged=form.judged, origin=_origin(entry), given=given,
            given_text=_one_line(form.given or ""),
            digest=self._digest(form.judged, form.when, *([] if form.given is None else [form.given])),
        )  # fmt: skip

    def _add_cause(self, entry: _Entry, form: CauseForm) -> None:
        """Keep what a file says of a cause; what it leaves out stays as an earlier file has it."""
        before = self._causes.get(form.name, Cause(name=form.name))
        self._causes[form.name] = Cause(
            name=form.name, prior=form.prior or before.prior, severity=form.severity or before.severity,
            advice=form.advice or before.advice,
            explains=before.explains if form.explains is None else form.explains,
        )  # fmt: skip
        if form.explains is not None:
            self._causes_at[form.name] = entry

    def _digest(self, judged: str, *texts: str) -> str:
        return digest_of((judged, *texts), {name: term.text for name, term in self._terms.items()})

    def _counter(self, entry: _Entry, index: int, form: CounterForm) -> Counter | None:
        condition = self._condition(entry, form.when, "against", index, "when")
        if condition is None:
            return None
        return Counter(text=_one_line(form.when), condition=condition, weight=form.weight, evidence=form.evidence)

    def _condition(self, entry: _Entry, text: str, *path: str | int) -> Condition | None:
        return self._parsed(entry, text, path, parse_condition)

    def _parsed(
        self, entry: _Entry, text: str, path: tuple[str | int, ...], parse: Callable[[str, Catalogue, Terms], Parsed]
    ) -> Parsed | None:
        """Parse a text of the file; a mistake is kept with its place and gives None."""
        try:
            return parse(text, self._catalogue, self._nodes)
        except ConditionError as error:
            whole = (*entry.path, *path)
            raw = entry.source.raw(whole)
            stripped = len(raw) - len(raw.lstrip())  # the form strips white space
            place = entry.source.place_within(whole, stripped + error.offset)
            self._add_problem(entry, whole, str(error), place)
            return None

    def _claim(self, entry: _Entry, name: str, *, replace: bool, table: Mapping[str, object]) -> bool:
        """Take the name; a name that is taken must be replaced on purpose, and one that is not must be new."""
        taken = self._entries.get(name)
        if taken is not None and not (replace and name in table):
            message = f"{name!r} is already defined at {_origin(taken)}: choose another name, or set `replace: true`"
            self._add_problem(entry, (*entry.path, "name"), message)
            return False
        if taken is None and replace:
            message = f"there is no {name!r} to replace{nearest(name, self._entries)}"
            self._add_problem(entry, (*entry.path, "name"), message)
            return False
        self._entries[name] = entry
        return True

    def _disable(self, entry: _Entry, name: str) -> None:
        if name not in self._entries:
            self._add_problem(
                entry, entry.path,
                f"there is no {name!r} in the files before this one{nearest(name, self._entries)}",
            )  # fmt: skip
            return
        self._rules.pop(name, None)
        self._symptoms.pop(name, None)
        self._evidence.pop(name, None)
        del self._entries[name]

    def _check_explains(self) -> None:
        known = {symptom.symptom: None for symptom in self._symptoms.values()}
        stated = [(self._entries[rule.name], rule.explains) for rule in self._rules.values()]
        stated += [(entry, self._causes[name].explains) for name, entry in self._causes_at.items()]
        for entry, explains in stated:
            for index, symptom in enumerate(explains):
                if symptom not in known:
                    path = (*entry.path, "explains", index)
                    message = (
                        f"{symptom!r} is not a symptom: expected {', '.join(known) or 'none, as no file declares one'}"
                    )
                    self._add_problem(entry, path, message)

    def _add_problem(self, entry: _Entry, path: Sequence[str | int], message: str, place: Place | None = None) -> None:
        """Keep a mistake, at the place of the value where no other is given."""
        if len(self._problems) < MAX_PROBLEMS:
            found = place or entry.source.place(path)
            self._problems.append(problem_at(entry.source.file, found, show_path(path), message))


def _origin(entry: _Entry) -> str:
    return f"{entry.source.file}:{entry.source.place(entry.path).line}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
