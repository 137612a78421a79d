"""What `darkroom status` makes of the processes' metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from infra.local.figures import summary, warnings

NOW_S = 1_000_000.0
WORKER = f"""
process_start_time_seconds {NOW_S - 1800}
darkroom_photos_total{{error="",outcome="success",workflow="fast"}} 10
darkroom_photos_total{{error="",outcome="success",workflow="enhance"}} 5
darkroom_photos_total{{error="decode_error",outcome="failed",workflow="fast"}} 2
"""
HANDLERS = f"""
process_start_time_seconds {NOW_S - 3600}
darkroom_uploads_total{{decision="queued"}} 20
darkroom_uploads_total{{decision="rejected"}} 1
"""
SWEEP = f"""
darkroom_queue_messages{{queue="darkroom.log"}} 3
darkroom_queue_messages{{queue="darkroom.log.dead"}} 4
darkroom_queue_messages{{queue="unacked"}} 9
darkroom_queue_oldest_message_age_seconds{{queue="darkroom.log"}} 900
darkroom_queue_oldest_message_age_seconds{{queue="darkroom.log.dead"}} 90000
darkroom_sweep_last_success_timestamp_seconds {NOW_S - 60}
darkroom_backup_last_success_timestamp_seconds {NOW_S - 90000}
"""


def samples(text: str) -> list[Sample]:
    families = text_string_to_metric_families(text)
    return [sample for family in families for sample in family.samples]


def test_the_processes_figures_are_summed_up() -> None:
    """Messages in hand are not waiting, and dead letters neither."""
    found = summary([samples(WORKER), samples(HANDLERS), samples(SWEEP)], NOW_S)
    assert found == {
        "photos": 15,
        "photos_per_hour": 30.0,
        "failed": 2,
        "uploads": 21,
        "uploads_per_hour": 21.0,
        "waiting": 3,
        "dead_letters": 4,
        "oldest_message_s": 900,
        "oldest_message_queue": "darkroom.log",
        "last_sweep_s": 60,
        "last_backup_s": 90000,
    }
    assert [sentence.split(";")[0] for sentence in warnings(found)] == [
        "dead letters: 4",
        "a message waits in darkroom.log for 15 min",
        "photos that failed since the workers began: 2",
        "the last backup ended 25 h ago",
    ]


def test_nothing_is_wrong_where_nobody_says_anything() -> None:
    """As while the processes start."""
    found = summary([[], []], NOW_S)
    assert found["oldest_message_s"] is found["last_sweep_s"] is None
    assert warnings(found) == []
