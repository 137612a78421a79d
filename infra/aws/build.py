"""`python infra/aws/build.py FOLDER`: the functions' package for AWS Lambda, as FOLDER
and FOLDER.zip, from a lock file of their own.

Raises `SystemExit` where it is larger than Lambda takes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = "3.12"
"""The functions' runtime in template.yaml."""
MOST_BYTES = 250 << 20
"""Unpacked; a quota of Lambda."""


def build(folder: Path, python: str = PYTHON) -> tuple[int, int]:
    """Make the package anew. Returns its bytes, unpacked and zipped."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built_for = [
        *("--python-version", python, "--implementation", "cp"),
        *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
        *("--only-binary", ":all:", "--no-compile", "--target", str(folder)),
    ]
    locked = ["--no-deps", "--require-hashes", "-r", "requirements/functions.txt"]
    subprocess.run([*pip, "install", *built_for, *locked], cwd=ROOT, check=True)
    for wing in ("handlers", "shared"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / wing, folder / wing, ignore=unwanted)
    shutil.rmtree(folder / "bin", ignore_errors=True)
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files), archive.stat().st_size


def main() -> None:
    folder = Path(sys.argv[1])
    unpacked, zipped = build(folder)
    print(f"{folder}.zip: {zipped / 1e6:.1f} MB, unpacked {unpacked / 1e6:.1f} MB")
    if unpacked > MOST_BYTES:
        raise SystemExit(f"Lambda takes {MOST_BYTES / 1e6:.0f} MB unpacked at most")


if __name__ == "__main__":
    main()
