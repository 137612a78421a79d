"""S3's everyday requests (GET, HEAD, PUT, DELETE of one object; listings) without the
SDK's machinery around them.

The SDK spends three quarters of a small request on building, dispatching and parsing
it. Here a request is a URL, a few headers and a body, on the HTTP library that the SDK
uses, too; credentials, signatures, proxies and certificates are as the SDK has them.
What the server refuses is raised as the SDK's `ClientError`, what breaks as urllib3's
`HTTPError`. Requests are signed for the server's time: one that is signed for another
quarter of an hour is refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from io import SEEK_END
from typing import IO, Any, cast
from urllib.parse import quote, urlsplit

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import check_dns_name, get_environ_proxies
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from shared import __version__
from shared.runtime.retry import RetryPolicy
from shared.s3.clock import StoreClock

CONNECT_S = 3
READ_S = 30
CONNECTIONS = 32
BLOCK_BYTES = 1 << 18
"""Of a file, sent at a time."""
RETRY = RetryPolicy(base_s=0.2, cap_s=5.0, max_attempts=3)
"""Of one request. What lasts longer is a fault of the store, and its callers' patience.
"""

ONCE = RetryPolicy(base_s=0.0, cap_s=0.0, max_attempts=1)

NOW = "darkroom.now"

_PASSING_STATUSES = {429, 500, 502, 503, 504}
_PASSING_CODES = {
    "RequestTimeout",
    "RequestTimeoutException",
    "PriorRequestNotComplete",
    "SlowDown",
    "Throttling",
    "ConditionalRequestConflict",
}
_CODE = re.compile(rb"<Code>([^<]{1,100})</Code>")

Body = bytes | IO[bytes]


@dataclass
class _Unsigned:
    """What the signer reads of a request, and where it puts the signature."""

    method: str
    url: str
    headers: dict[str, str]
    body: Body
    params: None = None
    context: dict[str, Any] = field(default_factory=dict)


class StoreTimeAuth(S3SigV4Auth):
    """Signs for the time that `request.context` has as `NOW`; the SDK knows this
    machine's only.
    """

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = request.context[NOW].strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


class S3Http:
    """Requests for single objects and pages of listings, on a pool of connections.
    Thread-safe.

    `credentials`: None means that none were found, and every request says so.
    `path_style`: the bucket is the first part of the path; otherwise of the host name,
    where it can be. `verify`: a file of certificate authorities, or the usual ones.
    `clock` is put right by every answer. `retry`, `read_s`: longest silence; None means
    `RETRY`, `READ_S`.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: Credentials | None,
        path_style: bool,
        verify: str | bool = True,
        sleep: Callable[[float], None] = time.sleep,
        clock: StoreClock | None = None,
        retry: RetryPolicy | None = None,
        read_s: float | None = None,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._region = region
        self._credentials = credentials
        self._path_style = path_style
        self._sleep = sleep
        self._clock = clock or StoreClock()
        self._proxy = ProxyConfiguration(get_environ_proxies(endpoint)).proxy_url_for(
            endpoint
        )
        self._pools = _pools(self._proxy, verify, read_s or READ_S)
        self._retry = retry

    def request(
        self,
        method: str,
        bucket: str,
        key: str,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
    ) -> BaseHTTPResponse:
        """The server's answer, of a GET with its body still to read. A file is sent
        from its beginning.

        Passing faults are tried again, `RETRY` says how often; silence is not.
        """
        return self._ask(
            method, self.url(bucket, key, version), dict(headers or {}), body
        )

    def listing(self, bucket: str, query: Mapping[str, str]) -> BaseHTTPResponse:
        """One page, which was read to its end: a connection that breaks is a passing
        fault, too.
        """
        told = "&".join(
            f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query)
        )
        return self._ask(
            "GET", f"{self._place(bucket)}/?{told}", {}, b"", is_whole=True
        )

    def _ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Body,
        is_whole: bool = False,
    ) -> BaseHTTPResponse:
        retry = self._retry or RETRY
        attempt = 0
        while True:
            attempt += 1
            asked_s = self._clock.monotonic()
            try:
                answer = self._send(method, url, dict(headers), body, is_whole)
            except HTTPError as broken:
                # Whoever waited for so long for an object asks whether it is this one,
                # before he waits again.
                was_silent = isinstance(broken, ReadTimeoutError) and not is_whole
                if was_silent or (delay_s := retry.delay_s(attempt)) is None:
                    raise
            else:
                was_wrong = heard(self._clock, answer.headers.get("Date"), asked_s)
                if answer.status < 300:
                    return answer
                error = _refusal(method, answer)
                # Refused for the time that it was signed for, perhaps; a HEAD is not
                # told for what.
                if (
                    not (was_wrong or _is_passing(error))
                    or (delay_s := retry.delay_s(attempt)) is None
                ):
                    raise error
            self._sleep(delay_s)

    def url(self, bucket: str, key: str, version: str | None = None) -> str:
        """Address of an object, its key encoded as S3 signs it."""
        if not key:  # that would be the bucket itself
            raise ParamValidationError(report="the key is empty")
        query = f"?versionId={quote(version, safe='-_.~')}" if version else ""
        return f"{self._place(bucket)}/{quote(key, safe='/~')}{query}"

    def _place(self, bucket: str) -> str:
        scheme, host, *_ = urlsplit(self._endpoint)
        # A certificate for *.s3.amazonaws.com covers no bucket with dots, nor does DNS
        # allow every bucket's name.
        if self._path_style or "." in bucket or not check_dns_name(bucket):
            return f"{self._endpoint}/{quote(bucket, safe='')}"
        return f"{scheme}://{bucket}.{host}"

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: Body, is_whole: bool
    ) -> BaseHTTPResponse:
        """One attempt, signed for now."""
        if not isinstance(body, bytes):
            body.seek(0)
        if self._credentials is None:
            raise NoCredentialsError
        # renewed here, if they are of the kind that ends
        credentials = self._credentials.get_frozen_credentials()
        request = _Unsigned(
            method, url, headers, body, context={NOW: self._clock.now()}
        )
        StoreTimeAuth(credentials, "s3", self._region).add_auth(
            cast(AWSRequest, request)
        )
        headers["User-Agent"] = f"darkroom/{__version__}"
        if method == "PUT":
            headers["Content-Length"] = str(size_of(body))
        # Not through the pools' own `urlopen`, which would tidy the path: `a/../b` is a
        # key like any other.
        target = (
            url
            if self._proxy and url.startswith("http:")
            else url[url.index("/", len("https://")) :]
        )
        return self._pools.connection_from_url(url).urlopen(
            method,
            target,
            cast(bytes, body) if method == "PUT" else None,
            headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=is_whole or method != "GET",
            decode_content=False,
        )


