"""`darkroom ingest SOURCE…`: whole albums and archives into the bucket."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console

from infra.commands import log_samples
from infra.commands.job_options import shown_states
from infra.commands.no_stack import no_stack
from infra.commands.options import (
    JsonOption,
    ParamsOption,
    WorkflowOption,
    bytes_of,
    params_of,
    priority_of,
)
from infra.commands.require_stack import need_servers
from infra.commands.submit_by_api import Wishes
from infra.commands.submit_by_bucket import resolved_by, tell_unavailable
from infra.ingest import bag_profile, inventory, manifest, sources
from infra.ingest.bucket_source import SCHEME, Bucket
from infra.ingest.estimate import Estimate, estimated
from infra.ingest.inventory import Backs, Inventory
from infra.ingest.journal import Journal
from infra.ingest.manifest import Manifest
from infra.ingest.members import Refused
from infra.ingest.progress import InFlight, Watch
from infra.ingest.sending import Order, Rate, Sending
from infra.ingest.sources import Source
from infra.terminal import shown
from shared import models, workflows
from shared.callback_guard import check_url
from shared.errors import Code, PermanentError, SettingsError
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import identity
from shared.uploads.ingests import (
    IngestEnd,
    IngestJob,
    IngestStore,
    SkippedFile,
    path_of_file,
)
from shared.uploads.limits import limits_of

app = typer.Typer(add_completion=False)
console = Console(stderr=True, highlight=False, markup=False)
MOST_SHOWN = 20
"""Of one kind; `--json` has them all."""


@dataclass(frozen=True)
class Prepared:
    """A source that was looked at. `prefix` keeps the sources of one job apart."""

    source: Source
    inventory: Inventory
    prefix: str


@app.command()
def ingest(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Folders, bags, ZIP and TAR files of them, and s3://BUCKET/PREFIX.",
        ),
    ],
    job: Annotated[
        str | None,
        typer.Option(help="Name of the job; that of the first source without it."),
    ] = None,
    workflow: WorkflowOption = None,
    params: ParamsOption = "{}",
    priority: Annotated[str, typer.Option(help="bulk or interactive.")] = "bulk",
    manifest_file: Annotated[
        Path | None,
        typer.Option("--manifest", help="CSV with a row a photo, beside the source."),
    ] = None,
    checksum_files: Annotated[
        list[Path] | None,
        typer.Option("--checksums", help="Lists of checksums beside the source."),
    ] = None,
    require_checksums: Annotated[
        bool, typer.Option(help="A photo that no list names is a fault.")
    ] = False,
    profile_file: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            help="A BagIt profile, as a file: a bag that breaks it is refused.",
        ),
    ] = None,
    backs: Annotated[
        str, typer.Option(help="Backs of prints (_b): carry, restore or skip.")
    ] = "carry",
    rate: Annotated[
        str | None, typer.Option(help="Most bytes a second: 50MB, 500kB.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option(help="Most photos that wait for a worker.", min=1)
    ] = 500,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is wrong, and send nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every photo has ended.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option(help="Longest wait [s].", min=0)
    ] = 86400.0,
    callback: Annotated[
        str | None,
        typer.Option(help="URL that is called once every photo has ended."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send every photo of an album or archive; exit status 1 if any has a fault.

    The same command again sends only what is missing or has changed.
    """
    limit = Rate(bytes_of(rate, "--rate"))
    lists = [(str(file), _bytes_of(file)) for file in checksum_files or []]
    look = partial(
        inventory.taken,
        backs=_backs(backs),
        given=_given_manifest(manifest_file),
        lists=lists,
        require_checksums=require_checksums,
    )
    prepared = [
        Prepared(source, look(source), f"{source.name}/" if len(places) > 1 else "")
        for source in _opened(places)
    ]
    violations = _violations(profile_file, prepared, places)
    if dry_run:
        settings = Settings.load()
        name = workflow or settings.default_workflow
        _show_dry_run(prepared, violations, _most_bytes(settings), name, as_json)
        _exit_if(bool(violations) or any(each.inventory.faults for each in prepared))
        return
    if violations:
        raise _refusal(violations)
    wishes = Wishes(workflow, params_of(params), priority_of(priority))
    name = job or prepared[0].source.name
    run = _Run.of(name, wishes, in_flight, callback)
    with Journal(run.journal_file) as journal:
        ended = run.send(prepared, journal, limit)
        _show(prepared, ended, name, as_json)
        _exit_if(not (run.wait(journal, timeout_s) if wait else ended.failed == 0))


def _most_bytes(settings: Settings) -> int:
    """The largest photo of a job that is nobody's."""
    return limits_of(settings, None, of_job=True).max_upload_bytes


