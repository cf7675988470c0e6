"""Checks a file of the diagnosis against its form; each mistake has its place, in a user's words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perfcheck.diagnose.causality import EdgeForm, StateForm
from perfcheck.diagnose.fitted import FittedBitForm
from perfcheck.diagnose.parsing import MAX_NAME
from perfcheck.diagnose.rule import CauseForm, CounterForm, EvidenceForm, RuleForm, SymptomForm, TermForm
from perfcheck.diagnose.tree import BranchForm
from perfcheck.errors import FileError, Problem, RuleError
from perfcheck.model.causes import CAUSES
from perfcheck.system.located_yaml import MAX_PROBLEMS, LocatedFile, read_located
from perfcheck.system.place import problem_at, show_path
from perfcheck.system.yaml_bounds import YamlBounds

Form = TypeVar("Form", bound=BaseModel)

_FORMS: Final[Mapping[str, type[BaseModel]]] = {
    "terms": TermForm,
    "rules": RuleForm,
    "symptoms": SymptomForm,
    "against": CounterForm,
    "evidence": EvidenceForm,
    "causes": CauseForm,
    "bits": FittedBitForm,
    "states": StateForm,
    "leads_to": EdgeForm,
    "tree": BranchForm,
    "branches": BranchForm,
}
_PROBABILITIES: Final = ("weight", "leak", "prior")
_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "expected a text",
    "string_too_short": "must not be empty",
    "tuple_type": "expected a list",
    "model_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}


def read_form(
    file: str, text: str, form: type[Form], bounds: YamlBounds, *, fast: bool = False
) -> tuple[LocatedFile, Form]:
    """Return a file's text as its form, and the places of its values; raises RuleError with its mistakes.

    `fast`: places inside a condition are approximate.
    """
    try:
        source = read_located(file, text, bounds, fast=fast)
    except FileError as error:
        raise RuleError(*error.problems) from None
    try:
        return source, form.model_validate(source.value)
    except ValidationError as error:
        raise RuleError(*(_translated(source, each, form) for each in error.errors()[:MAX_PROBLEMS])) from None


def _translated(source: LocatedFile, details: ErrorDetails, form: type[BaseModel]) -> Problem:
    """Turn the validator's error into one of ours, with its place."""
    path = details["loc"]
    kind = details["type"]
    place = source.key_place(path) if kind == "extra_forbidden" else source.place(path)
    if kind == "extra_forbidden":
        message = f"unknown key {str(path[-1])!r}{nearest(str(path[-1]), _known_keys(path, form))}"
        path = path[:-1]
    elif kind == "missing":
        message = f"the key {path[-1]!r} is missing"
        path = path[:-1]
    elif kind == "value_error":
        message = details["msg"].removeprefix("Value error, ")
        named = path[-1] == "cause" or path[0] == "causes"
        message += nearest(str(details["input"]), CAUSES) if named else ""
    else:
        shown = repr(details["input"])
        message = f"{_expected(path, details)}, got {shown if len(shown) <= 60 else f'{shown[:57]}...'}"
    return problem_at(source.file, place, show_path(path), message)


def _expected(path: Sequence[str | int], details: ErrorDetails) -> str:
    """Say in a user's words what the validator expected."""
    kind = details["type"]
    if path and (path[-1] in _PROBABILITIES or "says" in path[:-1]):
        return "expected a number above 0 and below 1"
    if path and path[-1] == "says":
        return "expected a mapping of causes to numbers above 0 and below 1"
    if kind == "string_too_long":
        return f"expected a text of at most {details['ctx']['max_length']} characters"
    if kind == "string_pattern_mismatch" and path[0] == "states":
        return "expected a name of lower-case letters, digits and spaces"
    if kind == "string_pattern_mismatch":
        return "expected a name of lower-case letters, digits, '-' and '_'"
    if kind == "literal_error":
        return f"expected {details.get('ctx', {}).get('expected', 'another value')}"
    return _EXPECTED.get(kind) or details["msg"]


def _known_keys(path: Sequence[str | int], whole: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys that may stand beside the last of the path; `whole` is the file's form."""
    names = [part for part in path[:-1] if isinstance(part, str)]
    form = _FORMS.get(names[-1]) if names else whole
    fields = form.model_fields.items() if form is not None else ()
    return tuple(field.alias or name for name, field in fields)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that looks most like this one; empty where none does."""
    near = difflib.get_close_matches(name, list(known), n=1) if len(name) <= MAX_NAME else []
    return f"; did you mean {near[0]}?" if near else ""
