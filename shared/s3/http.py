"""S3's everyday requests (GET, HEAD, PUT and DELETE of one object; listings) without
the SDK around them.

The SDK spends three quarters of a small request on building, dispatching and parsing
it. Here a request is a URL, a few headers and a body, on the SDK's own HTTP library;
credentials, signatures, proxies and certificates are the SDK's. A refusal is raised as
the SDK's `ClientError`, a broken connection as urllib3's `HTTPError`. Requests are
signed for the server's time, as a server refuses signatures that are a quarter of an
hour off.
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
from shared.runtime.retry import RetryPolicy, retrying
from shared.s3.clock import StoreClock

CONNECT_S = 3
READ_S = 30
CONNECTIONS = 32
BLOCK_BYTES = 1 << 18
"""Bytes read from a file and sent per write."""
MAX_ATTEMPTS = 3
RETRY = RetryPolicy(base_s=0.2, cap_s=5.0, max_attempts=MAX_ATTEMPTS)
"""Attempts of a single request. Longer outages are left to the caller's own policy."""

ONCE = RetryPolicy(base_s=0.0, cap_s=0.0, max_attempts=1)

NOW = "darkroom.now"
"""Key of a request's context: the time for which it is signed."""

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
    """A request as the signer sees it: it reads the fields and writes its headers."""

    method: str
    url: str
    headers: dict[str, str]
    body: Body
    params: None = None
    context: dict[str, Any] = field(default_factory=dict)


class StoreTimeAuth(S3SigV4Auth):
    """The SDK's signer, with the time under `NOW` in place of this machine's."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = request.context[NOW].strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


class S3Http:
    """Requests for single objects and pages of listings, on a pool of connections.
    Thread-safe.

    `credentials`: None means that none were found; every request then fails with
    `NoCredentialsError`. `path_style`: the bucket is the first part of the path;
    otherwise of the host name, where that is possible. `verify`: a file of certificate
    authorities, or the usual ones. `clock` is corrected by every response. `retry` and
    `read_s` (the longest silence) are `RETRY` and `READ_S` by default.
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
        proxies = ProxyConfiguration(get_environ_proxies(endpoint))
        self._proxy = proxies.proxy_url_for(endpoint)
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
        """Send a request and return the response; the body of a GET is still unread.

        A file is sent from its beginning. Passing faults are tried again as the retry
        policy says, silence is not. Raises `ClientError`, `HTTPError`,
        `NoCredentialsError`.
        """
        url = self.url(bucket, key, version)
        return self._send_with_retries(method, url, dict(headers or {}), body)

    def listing(self, bucket: str, query: Mapping[str, str]) -> BaseHTTPResponse:
        """Request one page and read it to its end.

        As nothing is left to read, a connection that breaks is a passing fault, too.
        """
        pairs = [f"{name}={_quoted(query[name])}" for name in sorted(query)]
        url = f"{self._bucket_url(bucket)}/?{'&'.join(pairs)}"
        return self._send_with_retries("GET", url, {}, b"", is_whole=True)

    def _send_with_retries(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Body,
        is_whole: bool = False,
    ) -> BaseHTTPResponse:
        for attempt in retrying(self._retry or RETRY, self._sleep):
            sent_s = self._clock.monotonic()
            try:
                response = self._send(method, url, dict(headers), body, is_whole)
            except HTTPError as error:
                # After a silence the caller first looks whether this object is at
                # fault, before anything waits that long again.
                was_silent = isinstance(error, ReadTimeoutError) and not is_whole
                if was_silent or attempt.is_last:
                    raise
                continue
            date = response.headers.get("Date")
            clock_was_wrong = correct_clock(self._clock, date, sent_s)
            if response.status < 300:
                return response
            refusal = _refusal(method, response)
            # The refusal of a request that was signed for the wrong time need not say
            # so: that of a HEAD says nothing.
            is_passing = clock_was_wrong or _is_passing(refusal)
            if not is_passing or attempt.is_last:
                raise refusal
        raise AssertionError("the last attempt returns or raises")

    def url(self, bucket: str, key: str, version: str | None = None) -> str:
        """Address of an object, its key encoded as S3 signs it."""
        if not key:
            # The URL would be that of the bucket itself.
            raise ParamValidationError(report="the key is empty")
        query = f"?versionId={_quoted(version)}" if version else ""
        return f"{self._bucket_url(bucket)}/{quote(key, safe='/~')}{query}"

    def _bucket_url(self, bucket: str) -> str:
        scheme, host, *_ = urlsplit(self._endpoint)
        # A certificate for *.s3.amazonaws.com covers no bucket with dots, and not every
        # bucket's name is a DNS name.
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
        # Temporary credentials are renewed here.
        credentials = self._credentials.get_frozen_credentials()
        context = {NOW: self._clock.now()}
        request = _Unsigned(method, url, headers, body, context=context)
        signer = StoreTimeAuth(credentials, "s3", self._region)
        signer.add_auth(cast(AWSRequest, request))
        headers["User-Agent"] = f"darkroom/{__version__}"
        if method == "PUT":
            headers["Content-Length"] = str(size_of(body))
        # Not by the `urlopen` of the pools, which would normalise the path: `a/../b` is
        # a key like any other.
        return self._pools.connection_from_url(url).urlopen(
            method,
            self._target(url),
            cast(bytes, body) if method == "PUT" else None,
            headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=is_whole or method != "GET",
            decode_content=False,
        )

    def _target(self, url: str) -> str:
        """What the request line names: a proxy for plain HTTP gets the whole URL, a
        server the path.
        """
        if self._proxy and url.startswith("http:"):
            return url
        return url[url.index("/", len("https://")) :]


def correct_clock(clock: StoreClock, date: str | None, sent_s: float) -> bool:
    """Correct `clock` by the `Date` header of a response.

    `sent_s`: when the request was sent (monotonic). True when the clock was wrong; a
    header that is missing or damaged changes nothing.
    """
    if date is None:
        return False
    try:
        return clock.correct(parsedate_to_datetime(date), sent_s)
    except ValueError:
        return False


def _quoted(value: str) -> str:
    """`value` encoded as S3 signs parts of a query."""
    return quote(value, safe="-_.~")


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
    headers = ProxyConfiguration().proxy_headers_for(proxy)
    return ProxyManager(proxy, proxy_headers=headers, **options)


def metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of an object as HTTP headers.

    Raises `ParamValidationError` for what a header cannot carry, as the SDK does:
    anything but printable ASCII.
    """
    for name, value in metadata.items():
        text = name + value
        if not text.isascii() or not text.isprintable():
            raise ParamValidationError(
                report=f"metadata {name!r} may hold printable ASCII characters only"
            )
    return {f"x-amz-meta-{name}": value for name, value in metadata.items()}


def size_of(body: Body) -> int:
    """Bytes of `body`; a file is left at its beginning."""
    if isinstance(body, bytes):
        return len(body)
    size = body.seek(0, SEEK_END)
    body.seek(0)
    return size


def _refusal(method: str, response: BaseHTTPResponse) -> ClientError:
    """The SDK's error for a refusal. A response to HEAD has no body, so that its status
    stands for the code.
    """
    match = _CODE.search(response.data)
    code = match[1].decode() if match else str(response.status)
    fields: Any = {
        "Error": {"Code": code, "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": response.status},
    }
    return ClientError(fields, method)


def _is_passing(refusal: ClientError) -> bool:
    status = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
    code = refusal.response["Error"]["Code"]
    return status in _PASSING_STATUSES or code in _PASSING_CODES