@dataclass(frozen=True)
class _Run:
    """One run of a job: where it sends what, and what it waits for."""

    settings: Settings
    ingests: IngestStore
    store: S3Store
    order: Order
    name: str
    watch: Watch
    in_flight: InFlight

    @classmethod
    def of(
        cls, name: str, wishes: Wishes, most_in_flight: int, callback: str | None
    ) -> _Run:
        """Raises `SettingsError` where no stack runs, and `PermanentError` for what no
        worker could restore, or where no call may go.
        """
        settings = Settings.load()
        if not settings.s3_endpoint_url and not settings.api_url:
            raise no_stack(settings.state_dir)
        if callback:
            check_url(callback, settings)
        models.use_local(settings.models_dir)
        store = S3Store(settings)
        workflows.use(workflows.Shelf(store, settings.bucket_results))
        workflow = resolved_by(wishes.workflow, wishes.params, settings)
        tell_unavailable(store, settings, workflow)
        order = Order(
            identity.ingest_job(name),
            workflow,
            wishes.priority,
            settings.bucket_uploads,
            _most_bytes(settings),
            settings.max_frames,
            callback,
            settings.usual_params,
        )
        watch = Watch(store, settings)
        return cls(
            settings,
            IngestStore(store, settings.bucket_results),
            store,
            order,
            name,
            watch,
            InFlight(most_in_flight, watch),
        )

    @property
    def journal_file(self) -> Path:
        return self.settings.state_dir / "ingests" / f"{self.order.job}.sqlite"

    def send(self, prepared: list[Prepared], journal: Journal, rate: Rate) -> IngestEnd:
        """Send what is missing of all sources, and write the job's end."""
        sending = Sending(
            self.store,
            self.ingests,
            journal,
            self.order,
            rate=rate,
            throttle=self.in_flight,
            is_continued=_begin(self.ingests, journal, self.order, self.name),
        )
        for each in prepared:
            sending.run(each.source, each.inventory, each.prefix)
        sent, failed = journal.counts()
        skipped = _skipped(prepared)
        self.ingests.write_skipped(
            self.order.job,
            [SkippedFile(path=path, why=why) for path, why in skipped.items()],
            {
                item.upload_id: path_of_file(item.path)
                for item in journal.items()
                if item.upload_id and item.path
            },
        )
        ended = IngestEnd(
            job=self.order.job,
            sent=sent,
            failed=failed,
            skipped=len(skipped),
            at=datetime.now(UTC),
        )
        job = self.ingests.job(self.order.job)
        wanted = self.order.callback or job.callback
        self.ingests.finish(job.model_copy(update={"callback": wanted}), ended)
        return ended

    def wait(self, journal: Journal, timeout_s: float) -> bool:
        """Wait for the photos sent, and show those of the job that have no result.
        Whether there are none.
        """
        in_time = self.in_flight.wait_for_all(time.monotonic() + timeout_s)
        states = list(self.watch.states(journal.items()))
        shown_states(states, as_json=False, only_failed=True)
        return in_time and not any(state.has_failed for state in states)


def _begin(ingests: IngestStore, journal: Journal, order: Order, name: str) -> bool:
    """Write the job down. True: it was begun elsewhere, or its journal was lost; what is
    known of it is in the journal now.
    """
    ours = IngestJob(
        job=order.job,
        name=name,
        workflow=order.workflow.ref,
        priority=order.priority,
        begun_at=datetime.now(UTC),
        callback=order.callback,
    )
    if ingests.begin(ours) == ours or not journal.is_empty():
        return False
    for item in ingests.items(order.job):
        journal.write(item, "")
    return True


def _violations(
    file: Path | None, prepared: list[Prepared], places: list[str]
) -> list[Refused]:
    """The rules of a profile that the bags break. Raises `SettingsError` for a file that
    is no profile.
    """
    if file is None:
        return []
    profile = bag_profile.parse(_bytes_of(file), str(file))
    return [
        Refused(each.prefix + refused.path, refused.fault)
        for each, place in zip(prepared, places, strict=True)
        for refused in bag_profile.faults(profile, _plain_source(place), place)
    ]


def _refusal(violations: list[Refused]) -> PermanentError:
    """The error of bags that break their profile."""
    told = "; ".join(refused.fault.detail for refused in violations[:MOST_SHOWN])
    rest = len(violations) - MOST_SHOWN
    more = f"; and {rest:,} more" if rest > 0 else ""
    return PermanentError(
        Code.PROFILE_VIOLATION,
        f"nothing was sent, since the profile is broken: {told}{more}. Have the bag packed anew, or ingest it without"
        " --profile; --dry-run names every violation",
    )


