"""The commands and scenarios that the pages show are ones that today's parsers and loader take."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml
from _pytest.config import get_config
from _pytest.config.argparsing import Parser
from docs_pages import PAGES, ROOT, Block, CommandLine, blocks, command_lines
from made.commands import subcommands

from perfcheck.cli import arguments
from perfcheck.cli.perfctl import registry
from perfcheck.scenario import load

LINES: Final = [line for page in PAGES for line in command_lines(page)]
SCENARIOS: Final = [
    block for page in PAGES for block in blocks(page)
    if block.language == "yaml" and re.search(r"^scenario:", block.text, re.MULTILINE)
]  # fmt: skip
INLINE: Final = re.compile(r"`((?:perfcheck|perfctl|pytest) [^`\n]*--[^`\n]*)`")


@cache
def pytest_parser() -> Parser:
    """Return pytest's own parser, with the options of our plugin and of xdist."""
    config = get_config([])
    for plugin in ("perfcheck.plugin", "xdist.plugin"):
        config.pluginmanager.import_plugin(plugin)
    return config._parser


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_command_line_parses(line: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["file" if word.startswith("$") else word for word in line.words]
    try:
        if line.program == "perfcheck":
            arguments.parse(words)
        elif line.program == "perfctl":
            registry.parse(words)
        else:
            assert pytest_parser().parse_known_and_unknown_args(words)[1] == []
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_many_lines_of_all_three_programs_are_looked_at() -> None:
    assert len(LINES) > 100
    assert {line.program for line in LINES} == {"perfcheck", "perfctl", "pytest"}


def test_a_wrong_option_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert pytest_parser().parse_known_and_unknown_args(["--baselin-save"])[1] == ["--baselin-save"]
    with pytest.raises(SystemExit):
        arguments.parse(["run", "FILE", "--jsn", "x"])
    assert "--jsn" in capsys.readouterr().err


def options_of(words: list[str]) -> frozenset[str]:
    """Return the options that a command of one of the programs has."""
    if words[0] == "pytest":
        return frozenset(pytest_parser().optparser._option_string_actions)
    parser: ArgumentParser = arguments.parser_of_all() if words[0] == "perfcheck" else registry.parser_of_all()[0]
    for word in words[1:]:
        if word not in subcommands(parser):
            break
        parser, _ = subcommands(parser)[word]
    return frozenset(parser._option_string_actions)


def inline() -> Iterator[tuple[str, str]]:
    """Yield each command line with options that stands in running text, with its page."""
    for page in PAGES:
        for found in INLINE.finditer(page.read_text(encoding="utf-8")):
            yield str(page.relative_to(ROOT)), found[1].partition(" | ")[0]


@pytest.mark.parametrize("page", sorted({page for page, _ in inline()}))
def test_options_in_running_text_are_there(page: str) -> None:
    for where, line in inline():
        if where == page:
            named = {word.partition("=")[0] for word in re.findall(r"(?<=[ \[])--[a-z][a-z0-9-]*", line)}
            words = [word for word in line.split() if not word.startswith("-")]
            assert named <= options_of(words), f"{page}: {line}"


@pytest.mark.parametrize("block", SCENARIOS, ids=lambda block: f"{block.page}:{block.line}")
def test_a_scenario_loads(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(block.text)
    assert load(path)[0].name == yaml.safe_load(block.text)["scenario"]


def test_the_scenarios_of_the_tutorial_and_of_the_ticket_are_looked_at() -> None:
    names = {yaml.safe_load(block.text)["scenario"] for block in SCENARIOS}
    assert {"branch-upload", "ticket-4711-slow-backup", "office-upload"} <= names


def test_the_ticket_is_shown_as_it_ships() -> None:
    (shown,) = [block for block in SCENARIOS if block.page.endswith("keep-a-ticket.md")]
    shipped = yaml.safe_load((ROOT / "scenarios/ticket-4711-slow-backup.yaml").read_text())
    assert yaml.safe_load(shown.text) == shipped


def test_the_table_of_tasks_names_each_task_once() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]*\]\(", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 20
    assert sorted(set(rows)) == sorted(rows)
