"""The page's code: its types, its lint, and that the vendored part is what its note says. Needs
npm, which runs nothing of what is shipped; without it these are skipped.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from handlers.http.console.files import STATIC
from tests.support.command_line import printed_by
from tests.support.extras import without

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv/page/node_modules/.bin"

if not TOOLS.exists():
    without("no npm here: `make browser` installs with it")


def test_the_types_of_the_page_agree(tmp_path: Path) -> None:
    """By `tsc --checkJs`, with the types of the Lit that is vendored."""
    shutil.copytree(STATIC, tmp_path / "static")
    (tmp_path / "node_modules").symlink_to(TOOLS.parent)
    options = json.loads((ROOT / "tests/browser/tsconfig.json").read_text())
    options["include"] = ["static/**/*.js"]
    options["exclude"] = ["static/vendor/lit.js"]
    (tmp_path / "tsconfig.json").write_text(json.dumps(options))
    printed_by(TOOLS / "tsc", "-p", tmp_path, folder=tmp_path)


def test_the_page_has_no_lint(tmp_path: Path) -> None:
    """By ESLint's recommended rules, and what would get around the page's policy."""
    shutil.copytree(STATIC, tmp_path / "static")
    (tmp_path / "node_modules").symlink_to(TOOLS.parent)
    rules = ROOT / "tests/browser/eslint.config.js"
    shutil.copy(rules, tmp_path / "eslint.config.mjs")
    printed_by(
        TOOLS / "eslint", "--config", "eslint.config.mjs", "static", folder=tmp_path
    )


def test_the_vendored_part_comes_out_the_same_when_it_is_built_again(
    tmp_path: Path,
) -> None:
    """By the very command and entry of the note beside it."""
    note = (STATIC / "vendor/README.md").read_text()
    entry = re.search(r"```js\n(.*?)```", note, re.DOTALL)
    banner = re.search(r"--banner:js='([^']*)'", note)
    assert entry
    assert banner
    (tmp_path / "node_modules").symlink_to(TOOLS.parent)
    (tmp_path / "entry.js").write_text(entry[1])
    printed_by(
        TOOLS / "esbuild",
        "entry.js",
        "--bundle",
        "--format=esm",
        "--minify",
        "--target=es2022",
        "--legal-comments=none",
        f"--banner:js={banner[1]}",
        "--outfile=lit.js",
        folder=tmp_path,
    )
    built = hashlib.sha256((tmp_path / "lit.js").read_bytes()).hexdigest()
    assert f"`{built}`" in note
