"""Turns the validating library's errors into problems with a position and a text that says how to fix the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from perfcheck.errors import Problem
from perfcheck.scenario.schema import known_keys, subschemas
from perfcheck.scenario.suggest import hint
from perfcheck.scenario.tree import Document, Found, Listing, Node, Scalar, Table
from perfcheck.system.place import Loc

_WANTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "text",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
    "string_too_long": "at most {max_length}",
}
_PITFALLS: Final = (
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*"), "write it without '_'"),
    (re.compile(r"[0-9]+(:[0-9]+)+"), "YAML readers differ on ':' in numbers; give a unit, such as 600s"),
    (re.compile(r"[-+]?0([0-9]+|x[0-9a-fA-F]+|o[0-7]+|b[01]+)"), "write it in decimal digits without a leading 0"),
)
_LIMITS: Final = ("more than", "at least", "less than", "at most")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
MAX_MISTAKES: Final = 200
"""Errors of the library that are explained; a file with more has one mistake many times."""
_KEY: Final = "[key]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mistake:
    """One error of the library: what it led to, and the union (by its place) whose branch raised it."""

    found: Found
    loc: Loc
    missing: tuple[str | int, ...]
    union: Loc | None
    details: ErrorDetails


def explain(error: ValidationError, document: Document) -> list[Problem]:
    """Return each of the library's errors as a problem; branches of one union become one."""
    unions: dict[Loc, list[_Mistake]] = {}
    problems: list[Problem] = []
    for details in error.errors(include_url=False)[:MAX_MISTAKES]:
        mistake = _locate(details, document)
        if _follows(mistake):
            continue
        if mistake.union is None:
            problems.append(_problem(mistake, _message(mistake), document))
        else:
            unions.setdefault(mistake.union, []).append(mistake)
    for loc, branches in unions.items():
        deepest = max(len(mistake.loc) for mistake in branches)
        if deepest > len(loc):
            inner = (mistake for mistake in branches if len(mistake.loc) == deepest)
            problems += [_problem(mistake, _message(mistake), document) for mistake in inner]
        else:
            problems.append(_problem(branches[0], _either(branches), document))
    return problems


def example_of(loc: Loc, *, lists_only: bool = False) -> str | None:
    """Return the schema's example of the value at a path as YAML on one line, or None where it is long or missing."""
    for part in subschemas(loc):
        for example in part.get("examples", ()):
            text = flow_text(example)
            if len(text) <= 100 and (isinstance(example, list) or not lists_only):
                return text
    return None


def flow_text(value: object) -> str:
    """Write a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _locate(details: ErrorDetails, document: Document) -> _Mistake:
    """Follow an error's path; steps that are no keys of the file (names of union branches) are left out."""
    loc: Loc = ()
    union: Loc | None = None
    missing: tuple[str | int, ...] = ()
    for step in details["loc"]:
        if not document.find((*loc, step)).rest:
            loc = (*loc, step)
        elif details["type"] == "missing" and step == details["loc"][-1]:
            missing = (step,)
        elif step != _KEY and union is None:
            union = loc
    return _Mistake(found=document.find(loc), loc=loc, missing=missing, union=union, details=details)


def _follows(mistake: _Mistake) -> bool:
    """Whether an error only follows from others: the library counts a list's valid items, the file has enough."""
    if mistake.details["type"] != "too_short":
        return False
    node = mistake.found.node
    given = len(node.items) if isinstance(node, Listing) else len(node.entries) if isinstance(node, Table) else 0
    return given >= int(mistake.details.get("ctx", {}).get("min_length", 0))


def _problem(mistake: _Mistake, message: str, document: Document) -> Problem:
    of_the_key = mistake.details["type"] == "extra_forbidden" or _KEY in mistake.details["loc"]
    place = mistake.found.key if of_the_key else mistake.found.node.place
    return document.problem(place, mistake.found.path, message)


