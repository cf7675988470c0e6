"""Kernels from Debian: what a release means, which lists apt is asked with, and what is told where it cannot be had.

apt-get and apt-cache are stand-ins that answer from files; tests/kernel asks the real ones.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from kernel_files import RELEASE, divided_packages, kernel_members, package

from perfcheck.cli import main
from perfcheck.errors import Unavailable, UsageError
from perfcheck.kernels import debian as archive
from perfcheck.kernels.candidates import Candidate, choose, newest_first
from perfcheck.kernels.debian import Mirrors, mirrors_of, source_list
from perfcheck.kernels.store import KernelStore

PACKAGES = {
    "linux-image-6.1.0-47-cloud-amd64": "6.1.170-3",
    "linux-image-6.1.0-57-cloud-amd64": "6.1.192-3",
    "linux-image-6.1.0-57-amd64": "6.1.192-3",
    "linux-image-6.1.0-57-cloud-amd64-unsigned": "6.1.192-3",
    "linux-image-6.1.0-57-amd64-dbg": "6.1.192-3",
    "linux-image-6.12-cloud-amd64": "6.12.117-1~deb12u1",
    "linux-image-6.12.7+deb12-cloud-amd64": "6.12.7-1~deb12u1",
    "linux-image-6.12.70+deb12-cloud-amd64": "6.12.70-1~deb12u1",
    "linux-image-6.12.117+deb12-cloud-amd64": "6.12.117-1~deb12u1",
    "linux-image-6.12.117+deb12-rt-amd64": "6.12.117-1~deb12u1",
    "linux-image-cloud-amd64": "6.1.192-3",
}

STAND_IN = f"""#!{sys.executable} -I
import json, os, shutil, sys
from pathlib import Path
state = Path({{state!r}})
words = sys.argv[1:]
with (state / "asked").open("a") as log:
    log.write(json.dumps([Path(sys.argv[0]).name, *words]) + "\\n")
answers = json.loads((state / "answers").read_text())
def fail(text):
    sys.stderr.write(text + "\\n")
    sys.exit(100)
if "pkgnames" in words:
    private = any("Dir::State::lists" in word for word in words)
    print("\\n".join(answers["private" if private else "packages"]))
elif "madison" in words:
    for name in words[words.index("madison") + 1:]:
        version = answers["versions"][name]
        print(f" {{{{name}}}} | {{{{version}}}} | http://mirror/debian bookworm-security/main amd64 Packages")
        print(f" {{{{name}}}} | 0.1 | http://mirror/debian bookworm/main amd64 Packages")
elif "indextargets" in words:
    print("\\n".join(answers["sources"]))
elif "update" in words:
    if answers["update"]:
        fail(answers["update"])
elif "show" in words:
    name, version = words[-1].split("=")
    print(f"Package: {{{{name}}}}\\nVersion: {{{{version}}}}\\nDepends: " + answers["depends"])
elif "--print-uris" in words:
    for name in words[words.index("--print-uris") + 1:]:
        print(f"'http://mirror/k.deb' {{{{name}}}}.deb 1234 SHA256:0")
elif "download" in words:
    if answers["download"] and not (answers["outdated"] and any("Dir::State::lists" in word for word in words)):
        fail(answers["download"])
    for name in words[words.index("-q") + 1:]:
        kind = name.split("-")[1]
        shutil.copy(state / ("k.deb" if kind == "image" else kind + ".deb"), name + ".deb")
"""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """apt's stand-in: what it answers, and what it was asked."""

    state: Path

    def answer(self, **answers: object) -> None:
        path = self.state / "answers"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **answers}))

    def asked(self, word: str) -> list[list[str]]:
        """Return the command lines that have this word."""
        log = self.state / "asked"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [words for words in lines if word in words]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    state, programs = tmp_path / "apt", tmp_path / "bin"
    state.mkdir()
    programs.mkdir()
    for name in ("apt-get", "apt-cache"):
        (programs / name).write_text(STAND_IN.format(state=str(state)))
        (programs / name).chmod(0o755)
    package(state / "k.deb", kernel_members())
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    (tmp_path / "keyrings").mkdir()
    (tmp_path / "keyrings/debian-archive-keyring.gpg").touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PERFCHECK_KERNELS", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(archive, "_OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(archive, "_KEYRINGS", tmp_path / "keyrings")
    found = StandIn(state=state)
    found.answer(
        packages=list(PACKAGES), private=list(PACKAGES), versions=PACKAGES, update="", download="", outdated=False,
        depends="kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
        sources=["bookworm http://mirror/debian/ Debian", "bookworm-security http://mirror/security/ Debian"],
    )  # fmt: skip
    return found