def heard(clock: StoreClock, date: str | None, asked_s: float) -> bool:
    """Whether the `Date` of an answer to what was asked at `asked_s` (monotonic) put
    `clock` right.
    """
    try:
        return date is not None and clock.heard(parsedate_to_datetime(date), asked_s)
    except ValueError:
        return False


def _pools(proxy: str | None, verify: str | bool, read_s: float) -> PoolManager:
    options: Any = {
        "timeout": Timeout(connect=CONNECT_S, read=read_s),
        "maxsize": CONNECTIONS,
        "blocksize": BLOCK_BYTES,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": get_cert_path(cast(bool, verify)),
    }
    if proxy is None:
        return PoolManager(**options)
    return ProxyManager(
        proxy, proxy_headers=ProxyConfiguration().proxy_headers_for(proxy), **options
    )


def metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Raises `ParamValidationError` for what a header cannot carry: anything but ASCII,
    as the SDK has it.
    """
    for name, value in metadata.items():
        if not (name + value).isascii() or not (name + value).isprintable():
            raise ParamValidationError(
                report=f"metadata {name!r} may hold printable ASCII characters only"
            )
    return {f"x-amz-meta-{name}": value for name, value in metadata.items()}


def size_of(body: Body) -> int:
    if isinstance(body, bytes):
        return len(body)
    size = body.seek(0, SEEK_END)
    body.seek(0)
    return size


def _refusal(method: str, answer: BaseHTTPResponse) -> ClientError:
    """The server's refusal; one to HEAD has no body, and its status must do."""
    found = _CODE.search(answer.data)
    code = found[1].decode() if found else str(answer.status)
    told: Any = {
        "Error": {"Code": code, "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": answer.status},
    }
    return ClientError(told, method)


def _is_passing(error: ClientError) -> bool:
    return (
        error.response["ResponseMetadata"]["HTTPStatusCode"] in _PASSING_STATUSES
        or error.response["Error"]["Code"] in _PASSING_CODES
    )
