"""What mkdocs does for this site beyond its own: pages made from the code, and files of the repository as pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

import made
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
SHOWN: Final = "repository"
"""The folder of the site that has the files of the repository which pages link to."""
_OUTWARD: Final = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)\)")
_LANGUAGES: Final = {".yaml": "yaml", ".yml": "yaml", ".py": "python"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code, then the files of the repository that any page links to."""
    for path, content in made.files():
        files.append(File.generated(config, path, content=content))
    linked = {name for file in files.documentation_pages() for name in outward(file.src_uri, file.content_string)}
    for name in sorted(linked):
        files.append(File.generated(config, page_of(name), content=shown(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with its links to files of the repository led to the pages that show them."""
    del config, files
    if page.parent is None:
        # A page without neighbours needs no list of them.
        page.meta["hide"] = ["navigation"]
    here = posixpath.dirname(page.file.src_uri)

    def led(found: re.Match[str]) -> str:
        name = outside(page.file.src_uri, found)
        return found[0] if name is None else f"]({posixpath.relpath(page_of(name), here or '.')})"

    return _OUTWARD.sub(led, markdown)


def outward(page: str, text: str) -> set[str]:
    """Return the files of the repository, outside the folder of the pages, that a page links to."""
    return {name for found in _OUTWARD.finditer(text) if (name := outside(page, found)) is not None}


def outside(page: str, found: re.Match[str]) -> str | None:
    """Return the path in the repository that a link leads to; None where it stays among the pages."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), found[1], found[2]))
    return None if path.startswith("docs/") else path


def page_of(name: str) -> str:
    """Return the path of the page that shows a file; mkdocs leaves out folders whose name begins with a dot."""
    return f"{SHOWN}/{name.replace('/.', '/').lstrip('.')}.md"


def shown(name: str) -> str:
    """Return a page that shows a file of the repository."""
    path = ROOT / name
    if not path.is_file():
        raise PluginError(f"docs link to {name}, which is not a file of the repository")
    text = path.read_text(encoding="utf-8").rstrip()
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    language = _LANGUAGES.get(path.suffix, "")
    return f"# {path.name}\n\n`{name}`\n\n{fence}{language}\n{text}\n{fence}\n"
