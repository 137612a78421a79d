"""The documentation is whole: nothing in it is out of date, and nothing that it points
to is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared import __version__

ROOT = Path(__file__).parents[2]
GENERATE = [sys.executable, "docs/generate.py"]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "infra").rglob("*.md"),
    )
)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WALKS = CONTRIBUTING.partition("## Walks")[2].partition("\n## ")[0]
NEW = re.compile(r"NAME|NNNN")
"""In a file's name: the contributor's own."""


def test_no_page_is_out_of_date() -> None:
    done = subprocess.run(
        [*GENERATE, "--check"], cwd=ROOT, capture_output=True, text=True
    )
    stale = done.stdout.split()
    assert done.returncode == 0, f"run `python docs/generate.py`: {stale}{done.stderr}"


def test_a_page_that_says_something_else_than_the_code_is_out_of_date(
    tmp_path: Path,
) -> None:
    """The check above can fail."""
    docs = tmp_path / "docs"
    docs.mkdir()
    script = docs / "generate.py"
    script.write_text((ROOT / "docs" / "generate.py").read_text())
    (docs / "page.md").write_text(
        "<!-- generated: metrics -->\nold\n<!-- /generated -->\n"
    )
    command = [sys.executable, str(script), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "docs/page.md\n"), done.stderr


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_to_a_file_leads_to_it(page: Path) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    """Decisions are in their own index."""
    site = (ROOT / "zensical.toml").read_text()
    index = (ROOT / "docs/decisions/index.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        if name.startswith("decisions/0"):
            assert f"({page.name})" in index, (
                f"docs/decisions/index.md lacks {page.name}"
            )
        else:
            assert f'"{name}"' in site, f"zensical.toml lacks {name}"


@pytest.mark.parametrize(
    "walk", ["a step", "a network", "a broker", "a route", "a setting", "a log column"]
)
def test_every_walk_names_files_that_exist(walk: str) -> None:
    """And, where it names a symbol in one, that is there as well."""
    steps = WALKS.partition(f"### Add {walk}\n")[2].partition("\n### ")[0]
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+)`(?: \(`(\w+)`\))?", steps)
    assert named
    for name, symbol in named:
        path = ROOT / name
        if NEW.search(name):
            assert path.parent.is_dir(), f"add {walk}: {name}"
            continue
        assert path.is_file(), f"add {walk}: {name} is not there"
        assert symbol in path.read_text(), f"add {walk}: {name} has no {symbol}"


@pytest.mark.parametrize(
    ("walk", "most"), [("broker", 4), ("route", 4), ("log column", 3)]
)
def test_a_walk_is_short(walk: str, most: int) -> None:
    """A step is a file to touch: what follows from it, the code derives."""
    steps = WALKS.partition(f"### Add a {walk}\n")[2].partition("\n### ")[0]
    assert 0 < len(re.findall(r"^\d+\. ", steps, re.MULTILINE)) <= most


def test_every_room_says_what_it_holds() -> None:
    rooms = (ROOT / "docs/explanation/architecture.md").read_text()
    assert "/` |  |" not in rooms


def test_the_changelog_has_this_version_with_its_date() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(
        rf"^## {re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)$", text, re.MULTILINE
    )
