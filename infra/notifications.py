"""Bucket notifications on MinIO-compatible servers (MinIO, RustFS) and on Ceph, through
the `minio` client.

SeaweedFS reads them from `notification.toml`, Amazon S3 sends them by EventBridge or
SQS: both are refused here with the way out, for the client would lose Amazon's
EventBridge rules, and SeaweedFS takes the call for another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error
from minio.notificationconfig import (
    CommonConfig,
    NotificationConfig,
    QueueConfig,
    TopicConfig,
)

from shared.errors import Code, NotFound, SettingsError, StorageUnavailable
from shared.runtime.settings import StoreSettings

RULE_ID = "darkroom-uploads"
EVENT = "s3:ObjectCreated:*"
TOPICS = "arn:aws:sns:"
"""So begin Ceph's names, whatever is behind them; MinIO and RustFS have queues only."""
# MinIO sends a blank every few seconds while nothing happens: longer silence is a dead
# connection
IDLE_S = 120


class BucketNotifications:
    """Notifications of the uploads bucket. Methods raise `SettingsError` where the
    server has none of this.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.bucket = settings.bucket_uploads
        self._client = _client(settings)

    def show(self) -> dict[str, Any]:
        """The bucket's rules, by kind, as JSON values. Raises `NotFound` where there is
        no bucket.
        """
        return _as_json(self._read())

    def enable(self, arn: str) -> bool:
        """Notify the queue or the topic of every new object; other rules stay.
        False: it was so already.
        """
        config = self._read()
        if _is_told_of_all(arn, config):
            return False
        queues = [
            rule for rule in config.queue_config_list if rule.config_id != RULE_ID
        ]
        topics = [
            rule for rule in config.topic_config_list if rule.config_id != RULE_ID
        ]
        if arn.startswith(TOPICS):
            topics.append(TopicConfig(events=[EVENT], config_id=RULE_ID, topic=arn))
        else:
            queues.append(QueueConfig(events=[EVENT], config_id=RULE_ID, queue=arn))
        wanted = NotificationConfig(config.cloud_func_config_list, queues, topics)
        with _translated(self.bucket):
            self._client.set_bucket_notification(self.bucket, wanted)
        if not _is_told_of_all(arn, self._read()):
            raise SettingsError(
                "the object store accepted the rule but does not keep it: it has no notifications"
            )
        return True

    def listen(self) -> Iterator[dict[str, Any]]:
        """New objects as they come (`{"Records": […]}`), for ever. Raises
        `StorageUnavailable` when cut off.
        """
        self._read()
        with (
            _translated(self.bucket),
            self._client.listen_bucket_notification(
                self.bucket, events=(EVENT,)
            ) as events,
        ):
            yield from events

    def _read(self) -> NotificationConfig:
        with _translated(self.bucket):
            return self._client.get_bucket_notification(self.bucket)


class _Connections(urllib3.PoolManager):
    """Stops the client where a server takes `listen` for a listing: it would ask again
    at once, for ever.
    """

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
        response = super().urlopen(method, url, redirect, **kw)
        if (
            "events=" in url
            and response.status == 200
            and "xml" in response.headers.get("content-type", "")
        ):
            raise SettingsError(
                "the object store cannot be listened to: it answered with a listing"
            )
        return response


def _client(settings: StoreSettings) -> Minio:
    endpoint = urlsplit(settings.s3_endpoint_url)
    if not endpoint.netloc or (endpoint.hostname or "").endswith(".amazonaws.com"):
        raise SettingsError(
            "Amazon S3 sends notifications by EventBridge or SQS: docs/how-to/deploy-with-containers.md says how; "
            "for MinIO or RustFS set DARKROOM_S3_ENDPOINT_URL"
        )
    return Minio(
        endpoint=endpoint.netloc,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        region=settings.s3_region,
        secure=endpoint.scheme == "https",
        http_client=_Connections(
            timeout=urllib3.Timeout(connect=3, read=IDLE_S),
            retries=urllib3.Retry(
                total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]
            ),
        ),
    )


def _is_told_of_all(arn: str, config: NotificationConfig) -> bool:
    """Whether a rule without a filter sends every new object there."""
    rules: list[tuple[CommonConfig, str | None]] = [
        (rule, rule.queue) for rule in config.queue_config_list
    ]
    rules += [(rule, rule.topic) for rule in config.topic_config_list]
    return any(
        target == arn
        and EVENT in rule.events
        and not (rule.prefix_filter_rule or rule.suffix_filter_rule)
        for rule, target in rules
    )


def _as_json(config: NotificationConfig) -> dict[str, Any]:
    def rule(entry: CommonConfig, target: str | None) -> dict[str, Any]:
        prefix, suffix = entry.prefix_filter_rule, entry.suffix_filter_rule
        return {
            "id": entry.config_id,
            "target": target,
            "events": entry.events,
            "prefix": prefix.value if prefix else None,
            "suffix": suffix.value if suffix else None,
        }

    return {
        "queues": [rule(entry, entry.queue) for entry in config.queue_config_list],
        "topics": [rule(entry, entry.topic) for entry in config.topic_config_list],
        "functions": [
            rule(entry, entry.cloud_func) for entry in config.cloud_func_config_list
        ],
    }


@contextmanager
def _translated(bucket: str) -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code == "NoSuchBucket":
            raise NotFound(
                Code.SOURCE_MISSING,
                f"no bucket {bucket!r}: `darkroom bootstrap` makes it",
            ) from error
        if error.response.headers.get("server", "").startswith("SeaweedFS"):
            raise SettingsError(
                "SeaweedFS has no such call: its notifications are set in notification.toml, which `darkroom up` and "
                "compose.yaml write; nothing to do"
            ) from error
        raise SettingsError(
            f"the object store refused: {error.code}: {error.message}"
        ) from error
    except InvalidResponseError as error:
        raise SettingsError(
            "the object store does not know bucket notifications"
        ) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise StorageUnavailable(
            f"{type(error).__name__} on bucket {bucket!r}"
        ) from error
