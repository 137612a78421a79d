"""Arguments and printing of the handlers' benches."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from handlers.bench import api, backlog, records, sweep, uploads
from handlers.bench.figures import told
from handlers.bench.quiet import quiet
from shared.runtime.settings import Settings


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """`bench handlers|recorder|backlog|sweep|api [--json] …`, on the servers that the
    settings name.
    """
    options = _options(arguments)
    quiet(settings)
    if options.bench == "handlers":
        rows = uploads.measure(settings, options.uploads, options.rounds)
        numbers = {
            "uploads": options.uploads,
            "bytes": uploads.BYTES,
            "rounds": options.rounds,
        }
    elif options.bench == "recorder":
        rows = records.measure(settings, options.events, options.rounds)
        numbers = {
            "events": options.events,
            "rounds": options.rounds,
            "batch": settings.log_batch,
        }
    elif options.bench == "api":
        rows = api.measure(settings, options.rows, options.seconds)
        numbers = {
            "rows": options.rows,
            "rounds": api.ROUNDS,
            "connections": api.CONNECTIONS,
        }
    elif options.bench == "sweep":
        rows = sweep.measure(settings, options.objects)
        numbers = {"objects": options.objects}
    else:
        rows = backlog.measure(settings, options.messages)
        numbers = {"messages": options.messages}
    print(told(options.bench, numbers, rows, options.json))
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="darkroom bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    handlers = benches.add_parser(
        "handlers", help="on_upload on photos of 1 MB, beside plain boto3"
    )
    handlers.add_argument("--uploads", type=_count, default=50, help="photos a round")
    handlers.add_argument("--rounds", type=_count, default=5)
    recorder = benches.add_parser(
        "recorder", help="log events into PostgreSQL, beside executemany"
    )
    recorder.add_argument("--events", type=_count, default=6000, help="events a round")
    recorder.add_argument("--rounds", type=_count, default=3)
    full = benches.add_parser(
        "backlog", help="memory of each process beside a long queue"
    )
    full.add_argument("--messages", type=_count, default=100_000)
    passes = benches.add_parser(
        "sweep", help="requests, time and memory of a pass over a full bucket"
    )
    passes.add_argument("--objects", type=_count, default=100_000)
    door = benches.add_parser(
        "api", help="the HTTP door: tickets a second, and a page of a long log"
    )
    door.add_argument("--rows", type=_count, default=1_000_000, help="rows of the log")
    door.add_argument(
        "--seconds", type=float, default=1.0, help="for each kind of request in a round"
    )
    for bench in (handlers, recorder, full, passes, door):
        bench.add_argument(
            "--json", action="store_true", help="one JSON object on stdout"
        )
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count
