"""The tables of docs/scenario-file.md, made from the JSON Schema, so that page and code always agree.

`python -m perfcheck.scenario.reference docs/scenario-file.md` rewrites them between the page's two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from perfcheck.model.quantities import AT_LEAST, AT_MOST
from perfcheck.scenario.explain import flow_text
from perfcheck.scenario.schema import known_keys, subschemas
from perfcheck.system.place import Loc
from perfcheck.system.printing import say

BEGIN: Final = "<!-- tables: begin -->"
END: Final = "<!-- tables: end -->"

_SECTIONS: Final[tuple[tuple[str, Loc], ...]] = (
    ("Top level", ()),
    ("`hosts.<name>`", ("hosts", "client")),
    ("`links[i]`", ("links", 0)),
    ("`links[i].jitter` as a mapping", ("links", 0, "jitter")),
    ("`links[i].queue` as a mapping", ("links", 0, "queue")),
    ("`links[i].policer`", ("links", 0, "policer")),
    ("`links[i].loss` as a mapping", ("links", 0, "loss")),
    ("`links[i].schedule[j]`", ("links", 0, "schedule", 0)),
    ("`traffic[i]`, exactly one of", ("traffic", 0)),
    ("`traffic[i].iperf3`", ("traffic", 0, "iperf3")),
    ("`traffic[i].http`", ("traffic", 0, "http")),
    ("`traffic[i].sockperf`", ("traffic", 0, "sockperf")),
    ("`traffic[i].connections`", ("traffic", 0, "connections")),
    ("`traffic[i].load`", ("traffic", 0, "load")),
    ("`traffic[i].command`", ("traffic", 0, "command")),
    ("`traffic[i].command.server`", ("traffic", 0, "command", "server")),
    ("`traffic[i].command.report`", ("traffic", 0, "command", "report")),
    ("`traffic[i].command.report.metrics.<name>`", ("traffic", 0, "command", "report", "metrics", "app.x_us")),
    ("`measure`", ("measure",)),
    ("`measure.filter`", ("measure", "filter")),
)
_QUANTITIES: Final = {"ns|us": "duration", "bit|kbit": "rate", "bdp|p": "queue size", "b|kb": "size", "%": "percentage"}


def tables() -> str:
    """Return a table of keys for each block of the file, as Markdown."""
    return "\n".join(_section(title, loc) for title, loc in _SECTIONS)


def insert(page: str) -> str:
    """Return the page with the tables between its markers; ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the markers {BEGIN} and {END}")
    return f"{before}{begin}\n\n{tables()}\n{end}{after}"


def _section(title: str, loc: Loc) -> str:
    lines = [f"### {title}", "", "| key | value | default | example | meaning |", "|---|---|---|---|---|"]
    lines += [_row(loc, key) for key in known_keys(loc)]
    return "\n".join([*lines, ""])


def _row(loc: Loc, key: str) -> str:
    forms = subschemas((*loc, key))
    first = forms[0]
    required = any(key in part.get("required", ()) for part in subschemas(loc))
    default = "required" if required else default_text(first.get("default"))
    example = ", ".join(f"`{flow_text(found)}`" for found in first["examples"])
    values = " or ".join(dict.fromkeys(value for form in forms if (value := value_text(form))))
    cells = (f"`{key}`", values, default, example, str(first["description"]))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def default_text(value: object) -> str:
    """Return a default as the file has it, in Markdown."""
    if isinstance(value, dict):
        value = {key: part for key, part in value.items() if part is not None}
    return "none" if value in (None, "", [], {}) else f"`{flow_text(value)}`"


def value_text(form: Mapping[str, Any]) -> str:
    """Return what a value may be, in words as Markdown; nothing for null."""
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    if "const" in form:
        return f"`{form['const']}`"
    words = {"string": "text", "boolean": "`true`, `false`", "array": "list", "object": "mapping", "null": ""}
    if form["type"] == "integer":
        return f"whole number{_limits(form)}"
    if "pattern" in form:
        quantity = next((name for units, name in _QUANTITIES.items() if f"({units}" in form["pattern"]), "name")
        if AT_LEAST in form:
            return f"{quantity}, {form[AT_LEAST]} to {form[AT_MOST]}"
        return f"{quantity}, at most {form[AT_MOST]}" if AT_MOST in form else quantity
    if form["type"] == "string" and "maxLength" in form:
        return f"text of at most {form['maxLength']} characters"
    most = form.get("maxItems", form.get("maxProperties"))
    return (
        words[form["type"]]
        if most is None or most == form.get("minItems")
        else f"{words[form['type']]} of at most {most}"
    )


def _limits(form: Mapping[str, Any]) -> str:
    low, high = form.get("minimum"), form.get("maximum")
    if low is None:
        return ""
    return f", {low} to {high}" if high is not None else f", at least {low}"


def _main(arguments: list[str]) -> Iterator[str]:
    for name in arguments:
        page = Path(name)
        page.write_text(insert(page.read_text(encoding="utf-8")), encoding="utf-8")
        yield f"{name}: tables written"


if __name__ == "__main__":
    say("\n".join(_main(sys.argv[1:])))
