"""Loads rule files: those that ship with the package, then those of the user's directories."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perfcheck.diagnose.condition import Condition
from perfcheck.diagnose.parsing import MAX_NAME, ConditionError, Terms, parse_condition, parse_term
from perfcheck.diagnose.rule import (
    Counter,
    CounterForm,
    Rule,
    RuleFileForm,
    RuleForm,
    RuleSet,
    Symptom,
    SymptomForm,
    Term,
    TermForm,
)
from perfcheck.errors import FileError, Problem, RuleError, UnreadableFile
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.metric import MetricSpec
from perfcheck.system.bounded_read import read_bounded_text
from perfcheck.system.located_yaml import MAX_PROBLEMS, LocatedFile, read_located
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
_SUFFIXES: Final = (".yaml", ".yml")
_FORMS: Final[Mapping[str, type[BaseModel]]] = {
    "terms": TermForm,
    "rules": RuleForm,
    "symptoms": SymptomForm,
    "against": CounterForm,
}
_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "expected a text",
    "string_too_short": "must not be empty",
    "string_too_long": "expected a sentence of at most 400 characters",
    "tuple_type": "expected a list",
    "model_type": "expected a mapping",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}


def load_rules(directories: Iterable[Path] = (), catalogue: Mapping[str, MetricSpec] = CATALOGUE) -> RuleSet:
    """Load and check the shipped rules and every *.yaml file of the directories, in order of their names.

    Raises RuleError with every mistake of every file, each with its place.
    """
    sources = [*_shipped(), *(source for directory in directories for source in _of_directory(Path(directory)))]
    loader = _Loader(catalogue)
    for file, text in sources:
        loader.add(file, text)
    return loader.finish()


def read_rules(file: str, text: str, catalogue: Mapping[str, MetricSpec] = CATALOGUE) -> RuleSet:
    """Check one rule file's text by itself, without the shipped rules."""
    loader = _Loader(catalogue)
    loader.add(file, text)
    return loader.finish()


def _shipped() -> Iterator[tuple[str, str]]:
    folder = resources.files("perfcheck.diagnose").joinpath("rules")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(_SUFFIXES):
            yield f"perfcheck/diagnose/rules/{entry.name}", entry.read_text(encoding="utf-8")


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


class _Loader:
    """Gathers files, so that all mistakes are told at once."""

    def __init__(self, catalogue: Mapping[str, MetricSpec]) -> None:
        self._catalogue = catalogue
        self._terms: dict[str, Term] = {}
        self._rules: dict[str, Rule] = {}
        self._symptoms: dict[str, Symptom] = {}
        self._entries: dict[str, _Entry] = {}
        self._problems: list[Problem] = []

    def add(self, file: str, text: str) -> None:
        """Check one file; its mistakes are kept until `finish`."""
        try:
            source = read_located(file, text, _BOUNDS)
        except FileError as error:
            self._problems.extend(error.problems)
            return
        try:
            form = RuleFileForm.model_validate(source.value)
        except ValidationError as error:
            self._problems.extend(_translated(source, details) for details in error.errors()[:MAX_PROBLEMS])
            return
        if len(form.rules) + len(form.symptoms) + len(self._rules) + len(self._symptoms) > MAX_RULES:
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

    def finish(self) -> RuleSet:
        """Return the rules, or raise RuleError with all mistakes."""
        self._check_explains()
        if self._problems:
            raise RuleError(*self._problems[:MAX_PROBLEMS])
        return RuleSet(
            rules=tuple(self._rules.values()),
            symptoms=tuple(self._symptoms.values()),
            terms=tuple(self._terms.values()),
        )

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
        )  # fmt: skip

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
            return parse(text, self._catalogue, {name: term.node for name, term in self._terms.items()})
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
            message = f"there is no {name!r} to replace{_nearest(name, self._entries)}"
            self._add_problem(entry, (*entry.path, "name"), message)
            return False
        self._entries[name] = entry
        return True

    def _disable(self, entry: _Entry, name: str) -> None:
        if name not in self._entries:
            self._add_problem(
                entry, entry.path,
                f"there is no {name!r} in the files before this one{_nearest(name, self._entries)}",
            )  # fmt: skip
            return
        self._rules.pop(name, None)
        self._symptoms.pop(name, None)
        del self._entries[name]

    def _check_explains(self) -> None:
        known = {symptom.symptom: None for symptom in self._symptoms.values()}
        for rule in self._rules.values():
            entry = self._entries[rule.name]
            for index, symptom in enumerate(rule.explains):
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


def _translated(source: LocatedFile, details: ErrorDetails) -> Problem:
    """Turn the validator's error into one of ours, with its place."""
    path = details["loc"]
    kind = details["type"]
    place = source.key_place(path) if kind == "extra_forbidden" else source.place(path)
    if kind == "extra_forbidden":
        message = f"unknown key {str(path[-1])!r}{_nearest(str(path[-1]), _known_keys(path))}"
        path = path[:-1]
    elif kind == "missing":
        message = f"the key {path[-1]!r} is missing"
        path = path[:-1]
    elif kind == "value_error":
        message = details["msg"].removeprefix("Value error, ")
        message += _nearest(str(details["input"]), CAUSES) if path[-1] == "cause" else ""
    else:
        shown = repr(details["input"])
        message = f"{_expected(path, details)}, got {shown if len(shown) <= 60 else f'{shown[:57]}...'}"
    return problem_at(source.file, place, show_path(path), message)


def _expected(path: Sequence[str | int], details: ErrorDetails) -> str:
    """Say in a user's words what the validator expected."""
    kind = details["type"]
    if path and path[-1] == "weight":
        return "expected a number above 0 and below 1"
    if kind == "string_pattern_mismatch":
        return "expected a name of lower-case letters, digits, '-' and '_'"
    if kind == "literal_error":
        return f"expected {details.get('ctx', {}).get('expected', 'another value')}"
    return _EXPECTED.get(kind) or details["msg"]


def _known_keys(path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that may stand beside the last of the path."""
    names = [part for part in path[:-1] if isinstance(part, str)]
    if not names:
        return ("schema", "terms", "symptoms", "rules", "disable")
    form = _FORMS.get(names[-1])
    fields = form.model_fields.items() if form is not None else ()
    return tuple(field.alias or name for name, field in fields)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1) if len(name) <= MAX_NAME else []
    return f"; did you mean {near[0]}?" if near else ""
