"""Fills in what the texts of the matrix name in braces: `{rate_bps * 0.5}bit`, `{python} {programs}/hog.py`.

Names that are no parameter, such as the hosts in a command, are left alone; in a calculation they are a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from perfcheck.faults.document import Values

_WORD: Final = r"[a-z0-9_.]+"
_BRACED: Final = re.compile(rf"\{{({_WORD}(?:\s*[*/+-]\s*{_WORD})*)\}}")
_TOKEN: Final = re.compile(rf"([*/+-])\s*({_WORD})")
_WHOLE_FROM: Final = 20


def filled(value: Any, values: Values) -> Any:
    """Return the value with all texts in it filled in; a text that is one pair of braces becomes its value.

    Raises:
        ValueError: a calculation with a name that is no parameter, or with one that is no number.
    """
    if isinstance(value, str):
        return _text(value, values)
    if isinstance(value, Mapping):
        return {key: filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, values) for inner in value]
    return value


def _text(text: str, values: Values) -> Any:
    whole = _BRACED.fullmatch(text)
    if whole is not None:
        return _evaluated(whole, values)
    return _BRACED.sub(lambda match: str(_evaluated(match, values)), text)


def _evaluated(match: re.Match[str], values: Values) -> Any:
    first = re.match(_WORD, match[1])
    assert first is not None  # noqa: S101 - the pattern begins with a word
    steps = _TOKEN.findall(match[1][first.end() :])
    if not steps:
        return values.get(first[0], match[0])
    result = _number(first[0], values)
    for operator, word in steps:
        number = _number(word, values)
        if operator == "/" and number == 0:
            raise ValueError(f"{match[0]} divides by zero")
        result = {
            "*": result * number, "+": result + number, "-": result - number, "/": result / (number or 1.0),
        }[operator]  # fmt: skip
    return round(result) if abs(result) >= _WHOLE_FROM or result == round(result) else float(f"{result:.4g}")


def _number(word: str, values: Values) -> float:
    value = values.get(word, word)
    try:
        return float(value)
    except ValueError:
        if word in values:
            raise ValueError(f"{word} is {value!r}, not a number") from None
        known = ", ".join(sorted(values))
        raise ValueError(f"{word!r} is neither a number nor a parameter; parameters are {known}") from None
