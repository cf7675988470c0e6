"""The file that a user named: its form, that it is whole, and what is told where it cannot be."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from report_documents import document

from perfcheck.errors import OutputError, UsageError
from perfcheck.report import browser
from perfcheck.report.document import Document
from perfcheck.report.html import render_html
from perfcheck.report.markdown import render_markdown
from perfcheck.report.write import Form, form_of, require_possible, write_report
from perfcheck.system.processes import identify

SMALL = Document(title="t")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.html", Form.HTML),
        ("a.HTM", Form.HTML),
        ("b.md", Form.MARKDOWN),
        ("b.markdown", Form.MARKDOWN),
        ("c.pdf", Form.PDF),
    ],
)
def test_the_name_says_the_form(name: str, form: Form) -> None:
    assert form_of(Path(name)) is form


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^report\.txt: a report's name ends with \.html, \.md or \.pdf$"):
        form_of(Path("report.txt"))


def test_a_file_is_written_into_a_new_folder(tmp_path: Path) -> None:
    write_report(document(), tmp_path / "new" / "report.html")
    write_report(document(), tmp_path / "new" / "report.md")
    write_report(document(), tmp_path / "new" / "odd.txt", Form.MARKDOWN)
    assert (tmp_path / "new" / "report.html").read_text() == render_html(document())
    assert (tmp_path / "new" / "report.md").read_text() == render_markdown(document())
    assert (tmp_path / "new" / "odd.txt").read_text() == render_markdown(document())


def test_a_place_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "report.html", tmp_path):
        with pytest.raises(UsageError, match="cannot write a report"):
            require_possible(path, Form.HTML)


def test_an_earlier_report_stays_where_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.md"
    path.write_text("earlier")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(SMALL, path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_browser_a_pdf_is_refused_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="neither is in PATH: apt-get install chromium, or write HTML"):
        require_possible(tmp_path / "report.pdf")


def fake_browser(folder: Path, lines: str) -> None:
    program = folder / browser.NAMES[0]
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)


def test_a_browser_that_ends_at_once_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_browser(tmp_path, "echo 'no usable sandbox' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(OutputError, match="ended before it printed: no usable sandbox"):
        write_report(SMALL, tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def test_a_browser_that_is_silent_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_browser(tmp_path, f"sleep 600 & echo $$ $! > {tmp_path}/pids; wait")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(browser, "_GRACE_S", 0.05)
    with pytest.raises(OutputError, match="did not print in time"), browser.running(0.5) as running:
        running.open_page()
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    # A process that is killed takes a moment to end.
    deadline = time.monotonic() + 10
    while any(identify(int(pid)) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)
