"""Puts new values of `repeat` and `tolerance` into a scenario file's text; the rest stays unchanged."""

from __future__ import annotations

from collections.abc import Mapping

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from perfcheck.errors import ScenarioError, UsageError
from perfcheck.scenario.loader import ScenarioFile, read_text

_STEP = 2


def with_values(text: str, file: str, *, repeat: int | None, tolerance_pct: Mapping[str, float]) -> str:
    """Return the file's text with these values, comments and layout kept; None and missing metrics change nothing.

    ScenarioError for a text that is no scenario, UsageError for one in which they cannot be put
    by machine (values behind an alias), with what to write by hand.
    """
    before = read_text(text, file)
    wanted = {metric: f"{pct:g}%" for metric, pct in tolerance_pct.items()}
    try:
        edited = text
        if repeat is not None:
            edited = _with_key(edited, ("repeat",), str(repeat))
        for metric, value in wanted.items():
            edited = _with_key(edited, ("tolerance", metric), value)
        if _says(read_text(edited, file), before, repeat, tolerance_pct):
            return edited
    except (ScenarioError, _NotHere):
        pass
    by_hand = "".join(f"\n  {metric}: {value}" for metric, value in wanted.items())
    raise UsageError(
        f"{file}: perfcheck cannot edit this file; add these lines yourself:"
        + (f"\nrepeat: {repeat}" if repeat is not None else "")
        + (f"\ntolerance:{by_hand}" if wanted else "")
    )


class _NotHere(Exception):  # noqa: N818 - not an error of the user's
    """The value stands where an edit would change something else as well."""


def _says(after: ScenarioFile, before: ScenarioFile, repeat: int | None, tolerance_pct: Mapping[str, float]) -> bool:
    """Whether the edited file says what was wanted, and otherwise what it said before."""
    expected = tuple(
        scenario.model_copy(
            update={
                "repeat": scenario.repeat if repeat is None else repeat,
                "tolerance_pct": {**scenario.tolerance_pct, **tolerance_pct},
                "digest": "",
            }
        )
        for scenario in before.scenarios
    )
    return expected == tuple(scenario.model_copy(update={"digest": ""}) for scenario in after.scenarios)


def _with_key(text: str, path: tuple[str, ...], value: str) -> str:
    """Set one value; a key that is not there yet comes last in its mapping."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, key in enumerate(path):
        if not isinstance(node, MappingNode):
            raise _NotHere
        found = _entry(node, key)
        if found is None:
            return _added(text, node, path[depth:], value)
        node = found
    if not isinstance(node, ScalarNode):
        raise _NotHere
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _entry(node: MappingNode, key: str) -> Node | None:
    for place, (name, value) in enumerate(node.value):
        if name.value == key:
            after = node.value[place + 1][0].start_mark.index if place + 1 < len(node.value) else node.end_mark.index
            # An alias is composed as the node that it stands for, with that one's place.
            if not name.end_mark.index < value.start_mark.index <= after:
                raise _NotHere
            found: Node = value
            return found
    return None


def _added(text: str, node: MappingNode, path: tuple[str, ...], value: str) -> str:
    if node.flow_style:
        for key in reversed(path[1:]):
            value = f"{{{key}: {value}}}"
        end = node.end_mark.index - 1
        return f"{text[:end].rstrip()}{', ' if node.value else ''}{path[0]}: {value}{text[end:]}"
    indent = node.start_mark.column
    lines = [f"{' ' * (indent + _STEP * depth)}{key}:" for depth, key in enumerate(path)]
    added = "\n".join(lines) + f" {value}\n"
    end = _end_of_line(text, _last_character(node))
    return f"{text[:end]}{'' if text[:end].endswith(chr(10)) else chr(10)}{added}{text[end:]}"


def _last_character(node: Node) -> int:
    """Return where a value's own text ends: the marks of block collections lie behind the comments after them."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _last_character(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _last_character(node.value[-1])
    end: int = node.end_mark.index
    return end


def _end_of_line(text: str, index: int) -> int:
    if index and text[index - 1] == "\n":
        return index
    newline = text.find("\n", index)
    return len(text) if newline < 0 else newline + 1
