"""Arguments and printing of the handlers' benches."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from handlers.bench import api, backlog, records, sweep, uploads
from handlers.bench.figures import Figures, report
from handlers.bench.quiet import quiet
from shared.runtime.settings import Settings


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Run `bench handlers|recorder|backlog|sweep|api [--json] …` on the servers that the
    settings name.
    """
    options = _parser().parse_args(arguments)
    quiet(settings)
    numbers, rows = _BENCHES[options.bench](settings, options)
    print(report(options.bench, numbers, rows, options.json))
    return 0


Result = tuple[Figures, dict[str, Figures]]
"""The numbers that a bench ran with, and its rows."""


def _handlers(settings: Settings, options: argparse.Namespace) -> Result:
    numbers = {
        "uploads": options.uploads,
        "bytes": uploads.BYTES,
        "rounds": options.rounds,
    }
    return numbers, uploads.measure(settings, options.uploads, options.rounds)


def _recorder(settings: Settings, options: argparse.Namespace) -> Result:
    numbers = {
        "events": options.events,
        "rounds": options.rounds,
        "batch": settings.log_batch,
    }
    return numbers, records.measure(settings, options.events, options.rounds)


def _backlog(settings: Settings, options: argparse.Namespace) -> Result:
    numbers = {"messages": options.messages}
    return numbers, backlog.measure(settings, options.messages)


def _sweep(settings: Settings, options: argparse.Namespace) -> Result:
    numbers = {"objects": options.objects}
    return numbers, sweep.measure(settings, options.objects)


def _api(settings: Settings, options: argparse.Namespace) -> Result:
    numbers = {
        "rows": options.rows,
        "rounds": api.ROUNDS,
        "connections": api.CONNECTIONS,
    }
    return numbers, api.measure(settings, options.rows, options.seconds)


_BENCHES = {
    "handlers": _handlers,
    "recorder": _recorder,
    "backlog": _backlog,
    "sweep": _sweep,
    "api": _api,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="darkroom bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)

    def bench(name: str, text: str) -> argparse.ArgumentParser:
        added = benches.add_parser(name, help=text)
        added.add_argument(
            "--json", action="store_true", help="one JSON object on stdout"
        )
        return added

    handlers = bench("handlers", "on_upload on photos of 1 MB, beside plain boto3")
    handlers.add_argument("--uploads", type=_count, default=50, help="photos a round")
    handlers.add_argument("--rounds", type=_count, default=5)
    recorder = bench("recorder", "log events into PostgreSQL, beside executemany")
    recorder.add_argument("--events", type=_count, default=6000, help="events a round")
    recorder.add_argument("--rounds", type=_count, default=3)
    queue = bench("backlog", "memory of each process beside a long queue")
    queue.add_argument("--messages", type=_count, default=100_000)
    passes = bench("sweep", "requests, time and memory of a pass over a full bucket")
    passes.add_argument("--objects", type=_count, default=100_000)
    server = bench("api", "the HTTP API: tickets a second, and a page of a long log")
    server.add_argument(
        "--rows", type=_count, default=1_000_000, help="rows of the log"
    )
    server.add_argument(
        "--seconds", type=float, default=1.0, help="for each kind of request in a round"
    )
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count
