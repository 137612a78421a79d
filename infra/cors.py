"""Which web pages may send photos to the buckets, and show results out of them: CORS
rules of the store, for those pages that may use the API.

SeaweedFS answers every page as long as a bucket has no rule; Amazon S3 and R2 answer
none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import PermanentError, StorageUnavailable
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.errors import translated
from shared.s3.store import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CORSRuleOutputTypeDef, CORSRuleTypeDef

RULE = "darkroom"
"""Id of our rule; others are left as they are."""
UPLOAD = ("PUT", "POST", "DELETE")
SHOW = ("GET", "HEAD")
EXPOSED = ("ETag", "Content-Range", "Content-Length")
MAX_AGE_S = 3600
NO_RULES = "NoSuchCORSConfiguration"


def origins(settings: Settings) -> list[str]:
    """The pages: those of `DARKROOM_CORS_ORIGINS` and the API's own, the console. Where
    none is named and the API is reached by http there is no rule at all: on one machine
    it has several names, and SeaweedFS answers each.
    """
    named = [part.strip() for part in settings.cors_origins.split(",") if part.strip()]
    own = urlsplit(settings.api_url)
    if named or own.scheme == "https":
        named.append(f"{own.scheme}://{own.netloc}")
    return list(dict.fromkeys(named))


def allow_pages(store: S3Store, settings: Settings) -> None:
    """Give the buckets of uploads and results our rule. A store that has no such rules,
    or a key that may not set them, is no fault: it is logged.
    """
    pages = origins(settings)
    if not pages:
        return
    methods = {
        settings.bucket_uploads: [*UPLOAD, *SHOW],
        settings.bucket_results: list(SHOW),
    }
    for bucket, allowed in methods.items():
        try:
            _set(store, bucket, pages, allowed)
        except (PermanentError, StorageUnavailable) as error:
            detail = f"{error.detail}; set the CORS rules of the bucket yourself"
            logger().warning("buckets.no_cors", bucket=bucket, detail=detail)


def _set(store: S3Store, bucket: str, pages: list[str], methods: list[str]) -> None:
    rule: CORSRuleTypeDef = {
        "ID": RULE,
        "AllowedOrigins": pages,
        "AllowedMethods": methods,
        "AllowedHeaders": ["*"],
        "ExposeHeaders": list(EXPOSED),
        "MaxAgeSeconds": MAX_AGE_S,
    }
    with translated(bucket, ""):
        others = [found for found in _rules(store, bucket) if found.get("ID") != RULE]
        store.client.put_bucket_cors(
            Bucket=bucket, CORSConfiguration={"CORSRules": [*others, rule]}
        )


def _rules(store: S3Store, bucket: str) -> list[CORSRuleOutputTypeDef]:
    try:
        return store.client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except store.client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == NO_RULES:
            return []
        raise