def _message(mistake: _Mistake) -> str:
    kind, node = mistake.details["type"], mistake.found.node
    if kind == "extra_forbidden":
        return f"unknown key{hint(str(mistake.loc[-1]), known_keys(mistake.loc[:-1]))}"
    if kind == "missing":
        return _missing(mistake)
    if kind == "value_error":
        return _own_words(mistake)
    wanted = _wanted(mistake)
    if wanted is None:
        return f"{mistake.details['msg']}, got {_got(node)}"
    such_as = "" if kind == "string_too_long" else _such_as(mistake.loc)
    if such_as and wanted.startswith(_LIMITS):
        such_as = f",{such_as}"
    return f"expected {wanted}{such_as}, got {_got(node)}{_advice(wanted, node)}"


def _either(branches: list[_Mistake]) -> str:
    first = branches[0]
    wanted = list(dict.fromkeys(_wanted(mistake) or "another value" for mistake in branches))
    words = " or ".join([", ".join(wanted[:-1]), wanted[-1]] if len(wanted) > 1 else wanted)
    example = example_of(first.loc, lists_only=wanted[-1] == "a list")
    such_as = f" such as {example}" if example else ""
    return f"expected {words}{such_as}, got {_got(first.found.node)}"


def _missing(mistake: _Mistake) -> str:
    step = mistake.missing[0] if mistake.missing else ""
    if isinstance(step, int):
        return f"expected {_count(mistake.loc, 'minItems')}{_such_as(mistake.loc)}, got {_got(mistake.found.node)}"
    example = example_of((*mistake.loc, step))
    return f"the key {step!r} is missing" + (f"; for example {step}: {example}" if example else "")


def _own_words(mistake: _Mistake) -> str:
    """Return the text of our own validators, with the value as the file has it instead of Python's."""
    message = str(mistake.details["ctx"]["error"]) if "ctx" in mistake.details else mistake.details["msg"]
    before, given, after = message.rpartition(f", got {mistake.details['input']!r}")
    if not given:
        return message
    if _KEY in mistake.details["loc"]:
        return message
    node = mistake.found.node
    return f"{before}, got {_got(node)}{after}{_advice('', node)}"


def _wanted(mistake: _Mistake) -> str | None:
    words = _WANTED.get(mistake.details["type"])
    if words is None:
        return None
    context: dict[str, Any] = dict(mistake.details.get("ctx", {}))
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", "")
    for limit in ("min_length", "max_length"):
        if limit in context:
            one, many = (
                ("character", "characters") if mistake.details["type"].startswith("string") else ("entry", "entries")
            )
            context[limit] = f"{context[limit]} {one if context[limit] == 1 else many}"
    return words.format_map(context)


def _such_as(loc: Loc) -> str:
    if any("enum" in part or part.get("type") == "boolean" for part in subschemas(loc)):
        return ""
    example = example_of(loc)
    return f" such as {example}" if example else ""


def _count(loc: Loc, limit: str) -> str:
    counts = [part[limit] for part in subschemas(loc) if limit in part]
    return f"{counts[0]} entries" if counts else "more entries"


def _got(node: Node) -> str:
    if isinstance(node, Listing) and node.items:
        return f"a list of {len(node.items)}"
    if isinstance(node, Table) and node.entries:
        return f"a mapping of {len(node.entries)}"
    return node.shown()


def _advice(wanted: str, node: Node) -> str:
    """Return what mends a value that one YAML reader takes for this and another for that."""
    if not isinstance(node, Scalar):
        return ""
    if wanted == "a mapping" and node.value is None:
        return "; write {} for no settings"
    if wanted == "text" and not isinstance(node.value, str) and node.value is not None:
        return "; put it in quotes"
    if wanted == "a whole number" and isinstance(node.value, str) and _INTEGER.fullmatch(node.text):
        plain = not node.text.lstrip("+-").startswith("0") or node.text == "0"
        return "; remove the quotes" if plain else f"; {_PITFALLS[2][1]}"
    found = next((advice for pattern, advice in _PITFALLS if pattern.fullmatch(node.text)), None)
    return f"; {found}" if found else ""
