"""`darkroom export JOB|TASK…`: the results of an album or archive, as it came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console

from infra.commands.job_options import items_of, job_named
from infra.commands.options import bytes_of
from infra.commands.require_stack import need_servers
from infra.export import bag, sinks
from infra.export.encoding import Encoding
from infra.export.layouts import LAYOUTS, PNG, Export, Premis, Stack
from infra.export.signing import Form, Signing
from infra.export.sinks import BucketSink, Sink
from infra.ingest.bucket_source import SCHEME
from infra.ingest.progress import ItemState, Watch
from infra.terminal import shown
from shared.credentials import identity
from shared.errors import NotFound, PermanentError, SettingsError
from shared.runtime.installation import missing_library
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import formats, keys
from shared.uploads.ingests import IngestItem, IngestStore, SkippedFile
from shared.uploads.store import UploadStore

app = typer.Typer(add_completion=False)
console = Console(stderr=True, highlight=False, markup=False)


@dataclass
class Total:
    """What an export came to."""

    results: int = 0
    failed: int = 0
    waiting: int = 0
    lacking: int = 0

    def add(self, state: ItemState) -> None:
        self.results += state.record is not None
        self.waiting += state.is_under_way
        self.failed += state.has_failed


@app.command()
def export(
    names: Annotated[
        list[str],
        typer.Argument(metavar="JOB|TASK…", help="A job's name or id, or tasks."),
    ],
    out: Annotated[
        str,
        typer.Option(help="A new folder, a file something.zip, or s3://BUCKET/PREFIX."),
    ],
    layout: Annotated[
        str, typer.Option(help="tree, album, bag, archivematica or csv.")
    ] = "tree",
    stack: Annotated[
        str,
        typer.Option(
            help="Name an album so that photoprism, immich (by immich-stack) or digikam stacks it, results in front."
        ),
    ] = "none",
    wanted: Annotated[
        str,
        typer.Option(
            "--formats",
            help="png, jpeg, webp, avif, tiff, jp2, same; labelled: each with the visible label, too.",
        ),
    ] = PNG,
    with_originals: Annotated[
        bool,
        typer.Option(
            help="The originals, too; album, bag and archivematica have them."
        ),
    ] = False,
    events: Annotated[
        str,
        typer.Option("--premis", help="Of bag and archivematica: xml, jsonld or both."),
    ] = "xml",
    credentials: Annotated[
        str,
        typer.Option(
            "--c2pa",
            help="Content credentials, signed: embed (in each file), sidecar (beside it) or off.",
        ),
    ] = "off",
    split: Annotated[
        str | None,
        typer.Option(help="Begin another part (-001, …) after so many bytes: 4GB."),
    ] = None,
) -> None:
    """Write results with a manifest; failed photos stand in failed.csv, ready to be sent
    again.
    """
    if layout not in LAYOUTS:
        raise typer.BadParameter(f"--layout is one of {', '.join(LAYOUTS)}")
    if events not in get_args(Premis):
        raise typer.BadParameter("--premis is xml, jsonld or both")
    if credentials not in ("off", *get_args(Form)):
        raise typer.BadParameter("--c2pa is embed, sidecar or off")
    if stack not in get_args(Stack):
        raise typer.BadParameter("--stack is none, photoprism, immich or digikam")
    if stack != "none" and layout != "album":
        raise typer.BadParameter("--stack is about names in --layout album")
    words = _formats(wanted, layout, credentials)
    most = bytes_of(split, "--split")
    settings = need_servers()
    store = S3Store(settings)
    signing = None
    if credentials != "off":
        signing = _signing(store, settings, cast(Form, credentials))
    name, items, skipped = _items(names, store, settings)
    begin = partial(
        Export,
        store,
        settings,
        layout=layout,
        with_originals=with_originals,
        formats=words,
        events=cast(Premis, events),
        signing=signing,
        stack=cast(Stack, stack),
    )
    states = Watch(store, settings).states(items)
    total = Total()
    written: list[str] = []
    state = next(states, None)
    with Encoding() as encoding:
        for number, place in enumerate(_places(out, is_split=most is not None), 1):
            written.append(place)
            with _sink(place, store) as sink:
                writing = begin(sink, encoding=encoding)
                while state and (most is None or writing.bytes < most):
                    _add(writing, state, total)
                    state = next(states, None)
                is_last = state is None
                part = bag.Part(number, is_last) if most is not None else None
                left = skipped if is_last else []
                writing.finish(name, datetime.now(UTC).date(), part, left)
            total.lacking += writing.lacking
            if state is None:
                break
    place = " … ".join(dict.fromkeys((written[0], written[-1])))
    console.print(
        shown(
            f"{place}: {total.results:,} results, {total.failed:,} failed,"
            f" {total.waiting:,} under way"
        )
    )
    if total.lacking:
        console.print(
            f"{total.lacking:,} of them lack a format of --formats; `notes` in"
            " manifest.csv says why"
        )


def _signing(store: S3Store, settings: Settings, form: Form) -> Signing:
    """Raises `SettingsError`."""
    if find_spec("c2pa") is None:
        raise missing_library("c2pa", "c2pa", "--c2pa")
    signer = identity.load(settings)
    if signer.warning:
        console.print(f"warning: {signer.warning}")
    return Signing(store, settings.bucket_results, signer, form)


def _formats(text: str, layout: str, credentials: str) -> list[str]:
    """Raises `typer.BadParameter`."""
    asked = text.replace(",", " ").split()
    try:
        words: list[str] = [*formats.ordered(set(asked) - {PNG, formats.JP2})]
    except PermanentError as error:
        detail = f"{error.detail}, {formats.JP2} or {PNG}"
        raise typer.BadParameter(detail) from error
    if PNG in asked:
        words.insert(0, PNG)
    if formats.JP2 in asked:
        words.append(formats.JP2)
    if not words:
        raise typer.BadParameter("--formats names no format; png is the usual one")
    if credentials != "off" and formats.JP2 in words:
        raise typer.BadParameter("--c2pa signs no jp2; name another format")
    if layout in ("bag", "archivematica") and len(words) > 1:
        raise typer.BadParameter(
            f"--layout {layout} has one access copy a photo; name one format"
        )
    return words


def _items(
    names: list[str], store: S3Store, settings: Settings
) -> tuple[str, Iterator[IngestItem], list[SkippedFile]]:
    """The name of what is exported, its photos, and what beside them was not sent.
    Raises `SettingsError`.
    """
    ingests = IngestStore(store, settings.bucket_results)
    if len(names) == 1:
        try:
            job = job_named(ingests, names[0])
        except SettingsError as error:
            task = _task(1, names[0], store, settings)
            if task is None:
                raise error from None
            return names[0], iter([task]), []
        return job.name, items_of(ingests, job), ingests.skipped(job.job)
    found = []
    for number, name in enumerate(names, 1):
        task = _task(number, name, store, settings)
        if task is None:
            raise SettingsError(
                f"there is no restored task {name!r}; nothing was written"
            )
        found.append(task)
    return "tasks", iter(found), []


def _task(
    number: int, task_id: str, store: S3Store, settings: Settings
) -> IngestItem | None:
    """A restored task as an item; None: there is none of that id."""
    record = UploadStore(store, settings).readable_record(task_id)
    if record is None:
        return None
    source = record.source
    return IngestItem(
        item=number,
        path=source.filename or keys.filename(source.key),
        bytes=source.bytes,
        sha256=source.sha256,
        upload_id=record.upload_id,
    )


def _places(out: str, *, is_split: bool) -> Iterator[str]:
    """Where the parts of an export go; without parts it is the place itself."""
    if not is_split:
        yield out
        return
    suffix = ".zip" if out.lower().endswith(".zip") else ""
    stem = out[: len(out) - len(suffix)].rstrip("/")
    number = 1
    while True:
        yield f"{stem}-{number:03d}{suffix}"
        number += 1


def _sink(place: str, store: S3Store) -> AbstractContextManager[Sink]:
    if place.startswith(SCHEME):
        return nullcontext(BucketSink(place, store))
    return sinks.opened(Path(place))


def _add(writing: Export, state: ItemState, total: Total) -> None:
    try:
        writing.add(state)
    except NotFound as error:
        console.print(shown(f"{state.item.path}: {error.detail}"))
        total.failed += 1
        return
    total.add(state)
