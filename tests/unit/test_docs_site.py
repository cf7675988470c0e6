"""The documentation as a site: it builds with strict links, says what the code says, and works offline in a browser."""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from made import commands, markdown, python_api, records, scenario
from playwright.sync_api import Browser, Page, sync_playwright

from perfcheck.cli.arguments import parser_of_all
from perfcheck.cli.perfctl.registry import parser_of_all as parsers_of_perfctl
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.event import Event, EventKind
from perfcheck.model.metric import Layer
from perfcheck.model.record import RunRecord
from perfcheck.scenario.schema import json_schema

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "docs/site/mkdocs.yml"
LOADED: Final = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?([^"'\s>]+)""")


def built(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Build a site strictly."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), *more]
    known = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=known)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site strictly and return its folder."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = built(CONFIG, "--site-dir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text_of(page: Path) -> str:
    """Return a page's words as a reader sees them."""
    article = re.search(r"<article.*?</article>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert article
    return html.unescape(re.sub(r"<[^>]+>", "", article[0]))


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    """With the same validation as the site's own configuration."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# A page\n\n[nothing](nothing.md) [nowhere](#nowhere)\n")
    validation = yaml.safe_dump({"validation": config()["validation"]})
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\n{validation}")
    done = built(tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    assert "nothing.md" in done.stderr
    assert "#nowhere" in done.stderr


def config() -> dict[str, Any]:
    """Return the site's configuration; the one function in it is left out."""
    found = yaml.safe_load(re.sub(r"!!python/\S+ \{.*?\}\}", "null", CONFIG.read_text(encoding="utf-8")))
    assert isinstance(found, dict)
    return found


def nav_of(entries: list[Any]) -> Iterator[str]:
    """Yield the pages that the navigation names."""
    for entry in entries:
        (found,) = entry.values()
        if isinstance(found, str):
            yield found
        else:
            yield from nav_of(found)


def test_every_page_is_in_the_navigation_once(site: Path) -> None:
    named = list(nav_of(config()["nav"]))
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert len(set(named)) == len(named)
    assert written <= set(named)
    assert [page for page in named if not (site / page).with_suffix(".html").is_file()] == []
    assert [cause for cause in CAUSES if f"causes/{cause}.md" not in named] == []


def test_no_markup_is_left_in_the_text(site: Path) -> None:
    """What GitHub takes for a list or code, such as one right below a paragraph, mkdocs may not."""
    for page in site.rglob("*.html"):
        article = re.search(r"<article.*?</article>", page.read_text(encoding="utf-8"), re.DOTALL)
        plain = re.sub(r"<(pre|code)\b.*?</\1>", "x", article[0] if article else "", flags=re.DOTALL)
        for part in re.findall(r"<(?:p|li|td)>(.*?)</(?:p|li|td)>", plain, re.DOTALL):
            text = html.unescape(re.sub(r"<[^>]+>", "", part))
            left = re.search(r"^\s*(?:[-*$#|] |\d+\. )|```|(?<!\d)\*\*|\[[^\]]+\]\(", text, re.MULTILINE)
            assert left is None, f"{page.relative_to(site)}: {text[:200]}"


def test_no_page_loads_anything_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        loaded = LOADED.findall(page.read_text(encoding="utf-8"))
        assert loaded
        assert [url for url in loaded if re.match(r"(?:[a-z]+:)?//", url)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet
    assert not list(site.rglob("*.py"))


def test_every_metric_is_told(site: Path) -> None:
    page = site / "reference/metrics.html"
    text, source = text_of(page), page.read_text(encoding="utf-8")
    for spec in CATALOGUE.values():
        assert f'id="{markdown.anchor_of(spec.name)}"' in source
        assert spec.name in text
        assert " ".join(spec.meaning.replace("`", "").split()) in text
        assert " ".join(spec.source.replace("`", "").split()) in text


@pytest.mark.parametrize("program", ["perfcheck", "perfctl"])
def test_every_command_and_option_is_told(site: Path, program: str) -> None:
    text = text_of(site / f"reference/{program}.html")
    waiting: list[argparse.ArgumentParser] = [parser_of_all() if program == "perfcheck" else parsers_of_perfctl()[0]]
    seen = 0
    for parser in waiting:
        waiting += [below for below, _ in commands.subcommands(parser).values()]
        assert parser.prog in text
        for action in commands.options_of(parser):
            if action.dest != "version":
                assert commands.written(action) in text, f"{parser.prog} {action.dest}"
                seen += 1
    assert seen > 50


def test_every_key_of_the_scenario_file_is_told(site: Path) -> None:
    text = text_of(site / "reference/scenario-keys.html")
    told = {path: part for path, part, _ in scenario.all_keys()}
    for path in told:
        assert path in text
    last = {path.rpartition(".")[2] for path in told}
    for name, model in {"": json_schema(), **json_schema()["$defs"]}.items():
        for key, part in model.get("properties", {}).items():
            assert key in last, f"{name}.{key}"
            assert " ".join(part["description"].replace("`", "").split()) in text, f"{name}.{key}"
    assert {"links[].forward.loss.model", "traffic[].iperf3.streams", "hosts.<name>.sysctl", "expect.diagnosis"} <= set(
        told
    )
    assert len(told) < 400
    assert json.loads((site / "reference/scenario.schema.json").read_text()) == json_schema()


def test_every_field_of_the_run_record_is_told(site: Path) -> None:
    text = text_of(site / "reference/run-record.html")
    models = list(records.models(RunRecord))
    assert {"TrialRecord", "DiagnosisRecord", "PathProfile"} <= {model.__name__ for model in models}
    for model in models:
        assert model.__name__ in text
        for name in records.fields(model):
            assert re.search(rf"(?m)^{re.escape(name)}$", text), f"{model.__name__}.{name}"


def test_the_page_of_events_has_every_key_and_kind() -> None:
    text = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", text.partition("## One schema")[2].partition("\n\n`related`")[0], re.MULTILINE)
    event = Event(number=0, timestamp_ns=0, flow=None, layer=Layer.TCP, metric="tcp.retrans_segs", value=1.0)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(event.as_dict())
    assert [kind.label for kind in EventKind if f"`{kind.label}`" not in text] == []


def test_every_public_name_of_the_python_api_is_told(site: Path) -> None:
    text = text_of(site / "reference/python.html")
    for name, found in python_api.public_names().items():
        assert name in text
        if isinstance(found, type) and not issubclass(found, BaseException):
            for member, _ in python_api.members(found):
                assert member.startswith("__") or member in text, f"{name}.{member}"


@pytest.mark.parametrize(
    "text", ["a|b", "<script>alert(1)</script>", "{ .x #y }", "`", "[a](b)", "**x** _y_", "&lt;", "1. a"]
)
def test_texts_are_shown_as_they_are(text: str) -> None:
    from markdown import markdown as rendered

    page = f"{markdown.table(('a', 'b'), [(markdown.prose(text), markdown.code(text))])}\n\n{markdown.literal(text)}"
    shown = rendered(page, extensions=["tables", "attr_list"])
    assert html.unescape(re.sub(r"<[^>]+>", "", shown)).split("\n")[-1] == text
    cells = [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<td>(.*)</td>", shown)]
    assert cells == [text, text]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield the distribution's browser."""
    path = shutil.which("chromium")
    if path is None:
        lacking = "chromium is missing: apt-get install chromium"
        if os.environ.get("PERFCHECK_REQUIRE_KERNEL") == "1" or os.environ.get("CI"):
            pytest.fail(lacking)
        pytest.skip(lacking)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: Browser, page: Path, scheme: str, width: int) -> tuple[Page, list[str]]:
    """Open a page of the site as a file; return it with what goes wrong, to which later events are added."""
    shown = browser.new_page(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
    )
    shown.set_default_timeout(60_000)
    wrong: list[str] = []
    shown.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("requestfailed", lambda request: wrong.append(request.url))
    shown.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    shown.goto(page.as_uri())
    return shown, wrong


def serious(page: Page) -> list[str]:
    """Return axe's findings that keep somebody from reading."""
    found = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "scheme", "width"), [
    ("index.html", "dark", 390), ("reference/perfctl.html", "light", 390), ("reference/perfctl.html", "dark", 1440),
])  # fmt: skip
def test_a_page_is_readable(site: Path, browser: Browser, name: str, scheme: str, width: int) -> None:
    page, wrong = opened(browser, site / name, scheme, width)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.locator("body").get_attribute("data-md-color-scheme") == ("slate" if scheme == "dark" else "default")
    assert wrong == []
    assert serious(page) == []
    page.close()


def test_search_works_without_a_server(site: Path, browser: Browser) -> None:
    page, wrong = opened(browser, site / "index.html", "light", 1440)
    page.locator(".md-search__input").click()
    # The index is read first; what is typed before may be passed over.
    page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    page.locator(".md-search__input").press_sequentially("bufferbloat")
    first = page.locator(".md-search-result__link").first
    first.wait_for()
    assert "bufferbloat" in (first.get_attribute("href") or "")
    first.click()
    page.wait_for_url("**/*.html?h=*")
    assert "bufferbloat" in page.locator("h1").inner_text().lower()
    assert wrong == []
    page.close()
