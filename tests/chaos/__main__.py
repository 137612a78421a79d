"""`make chaos N=200 SEED=1`: a seeded run under every fault; exit status 0 only if
nothing was lost or done twice.

`--minutes 15` (`make soak`): for so long a fault each fifteen seconds, of those that
end no process of ours; then memory and open files of every process may not have grown,
either.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import faults
from tests.chaos.footprint import LONG_S, WARM_S, Footprint
from tests.chaos.judge import Verdict
from tests.chaos.run import run, schedule, shares
from tests.chaos.runs import WHY, WORKER_LOGS

DISK = "2g"
SOAK_PACE_S = 15.0
SOAK_UPLOADS = 15
console = Console(highlight=False)


@contextmanager
def state_folder() -> Iterator[tuple[Path, bool]]:
    """A folder, and whether it is a disk of its own (in memory; root may mount one)."""
    base = Path(tempfile.mkdtemp(prefix="darkroom-chaos-"))
    folder = base / "state"
    folder.mkdir(mode=0o700)
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={DISK},mode=700",
        "tmpfs",
        str(folder),
    ]
    own = (
        bool(shutil.which("mount"))
        and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield folder, own
    finally:
        if own:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(base, ignore_errors=True)


def show(verdict: Verdict, seconds: float) -> None:
    table = Table("", "", box=None, show_header=False)
    injected = ", ".join(
        f"{name} {number}" for name, number in sorted(verdict.injected.items())
    )
    for name, value in {
        "uploads": verdict.uploads,
        "end states": ", ".join(
            f"{end} {number}" for end, number in sorted(verdict.ends.items())
        ),
        **{
            name.replace("_", " "): len(found) for name, found in verdict.faults.items()
        },
        "results compared, pixel by pixel": verdict.pixels_compared,
        "inferences": f"{verdict.runs}, {verdict.duplicated_runs} of them beyond a photo's first",
        "longest time to an end": f"{verdict.longest_s:.1f} s",
        "settled after the last fault": f"{verdict.settled_s:.1f} s",
        "first result after a crash of everything": f"{verdict.recovered_s:.1f} s"
        if verdict.recovered_s
        else "-",
        "faults": f"{verdict.injected.total()}: {injected}",
        "took": f"{seconds:.0f} s",
    }.items():
        table.add_row(name, str(value))
    console.print(table)
    for name, found in verdict.faults.items():
        for each in found[:10]:
            console.print(f"[red]{name}[/]: {each}")
    print(line(verdict))


def line(verdict: Verdict) -> str:
    """The ledger, in one line."""
    results = verdict.ends["success"] + verdict.ends["duplicate"]
    dead = sum(
        number for end, number in verdict.ends.items() if end.startswith("failed")
    )
    rejected = sum(
        number for end, number in verdict.ends.items() if end.startswith("rejected")
    )
    explained = " ".join(f"explained_{why}={verdict.explained[why]}" for why in WHY)
    return (
        f"FAULT=chaos seed={verdict.seed} injected={verdict.injected.total()} uploads={verdict.uploads} "
        f"results={results} rejected={rejected} dead={dead} withdrawn={verdict.ends['unseen']} "
        f"lost={len(verdict.lost)} "
        f"duplicated_runs={verdict.duplicated_runs} {explained} unexplained={len(verdict.unexplained)} "
        f"duplicate_results={len(verdict.written_twice)} "
        f"wrong_results={len(verdict.wrong_pixels)} phantom={len(verdict.phantoms)} "
        f"audit_missing={len(verdict.rows_missing)} audit_doubled={len(verdict.rows_doubled)} "
        f"orphans={len(verdict.left_over)} retiring={verdict.retiring} "
        f"leaks={len(verdict.leaks)} died={len(verdict.died)} "
        f"longest_s={verdict.longest_s:.1f} recover_s={verdict.recovered_s:.1f}"
    )


def soak(
    minutes: float, seed: int, kinds: dict[str, tuple[int, faults.Fault]]
) -> Iterator[tuple[str, int]]:
    """Faults by weight until the time is up; one that took longer than its turn is
    followed at once.
    """
    rng, names = random.Random(seed), sorted(kinds)
    ends_s = time.monotonic() + minutes * 60
    while (began_s := time.monotonic()) < ends_s:
        yield rng.choices(names, [kinds[name][0] for name in names])[0], SOAK_UPLOADS
        time.sleep(max(0.0, began_s + SOAK_PACE_S - time.monotonic()))


def grown(footprint: Footprint) -> int:
    """Print what every process took; the number of those of ours that grew. A soak that
    saw none proves nothing: 1.
    """
    lives = footprint.lives()
    if not any(life.ours for life in lives):
        console.print(
            f"[red]no process of ours was seen for {WARM_S + LONG_S:.0f} s: use more --minutes"
        )
        return 1
    for life in lives:
        console.print(f"{'[red]' if life.ours and life.grows else ''}{life}")
    number = sum(life.ours and life.grows for life in lives)
    slope = max((life.slope for life in lives if life.ours), default=float("nan"))
    print(f"processes={len(lives)} rss_slope_mib_per_min={slope:.2f} grown={number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument(
        "--faults", type=int, help="how many; one to five uploads unless said"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--minutes", type=float, help="a soak of so long instead of a number of faults"
    )
    parser.add_argument(
        "--only", help="these kinds of faults, by commas; all unless said"
    )
    parser.add_argument("--keep", type=Path, help="copy the logs here")
    given = parser.parse_args()
    began_s = time.monotonic()
    with state_folder() as (folder, own_disk):
        kinds = faults.ALWAYS | faults.LONG | (faults.ON_OWN_DISK if own_disk else {})
        if not own_disk:
            console.print(
                "no disk of its own for the state could be mounted (root may): no disk is filled"
            )
        if given.only:
            kinds = {name: kinds[name] for name in given.only.split(",")}
        footprint = Footprint()
        if given.minutes:
            kinds = {
                name: kind
                for name, kind in kinds.items()
                if given.only or not name.startswith(faults.ENDING)
            }
            plan = soak(given.minutes, given.seed, kinds)
        else:
            names = schedule(
                given.faults or max(1, given.uploads // 5), given.seed, kinds
            )
            plan = shares(given.uploads, names)
        try:
            verdict = run(folder, given.seed, plan, kinds, console.print, footprint)
        finally:
            if given.keep:
                for logs in (folder / "logs", folder.parent / WORKER_LOGS):
                    shutil.copytree(logs, given.keep, dirs_exist_ok=True)
    show(verdict, time.monotonic() - began_s)
    return 0 if verdict.good and not (given.minutes and grown(footprint)) else 1


if __name__ == "__main__":
    sys.exit(main())