def stored() -> list[str]:
    folder = KernelStore.create().folder
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_release_is_fetched_with_the_machines_own_lists(apt: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", "fetch", "6.12.7"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"6.12.7-cloud: Linux {RELEASE}, 2 modules, ")
    assert err.splitlines() == [
        f"perfcheck: fetching linux-image-{RELEASE} 6.12.7-1~deb12u1",
        f"perfcheck: unpacking linux-image-{RELEASE}",
        "perfcheck: reading types, indexing modules",
    ]
    assert stored() == ["6.12.7-cloud"]
    (fetched,) = [words for words in apt.asked("download") if "--print-uris" not in words]
    assert fetched[-1] == f"linux-image-{RELEASE}=6.12.7-1~deb12u1"
    assert not apt.asked("update")
    kernel = KernelStore.create().get("6.12.7-cloud")
    assert kernel.origin == "Debian bookworm-security 6.12.7-1~deb12u1"
    # The second time it is there.
    assert main(["kernel", "fetch", "6.12.7"]) == 0
    assert "(was in the store already)" in capsys.readouterr().out
    assert len(apt.asked("download")) == 2


def test_a_kernel_that_is_divided_into_packages_comes_whole(apt: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    version = PACKAGES[f"linux-image-{RELEASE}"]
    parts = [f"linux-{kind}-{RELEASE}" for kind in ("base", "binary", "modules")]
    apt.answer(depends=", ".join(["dracut | initramfs-tools", *(f"{name} (= {version})" for name in parts)]))
    package(apt.state / "k.deb", [])
    divided_packages(apt.state)
    assert main(["kernel", "fetch", "6.12.7"]) == 0
    assert capsys.readouterr().out.startswith(f"6.12.7-cloud: Linux {RELEASE}, 2 modules, ")
    (fetched,) = [words for words in apt.asked("download") if "--print-uris" not in words]
    assert sorted(fetched[-3:]) == [f"{name}={version}" for name in parts]
    kernel = KernelStore.create().get("6.12.7-cloud")
    assert kernel.origin == f"Debian bookworm-security {version}"
    assert kernel.package_version == version
    assert kernel.config is not None
    # The second time it is there.
    assert main(["kernel", "fetch", "6.12.7"]) == 0
    assert "(was in the store already)" in capsys.readouterr().out


def test_a_name_of_another_kernel_is_refused_before_anything_is_fetched(
    apt: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kernel", "fetch", "6.12.7", "--name", "mine"]) == 0
    assert main(["kernel", "fetch", "6.12.70", "--name", "mine"]) == 2
    assert f"the name mine is taken by {RELEASE}" in capsys.readouterr().err
    assert len(apt.asked("--print-uris")) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["6.17"], "this machine's apt has no cloud kernel 6.17; the nearest are 6.12.7+deb12, 6.12.70+deb12, "),
        (["6.17"], "`perfcheck kernel fetch --list` lists all; other suites with --suite, such as trixie"),
        (["6.12.8"], "the nearest are 6.1.0-47, 6.1.0-57, 6.12.7+deb12, 6.12.70+deb12, 6.12.117+deb12."),
        (["6.1.0-47", "--flavour", "rt"], "this machine's apt has 6.1.0-47 not as rt, but as cloud: see --flavour"),
        (["5"], "expected a release such as 6.12, 6.12.107+deb12 or 6.1.0-56, got '5'"),
        (["../6.1"], "expected a release such as"),
        (["6.1\x1b[31m"], r"got '6.1\x1b[31m'"),
        (["6.1", "--suite", "trixie\nTypes: deb"], r"expected a suite of Debian's such as trixie or trixie-backports"),
        (["6.1", "--suite", "../x"], "expected a suite of Debian's"),
        (["6.1", "--mirror", "ftp://x"], "expected a URL such as http://HOST/debian, got 'ftp://x'"),
        (["6.1", "--mirror", "http://x y"], "expected a URL"),
        (["--list", "6.17"], "this machine's apt has no such kernel"),
        (["6.1", "--name", "a/b"], "expected a kernel's name"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_in_one_line(
    apt: StandIn, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        status = main(["kernel", "fetch", *words])
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert stored() == []


def test_what_can_be_fetched_is_listed(apt: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", "fetch", "--list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [
        "release",
        "6.12.117+deb12",
        "6.12.70+deb12",
        "6.12.7+deb12",
        "6.1.0-57",
        "6.1.0-47",
    ]
    assert rows[1] == ["6.12.117+deb12", "cloud,", "rt", "6.12.117-1~deb12u1", "bookworm-security"]
    assert main(["kernel", "fetch", "--list", "6.1", "--flavour", "generic"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["release", "6.1.0-57"]
    assert stored() == []


def test_another_suite_has_lists_of_its_own(apt: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", "fetch", "6.12.7", "--suite", "trixie"]) == 0
    (folder,) = (tmp_path / "cache/perfcheck/apt").iterdir()
    sources = (folder / "sources/perfcheck.sources").read_text()
    keyring = tmp_path / "keyrings/debian-archive-keyring.gpg"
    assert sources == (
        f"Types: deb\nURIs: http://mirror/debian\nSuites: trixie trixie-updates\nComponents: main\n"
        f"Architectures: amd64\nSigned-By: {keyring}\n\n"
        f"Types: deb\nURIs: http://mirror/security\nSuites: trixie-security\nComponents: main\n"
        f"Architectures: amd64\nSigned-By: {keyring}\n"
    )
    ours = [words for word in ("update", "pkgnames", "madison", "download") for words in apt.asked(word)]
    assert len(ours) == 5
    for words in ours:
        for setting in (f"Dir::State::lists={folder}/lists", f"Dir::Etc::sourceparts={folder}/sources",
                        f"Dir::State={folder}/state", f"Dir::Cache={folder}/cache"):  # fmt: skip
            assert setting in words
        assert not any("llow" in word and "nsecure" in word for word in words)
    assert "perfcheck: fetching the lists of trixie\n" in capsys.readouterr().err


def test_a_machine_without_lists_gets_its_own_releases(apt: StandIn, tmp_path: Path) -> None:
    apt.answer(packages=[], sources=["bookworm http://mirror/debian ", "bookworm-security http://mirror/security "])
    assert main(["kernel", "fetch", "6.12.7"]) == 0
    (folder,) = (tmp_path / "cache/perfcheck/apt").iterdir()
    assert folder.name.startswith("bookworm-")
    assert apt.asked("update")


GONE = "E: Failed to fetch http://mirror/k.deb  404  Not Found [IP: 198.18.0.1 80]"


def test_lists_that_are_out_of_date_are_not_used(apt: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    apt.answer(download=GONE, outdated=True)
    assert main(["kernel", "fetch", "6.12.7"]) == 0
    assert stored() == ["6.12.7-cloud"]
    assert "perfcheck: fetching the lists of bookworm\n" in capsys.readouterr().err
    apt.answer(outdated=False)
    for words in ([], ["--suite", "trixie"]):
        assert main(["kernel", "fetch", "6.12.7", "--name", "other", *words]) == 3
        assert "6.12.7-1~deb12u1 is no longer in the archive: apt-get update" in capsys.readouterr().err
    assert stored() == ["6.12.7-cloud"]


def test_a_full_disk_is_not_taken_for_a_bad_network(apt: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    apt.answer(download="E: Failed to fetch http://mirror/k.deb  Error writing to file - No space left on device")
    assert main(["kernel", "fetch", "6.12.7"]) == 3
    assert "it cannot be written: No space left on device. To get it: free space" in capsys.readouterr().err
    assert stored() == []


def test_on_another_distribution_a_suite_must_be_named(
    apt: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=noble\n")
    apt.answer(packages=["linux-image-6.8.0-48-generic"], sources=["noble http://ubuntu Ubuntu"])
    assert main(["kernel", "fetch", "6.12.7"]) == 2
    assert "this machine is no Debian: name a suite of Debian's with --suite" in capsys.readouterr().err
    assert main(["kernel", "fetch", "6.12.7", "--suite", "trixie"]) == 3
    assert "name one with --mirror URL" in capsys.readouterr().err
    assert main(["kernel", "fetch", "6.12.7", "--suite", "trixie", "--mirror", "http://mirror/debian"]) == 0
    assert stored() == ["6.12.7-cloud"]


@pytest.mark.parametrize(
    ("answers", "words", "message"),
    [
        ({"download": "E: Failed to fetch http://mirror/k.deb  Could not resolve 'mirror'\nE: Unable to fetch"}, [],
         "could not be fetched: Failed to fetch http://mirror/k.deb  Could not resolve 'mirror'. Check the"),
        ({"update": "Err:1 http://mirror\nE: The repository 'http://mirror trixie InRelease' is not signed."},
         ["--suite", "trixie"], "could not be fetched: The repository 'http://mirror trixie InRelease' is not signed"),
        ({"sources": ["noble http://ubuntu/ Ubuntu"]}, ["--suite", "trixie"],
         "a Debian mirror is not available: this machine's apt sources name none. To get it: name one with --mirror"),
        ({"sources": ["bookworm http://mirror/ Debian"]}, ["--suite", "trixie-security"],
         "this machine's apt has no mirror of Debian's security updates"),
    ],
)  # fmt: skip
def test_without_network_or_mirror_nothing_is_left(
    apt: StandIn, capsys: pytest.CaptureFixture[str], answers: dict[str, object], words: list[str], message: str
) -> None:
    apt.answer(**answers)
    assert main(["kernel", "fetch", "6.12.7", *words]) == 3
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert stored() == []


def test_a_machine_without_keyring_or_without_apt_is_told_what_to_do(
    apt: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keyrings/debian-archive-keyring.gpg").unlink()
    assert main(["kernel", "fetch", "6.12.7", "--suite", "trixie"]) == 3
    assert "To get it: apt-get install debian-archive-keyring" in capsys.readouterr().err
    monkeypatch.setattr("shutil.which", lambda *words, **more: None)
    assert main(["kernel", "fetch", "6.12.7"]) == 3
    assert (
        "this machine has no apt. To get it: fetch the kernel's .deb on a machine that has" in capsys.readouterr().err
    )


def test_lists_that_cannot_be_kept_are_told(apt: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert main(["kernel", "fetch", "6.12.7", "--suite", "trixie"]) == 3
    assert "free space there, or set XDG_CACHE_HOME to a folder that you can write" in capsys.readouterr().err


MIRRORS = Mirrors(archive="http://a", security="http://s")


@pytest.mark.parametrize(
    ("suite", "mirrors", "parts"),
    [
        ("trixie", MIRRORS, ["http://a trixie trixie-updates", "http://s trixie-security"]),
        ("trixie", Mirrors(archive="http://a"), ["http://a trixie trixie-updates"]),
        ("trixie-backports", MIRRORS, ["http://a trixie-backports"]),
        ("trixie-security", MIRRORS, ["http://s trixie-security"]),
        ("sid", MIRRORS, ["http://a sid"]),
        ("experimental", MIRRORS, ["http://a experimental"]),
    ],
)
def test_a_suite_comes_with_its_updates(suite: str, mirrors: Mirrors, parts: list[str]) -> None:
    lines = source_list(suite, mirrors, Path("/keys")).splitlines()
    urls, suites = ([line.split(" ", 1)[1] for line in lines if line.startswith(key)] for key in ("URIs:", "Suites:"))
    assert [f"{url} {names}" for url, names in zip(urls, suites, strict=True)] == parts
    assert lines.count("Signed-By: /keys") == len(parts)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["x http://third/ Docker", "bookworm http://a/ Debian", "bookworm-security http://s Debian"], MIRRORS),
        (["bookworm http://a", "bookworm-security http://s/ "], MIRRORS),
        (["bookworm http://a", "nodistro http://third"], Mirrors(archive="http://a")),
        (["noble http://third Ubuntu", "noble http://third"], None),
        ([], None),
        ([""], None),
    ],
)
def test_the_mirrors_are_those_of_debian(lines: Sequence[str], found: Mirrors | None) -> None:
    assert mirrors_of(tuple(lines), "bookworm") == found


CANDIDATES = [each for name, version in PACKAGES.items() if (each := Candidate.of(name, version, "s")) is not None]


@pytest.mark.parametrize(
    ("asked", "flavour", "package"),
    [
        ("6.1", "cloud", "linux-image-6.1.0-57-cloud-amd64"),
        ("6.1", "generic", "linux-image-6.1.0-57-amd64"),
        ("6.1.0-47", "cloud", "linux-image-6.1.0-47-cloud-amd64"),
        ("6.1.170", "cloud", "linux-image-6.1.0-47-cloud-amd64"),
        ("6.1.192-3", "cloud", "linux-image-6.1.0-57-cloud-amd64"),
        ("6.12", "cloud", "linux-image-6.12.117+deb12-cloud-amd64"),
        ("6.12", "rt", "linux-image-6.12.117+deb12-rt-amd64"),
        ("6.12.7", "cloud", "linux-image-6.12.7+deb12-cloud-amd64"),
        ("6.12.70+deb12", "cloud", "linux-image-6.12.70+deb12-cloud-amd64"),
        ("6.12.117+deb12-rt-amd64", "cloud", "linux-image-6.12.117+deb12-rt-amd64"),
    ],
)
def test_a_release_means_the_newest_that_begins_so(asked: str, flavour: str, package: str) -> None:
    assert choose(CANDIDATES, asked, flavour, "here").package == package


def test_only_images_that_boot_are_candidates() -> None:
    assert {each.package for each in CANDIDATES} == {
        name for name in PACKAGES if name not in ("linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64")
        and not name.endswith(("-unsigned", "-dbg"))
    }  # fmt: skip
    assert newest_first(CANDIDATES)[0].abi == "6.12.117+deb12"
    assert Candidate.of("linux-image-6.1.0-57-amd64; x", "1", "s") is None


def test_without_any_kernel_of_the_flavour_that_is_said() -> None:
    with pytest.raises(UsageError, match="here has no rt kernel at all"):
        choose([each for each in CANDIDATES if each.flavour != "rt"], "7.0", "rt", "here")


def test_a_suite_that_is_only_security_needs_its_mirror() -> None:
    with pytest.raises(Unavailable, match="no mirror of Debian's security updates"):
        source_list("trixie-security", Mirrors(archive="http://a"), Path("/keys"))
