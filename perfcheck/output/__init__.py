"""Writers of run records: console, JSON lines, JUnit, KTAP, GitHub; and the cases that all of them report."""

from __future__ import annotations

from perfcheck.output.cases import Case, Status, cases
from perfcheck.output.console import ConsoleOutput
from perfcheck.output.github import GithubOutput
from perfcheck.output.jsonl import JsonLinesOutput, read_records
from perfcheck.output.junit import JunitOutput
from perfcheck.output.ktap import KtapOutput
from perfcheck.output.outputs import Outputs
from perfcheck.output.progress import ConsoleProgress

__all__ = [
    "Case", "ConsoleOutput", "ConsoleProgress", "GithubOutput", "JsonLinesOutput", "JunitOutput", "KtapOutput",
    "Outputs", "Status", "cases", "read_records",
]  # fmt: skip
