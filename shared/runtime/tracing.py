"""Traces by OpenTelemetry, from an upload to its result.

Where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector, spans are sent there by OTLP over
HTTP; otherwise nothing is loaded, and every function here does nothing. What belongs
together hangs together by W3C's `traceparent`: the receipt keeps it, so that a photo
that waits for a week, or is published again, stays in the trace of its upload; messages
carry it, too. Spans have ids and no words of people. OpenTelemetry's own variables
(`OTEL_…`) say all else, such as headers and the share of traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared import __version__
from shared.errors import SettingsError
from shared.runtime import environment

HEADER = "traceparent"

_tracer: Any = None


def start(process: str) -> None:
    """Trace this process, if the environment asks for it; called once by each entry
    point.

    Raises `SettingsError` where the packages for it are missing.
    """
    global _tracer
    if not environment.wants_traces():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and traces need the extra `otel`: run "
            "`pip install -c constraints.txt -e '.[otel]'` in Darkroom's checkout"
        ) from error
    attributes = {"service.name": f"darkroom-{process}", "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("darkroom", __version__)


@contextmanager
def span(
    name: str, parent: str | None = None, *, serves: bool = False, **ids: str | int
) -> Iterator[None]:
    """A span around this block, under `parent` (a `traceparent`) if there is one. An
    error is marked by its type alone: its words may be a user's. `serves`: the block
    answers somebody's request.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    with _tracer.start_as_current_span(
        name,
        context=_context(parent),
        kind=SpanKind.SERVER if serves else SpanKind.INTERNAL,
        attributes=ids,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def describe(name: str, facts: Mapping[str, str | int]) -> None:
    """Name the span around the caller anew, once it is known what it is of."""
    if _tracer is None:
        return
    from opentelemetry.trace import get_current_span

    current = get_current_span()
    current.update_name(name)
    current.set_attributes(facts)


def mark(name: str, parent: str | None, **ids: str | int) -> None:
    """A span without length: something has happened. Nothing without `parent`."""
    if parent:
        with span(name, parent, serves=False, **ids):
            pass


def traceparent() -> str | None:
    """The `traceparent` of the span around the caller; None without one."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(HEADER)


def headers(parent: str | None) -> dict[str, str]:
    """The headers of a message that belongs to `parent`."""
    return {HEADER: parent} if parent else {}


def parent_in(message_headers: Mapping[str, Any]) -> str | None:
    """The `traceparent` of a message; None where it has none."""
    value = message_headers.get(HEADER)
    return value if isinstance(value, str) else None


def _context(parent: str | None) -> Any:
    """None is the context that is there. What is no `traceparent` begins a trace."""
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract({HEADER: parent})
