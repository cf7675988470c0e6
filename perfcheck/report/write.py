"""Writes a document to the file that a user named, in the form that the name ends with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from perfcheck.errors import OutputError, UsageError
from perfcheck.report import browser
from perfcheck.report.document import Document
from perfcheck.system import files


class Form(StrEnum):
    """A form of a report."""

    HTML = "HTML"
    MARKDOWN = "Markdown"
    PDF = "PDF"


_SUFFIXES: Final = MappingProxyType(
    {".html": Form.HTML, ".htm": Form.HTML, ".md": Form.MARKDOWN, ".markdown": Form.MARKDOWN, ".pdf": Form.PDF}
)


def form_of(path: Path) -> Form:
    """Return the form that a file's name asks for; UsageError where it asks for none."""
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"{path}: a report's name ends with .html, .md or .pdf")
    return form


def require_possible(path: Path, form: Form | None = None) -> None:
    """Raise UsageError where `write_report` could not write: to be asked before minutes of measuring."""
    if (form or form_of(path)) is Form.PDF:
        browser.find()
    try:
        files.require_report_writable(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot write a report: {error.strerror}") from error


def write_report(document: Document, path: Path, form: Form | None = None) -> None:
    """Write a document whole or not at all; without `form`, the file's name says which.

    UsageError for a name or place that cannot be, OutputError where writing fails.
    """
    form = form or form_of(path)
    require_possible(path, form)
    content = content_of(document, form)
    try:
        files.write_report(path, content)
    except OSError as error:
        raise OutputError(f"{path}: cannot write a report: {error.strerror}") from error


def content_of(document: Document, form: Form) -> bytes:
    """Return what a file of this form holds."""
    if form is Form.MARKDOWN:
        from perfcheck.report.markdown import render_markdown

        return render_markdown(document).encode()
    from perfcheck.report.html import render_html

    page = render_html(document)
    if form is Form.HTML:
        return page.encode()
    from perfcheck.report.pdf import pdf_of

    return pdf_of(page)