def _opened(places: list[str]) -> list[Source]:
    found = [_source(place) for place in places]
    names = [source.name for source in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SettingsError(
            f"two sources are named {min(twice)!r}; ingest them as two jobs"
        )
    return found


def _source(place: str) -> Source:
    found = _plain_source(place)
    if find_spec("pypdf") is None:
        return found
    # The library is an extra of its own.
    from infra.ingest.pdf_scans import WithPdfs

    return WithPdfs(found)


def _plain_source(place: str) -> Source:
    """The files of a source as they lie there."""
    if place.startswith(SCHEME):
        return Bucket(place, S3Store(need_servers()))
    return sources.opened(Path(place))


def _given_manifest(file: Path | None) -> Manifest | None:
    return manifest.parse(_bytes_of(file), str(file)) if file else None


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error


def _backs(text: str) -> Backs:
    if text not in ("carry", "restore", "skip"):
        raise typer.BadParameter("--backs is carry, restore or skip")
    return cast(Backs, text)


def _show_dry_run(
    prepared: list[Prepared],
    violations: list[Refused],
    most: int,
    workflow: str,
    as_json: bool,
) -> None:
    """Read everything, and show all that is wrong at once."""
    twins = {
        each.prefix + path: each.prefix + first
        for each in prepared
        for path, first in inventory.read_all(
            each.source, each.inventory, most
        ).by_path.items()
    }
    faults = [_told(refused) for refused in violations]
    for each in prepared:
        faults += [_told(refused, each.prefix) for refused in each.inventory.faults]
    skipped = _skipped(prepared)
    photos = sum(len(each.inventory.photos) for each in prepared)
    size = sum(each.inventory.bytes for each in prepared)
    estimate = estimated(size, log_samples.latest(workflow))
    if as_json:
        found: dict[str, Any] = {
            "photos": photos,
            "bytes": size,
            "faults": faults,
            "skipped": skipped,
            "twins": twins,
            "estimate": asdict(estimate) if estimate else None,
        }
        print(json.dumps(found, indent=2))
        return
    console.print(f"{photos:,} photos, {size:,} bytes; nothing was sent")
    console.print(_in_words(estimate, workflow))
    for fault in faults[:MOST_SHOWN]:
        console.print(shown(f"{fault['code']}: {fault['detail']}"))
    _show_rest(faults)
    lines = _lines_of(skipped)
    lines += [f"{path} has the bytes of {first}" for path, first in twins.items()]
    for line in lines[:MOST_SHOWN]:
        console.print(shown(line))
    _show_rest(lines)


def _told(refused: Refused, prefix: str = "") -> dict[str, str]:
    return {
        "path": prefix + refused.path,
        "code": refused.fault.code,
        "detail": refused.fault.detail,
    }


def _skipped(prepared: list[Prepared]) -> dict[str, str]:
    """Files that are not sent, and why."""
    return {
        each.prefix + path: why
        for each in prepared
        for path, why in each.inventory.skipped.items()
    }


def _lines_of(skipped: dict[str, str]) -> list[str]:
    return [f"not sent: {path} ({why})" for path, why in skipped.items()]


def _in_words(estimate: Estimate | None, workflow: str) -> str:
    if estimate is None:
        return f"no estimate: the log has no photo of {workflow}, or no stack runs"
    hours = f"about {estimate.hours:,.1f} hours"
    if estimate.hours < 0.1:
        hours = f"about {estimate.hours * 60:,.1f} minutes"
    return (
        f"{hours} of one worker, and"
        f" {estimate.bytes_out / 1e6:,.1f} MB of results, by the medians of the last"
        f" {estimate.photos} photos of {workflow}"
    )


def _show(prepared: list[Prepared], ended: IngestEnd, name: str, as_json: bool) -> None:
    if as_json:
        told = {"name": name, **ended.model_dump(mode="json")}
        print(json.dumps({**told, "left_out": _skipped(prepared)}, indent=2))
        return
    faults = [refused for each in prepared for refused in each.inventory.faults]
    for refused in faults[:MOST_SHOWN]:
        console.print(shown(f"{refused.fault.code}: {refused.fault.detail}"))
    _show_rest(faults)
    left_out = _lines_of(_skipped(prepared))
    for line in left_out[:MOST_SHOWN]:
        console.print(shown(line))
    _show_rest(left_out)
    console.print(
        shown(
            f"job {name}: {ended.sent:,} photos sent, {ended.failed:,} with a fault,"
            f" {ended.skipped:,} left out; `darkroom jobs {name}` says how far they are"
        )
    )


def _show_rest(found: list[Any]) -> None:
    if len(found) > MOST_SHOWN:
        console.print(f"… and {len(found) - MOST_SHOWN:,} more; --json has them all")


def _exit_if(is_bad: bool) -> None:
    if is_bad:
        raise typer.Exit(1)
