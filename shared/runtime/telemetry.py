"""Logging: JSON in containers, pretty on a terminal; event names are dotted past facts
(`task.restored`).

Every event name that Darkroom logs is listed here with its meaning. Names, keys and
user ids of people are never logged: an upload is its `upload_id`, a user is not
mentioned.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import structlog

from shared.runtime.environment import wants_no_colour
from shared.runtime.settings import ProcessSettings, unknown_variables

EVENTS = {
    "clock.corrected": "This machine's clock is `seconds` behind the store's (below 0: ahead); the store's is used.",
    "setting.unknown": "`variable` is no setting, so it changes nothing; `nearest` may be meant.",
    "buckets.no_cors": "The store did not take the rules by which web pages may reach this `bucket`.",
    "buckets.keep_versions": "These `buckets` keep versions, which an erasure must be able to delete.",
    "tickets.own_key": "Upload tickets are signed with the handlers' own key, whose rights are wider than a ticket's.",
    "workflow.refused": "A file in DARKROOM_WORKFLOWS_DIR was not added, for the reason in `detail`.",
    "uploads.checked": "The kinds of signed uploads that are `safe` on this store were found out.",
    "uploads.not_ended": "A trial upload in parts could not be ended, with HTTP `status`.",
    "process.started": "A Darkroom process is ready for work.",
    "process.stopped": "A Darkroom process ended on request.",
    "process.stuck": "A process hangs, or lost one of its threads; it is ended and restarted.",
    "worker.failed_to_begin": "A delivery could not be looked at; it is looked at again.",
    "worker.idle": "A worker had no work for `idle_s`, and leaves, as DARKROOM_IDLE_LEAVE_S wants.",
    "worker.announced": "A worker wrote what it can do into the bucket, under its `kind`.",
    "worker.unannounced": "A worker could not write what it can do; it is tried again.",
    "worker.unknown": "What a worker can do cannot be read from its `document`; the others are used.",
    "decoder.confined": "What holds on this machine for a process that decodes: no `network`, few `system_calls`.",
    "decoder.gone": "The decoder's process ended or did not start, by `error`; a new one is tried at once.",
    "decoder.died": "The process that decoded one photo crashed or ran past a limit, by `signal`; it costs that photo.",
    "pyramid.made": "The tiles of a result or an original, which somebody asked for, are stored.",
    "pyramid.postponed": "A picture could not be cut into tiles for now; whoever wants that asks again.",
    "pyramid.impossible": "A picture cannot be cut into tiles, by `code`; whoever asks is told so.",
    "pyramid.failed": "A picture could not be cut into tiles because of a bug.",
    "credentials.not_made": "Content credentials of a result could not be made, by `error`; the record has a note.",
    "credentials.will_end": "Without time stamps, what this worker signs is invalid once its certificate ends.",
    "copy.not_made": "A copy beside a result could not be made, by `error`; the record has a note.",
    "preview.not_converted": "The colours of a preview could not be converted, by `error`; it is stored as it is.",
    "process.orphaned": "A new supervisor found and killed processes that a dead one had left behind.",
    "process.killed": "A process did not end within its grace after SIGTERM and was killed.",
    "process.died": "The supervisor saw a process end by itself; it is restarted after `delay_s`.",
    "upload.queued": "An upload was accepted and its task published.",
    "upload.held": "An upload was accepted, and waits for its start.",
    "upload.rejected": "An upload was refused, with `code`.",
    "upload.duplicate": "The same photo was restored before with the same workflow; the upload shares that result.",
    "upload.ignored": "A notification called for nothing (our own output, a deleted object, an event seen before).",
    "upload.failed": "An upload met a bug of ours, `error` raised at `where`; it was refused as `internal`.",
    "upload.unpublished": "A decision is written down but could not be published; the sweep will.",
    "quarantine.no_copy": "A rejected object could not be copied into quarantine, with `code`; its reason is there.",
    "notification.unreadable": "A notification could not be understood; it was refused with its reason.",
    "notification.failed": "A notification met a bug of ours; it is tried again, and at last becomes a dead letter.",
    "access.refused": "An address tried too many wrong keys or tokens; once a minute, with the last `reason`.",
    "access.limited": "A key's owner sends more requests than `policy` allows; once a minute. `key_id` is not the key.",
    "limits.store_lost": "The store of limits is away: each process of the API counts for itself meanwhile.",
    "limits.store_back": "The store of limits answers again: all processes count together.",
    "access.keys_unavailable": "The key set of the tokens' issuer could not be fetched; the last one is used.",
    "request.postponed": "A request was answered with 503, as the service of `code` is away, which said `detail`.",
    "request.failed": "A request met a bug of ours; it was answered with 500.",
    "report.failed": "A report as PDF was not made: its process was ended by `signal`.",
    "task.begun": "A photo goes on the device of process `pid`, which claimed its `attempt` at `claimed_at`.",
    "task.restored": "A photo was restored: one line with all its figures.",
    "task.duplicate": "A task was already done; nothing was computed.",
    "task.failed": "A photo reached its end without a result, with `code`.",
    "task.withdrawn": "A photo was cancelled or erased by its owner, with `code`.",
    "task.dropped": "A worker stopped work on a photo that its owner had taken back.",
    "task.retried": "An attempt failed for a passing reason; the next follows in `delay_s`.",
    "task.deferred": "The worker's disk is full: the photo has another turn in `delay_s`, no attempt is counted.",
    "task.postponed": "Another worker holds this task; looked at again in `delay_s`.",
    "task.endless": "The store refuses even the end of a photo; the sweep publishes its task again.",
    "tile.smaller": "A tile of `failed_px` did not fit into the device's memory and is cut into ones of `then_px`.",
    "draft.failed": "The picture of what is done so far of a photo was not stored, or not deleted; the photo goes on.",
    "model.loaded": "A network was read into memory of `device`, in `seconds`.",
    "model.unloaded": "A network's memory was given back: the worker was `idle`, or another one needed the `room`.",
    "message.dead": "A message became a dead letter, with its reason.",
    "message.left_to_sweep": "The store refuses the object of a notification, and no other; the sweep tries again.",
    "service.lost": "Store or broker does not answer: it is left alone for `delay_s`, no photo is taken meanwhile.",
    "service.back": "Store or broker answers again.",
    "broker.lost": "The connection to the broker broke; a new one follows after `delay_s`.",
    "broker.connected": "A consumer is connected and consuming.",
    "delivery.lost": "A settled delivery was no longer ours; its message comes again.",
    "log.written": "A batch of log events was committed.",
    "log.failed": "One log event met a bug of ours, `error` raised at `where`; it alone became a dead letter.",
    "log.archived": "Months of the audit log moved to the archive, or what came late of them did; with counts.",
    "log.kept": "Old months of the audit log stay in the database, as DuckDB is not installed.",
    "log.refused": "The database refused one log event; it went to `darkroom.audit_reject`.",
    "log.postponed": "The database could not be reached; the batch is kept and tried again after `delay_s`.",
    "task.republished": "A lost message, or an attempt that is due, was published by the sweep.",
    "claim.dropped": "A claim was left behind by a worker that died at the end of its upload; the sweep deleted it.",
    "claim.left": "The store refuses to delete the claims of a task that ended; the sweep deletes them.",
    "claim.refused": "The store refuses to renew the claim of a task in work; it is tried again later.",
    "reason.superseded": "A reason of an earlier upload lay at the place of a later one; the sweep deleted it.",
    "document.damaged": "A receipt, record or claim cannot be read; `repaired` says whether it was made anew.",
    "retention.finished": "One run of the retention rules: what was deleted and kept, with counts.",
    "sweep.finished": "One pass over uploads, receipts and results, with its counts.",
    "sweep.failed": "A pass could not be finished; the next one begins where this one began, after `delay_s`.",
    "sweep.looked": "A look at what was uploaded of late, with its counts.",
    "sweep.object_failed": "One object met a fault in `stage`, `error` raised at `where`; the pass went on.",
    "sweep.multiparts_kept": "The store cannot list or end uploads in parts, or may not; abandoned ones stay.",
    "ingest.finished": "Every upload of the ingest `job` has ended; a webhook about it is asked for.",
    "callback.delivered": "A receiver answered a callback with 2xx.",
    "callback.disabled": "A receiver answered 410: it is not called again.",
    "callback.given_up": "Every attempt of a callback failed; it became a dead letter.",
    "callback.failed": "An attempt of a callback failed; the next follows in `delay_s`.",
    "callback.message_failed": "A request for a callback met a bug of ours; it is retried, and at last a dead letter.",
    "callback.unread": "The attempts of one callback cannot be read, `error` raised at `where`; the others are.",
    "callback.postponed": "An attempt of a callback could not begin: the store or a document is not available.",
    "backup.pruned": "Old runs of the backup, and what only they named, were deleted; with counts and `findings`.",
    "backup.finished": "A run of the backup brought the vault up to date; with its counts and `findings`.",
    "console.sign_in_refused": "Somebody was not signed in to the console by the OpenID provider, and why.",
    "backup.unnoted": "The backup could not write how its last run was; the backup itself is whole.",
    "backup.failed": "A run of the backup could not be finished, with `code`; it goes on after `delay_s`.",
    "notice.raised": "Something that an administrator should know of, of `kind`, in the sentence `detail`.",
    "notice.told": "The administrator was told of it, by `way` (webhook, mail).",
    "notice.failed": "The administrator could not be reached by `way`; the line `notice.raised` is what there is.",
    "notice.lost": "A notice could not be sent on its way, as the broker is away.",
    "notice.unseen": "A look for trouble met a bug of ours; the next one follows.",
    "drill.passed": "A drill on schedule brought a stack back from the backup, in time and whole.",
    "drill.failed": "A drill on schedule did not pass; its protocol in `protocols` says why.",
    "rebuild.finished": "Everything that the bucket knows was written to the audit log again, with counts.",
}


def raised_at(error: BaseException) -> str:
    """File and line, for logs that must not contain the error's own words: they may
    quote what a user wrote.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown"
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def logger() -> structlog.stdlib.BoundLogger:
    """The logger. Bind ids once per message, then log one line per unit of work."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger())


class _Lines:
    """stderr, of which a full disk costs lines and no work."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure(settings: ProcessSettings, process: str) -> None:
    """Set up logging of this process to stderr; called once by each entry point."""
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _logger, _method, event: {"process": process, **event},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Lines())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(name)s %(levelname)s %(message)s",
    )
    for variable, meant in unknown_variables().items():
        logger().warning("setting.unknown", variable=variable, nearest=meant or None)


def configure_command(settings: ProcessSettings, process: str) -> None:
    """Set up logging of what a command of a person's runs: lines of the level info stay
    out of the terminal, unless debugging was asked for.
    """
    level = "warning" if settings.log_level == "info" else settings.log_level
    configure(settings.model_copy(update={"log_level": level}), process)


def _renderers(settings: ProcessSettings) -> list[structlog.typing.Processor]:
    is_pretty = settings.log_format == "pretty"
    if settings.log_format == "auto":
        is_pretty = sys.stderr.isatty()
    if not is_pretty:
        json_lines = structlog.processors.JSONRenderer()
        return [structlog.processors.format_exc_info, json_lines]
    # Not the renderer's own tracebacks: they show every variable, keys and tokens among
    # them.
    return [
        structlog.dev.ConsoleRenderer(
            colors=not wants_no_colour(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
