"""`python -m tests.audit PIP_AUDIT [--complete|--tell]`: known vulnerabilities of every
pinned version.

Exit status 1 for a vulnerability that a newer version mends; with `--tell` it is only
told. A package for which no service answers is counted as not audited, never as clean:
that is told, and with `--complete` it fails, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

ARGUMENTS = [
    "--no-deps",
    "--disable-pip",
    "--requirement",
    "constraints.txt",
    "--format",
    "json",
    "--progress-spinner",
    "off",
]
TIME_LIMIT_S = 300


def main(pip_audit: str, *options: str) -> int:
    packages, why = asked(pip_audit)
    audited = [package for package in packages if "skip_reason" not in package]
    found = [(package, flaw) for package in audited for flaw in package["vulns"]]
    for package, flaw in found:
        mended = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(
            f"audit: {package['name']} {package['version']}: {flaw['id']}, mended in {mended}",
            file=sys.stderr,
        )
    print(
        f"audit: pinned={len(packages)} audited={len(audited)} vulnerabilities={len(found)}"
    )
    missed = len(packages) - len(audited)
    if missed or not packages:
        what = f"{missed} of {len(packages)} packages" if packages else "anything"
        reason = why or next(
            package["skip_reason"] for package in packages if "skip_reason" in package
        )
        print(
            f"audit: NOT CARRIED OUT for {what}: no vulnerability service answered ({reason})",
            file=sys.stderr,
        )
    mendable = any(flaw["fix_versions"] for _, flaw in found)
    if mendable and "--tell" not in options:
        print(
            "audit: raise the pins above; to go on without, say AUDIT=--tell to make",
            file=sys.stderr,
        )
    incomplete = bool(missed) or not packages
    return int(
        (mendable and "--tell" not in options)
        or (incomplete and "--complete" in options)
    )


def asked(pip_audit: str) -> tuple[list[dict[str, Any]], str]:
    """What it says of each package, or of none and why."""
    command = [pip_audit, *ARGUMENTS]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"no answer within {TIME_LIMIT_S} s"
    try:
        return json.loads(told.stdout)["dependencies"], ""
    except ValueError:
        return [], told.stderr.strip().rpartition("\n")[
            2
        ] or f"exit status {told.returncode}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
