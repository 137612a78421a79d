"""Looks ahead stay a small part of the work: so many of a user at once, so many pixels
a minute, and none for ever.
"""

from __future__ import annotations

from typing import Any

import httpx2

from handlers.http.api.previews import RETRY_S
from handlers.intake.decision import Decision
from shared.broker import topology
from shared.uploads import keys
from shared.uploads.messages import RestoreTask
from tests.support.access_world import OPERATOR
from tests.support.access_world import Town as AccessTown
from tests.support.reconcile_world import LEASE_S, Town
from tests.support.upload_world import photo


def begun(town: AccessTown, user: str = "ann") -> tuple[str, str]:
    """A key of this user, and the ticket by which a photo of 400 × 300 pixels was
    uploaded.
    """
    key, _ = town.key(user)
    issued = town.post(key).json()
    town.world.upload(issued["key"], photo(size=(400, 300)))
    return key, issued["ticket"]


def look(
    town: AccessTown, key: str, ticket: str, left: int = 0, **changes: Any
) -> httpx2.Response:
    region = {"x": left, "y": 0, "width": 100, "height": 100}
    body = {
        "source": {"ticket": ticket},
        "workflow": "fast",
        "region": region,
    } | changes
    return town.client.post(
        "/v1/previews", json=body, headers={"Authorization": f"Bearer {key}"}
    )


def end(town: AccessTown, answer: httpx2.Response) -> None:
    """What a worker leaves behind for a preview: a record, made like the photo's."""
    task = answer.json()["task_id"]
    (body,) = [
        body
        for body in town.world.publisher.bodies(topology.PREVIEW)
        if task in body.decode()
    ]
    upload = RestoreTask.decode(body).upload_id
    town.world.restore(Decision("queued", upload))


def test_a_user_has_so_many_previews_under_way_and_others_are_not_kept() -> None:
    """Five thousand looks at one photo are no more than the first eight; another user's
    look is taken all the while.
    """
    town = AccessTown(limit_previews=8)
    key, ticket = begun(town)
    answers = [look(town, key, ticket, left) for left in range(30)]
    assert [answer.status_code for answer in answers] == [202] * 8 + [429] * 22
    refused = answers[-1]
    assert (refused.json()["code"], refused.headers["retry-after"]) == (
        "too_many_previews",
        str(RETRY_S),
    )
    assert len(town.world.publisher.bodies(topology.PREVIEW)) == 8
    # it is under way: no more work
    assert look(town, key, ticket, left=3).status_code == 202
    other, others = begun(town, "eve")
    assert look(town, other, others).status_code == 202


def test_a_preview_that_has_ended_makes_room_for_another() -> None:
    town = AccessTown(limit_previews=2)
    key, ticket = begun(town)
    first, _ = look(town, key, ticket, 1), look(town, key, ticket, 2)
    assert look(town, key, ticket, 3).status_code == 429
    end(town, first)
    assert look(town, key, ticket, 3).status_code == 202
    assert look(town, key, ticket, 4).status_code == 429


def test_a_preview_that_the_sweep_deleted_holds_no_place() -> None:
    """It had ended; of one whose message was lost nothing is left, either."""
    town = AccessTown(limit_previews=2)
    key, ticket = begun(town)
    for left in (1, 2):
        task = look(town, key, ticket, left).json()["task_id"]
        (receipt,) = [
            info
            for info in town.world.store.list("results", "receipts/preview/")
            if task in info.key
        ]
        town.world.store.delete("results", receipt.key)
    town.world.clock.advance(60)
    assert look(town, key, ticket, 3).status_code == 202


def test_a_look_that_was_refused_holds_no_place() -> None:
    """For its pixels, or because its task could not be published: it is under way
    nowhere.
    """
    town = AccessTown(limit_previews=2, limit_preview_pixels_per_min=160_000)
    key, ticket = begun(town)
    answers = [look(town, key, ticket, left) for left in range(4)]
    assert [answer.json().get("code") for answer in answers] == [None] + [
        "too_many_requests"
    ] * 3
    town.world.clock.advance(60)
    town.world.publisher.refused.add(topology.PREVIEW)
    assert look(town, key, ticket, 5).status_code == 503
    town.world.publisher.refused.clear()
    town.world.clock.advance(60)
    assert look(town, key, ticket, 6).status_code == 202


def test_the_pixels_of_previews_are_counted_and_come_back_within_a_minute() -> None:
    """A region of 100 × 100 pixels, four times larger, is 160,000 pixels."""
    town = AccessTown(limit_preview_pixels_per_min=320_000)
    key, ticket = begun(town)
    answers = [look(town, key, ticket, left) for left in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "too_many_requests"
    assert answers[2].headers["retry-after"] == "30"
    town.world.clock.advance(30)
    assert look(town, key, ticket, 2).status_code == 202


def test_a_preview_without_a_region_counts_what_it_shows() -> None:
    """400 × 300 pixels with at most 200 on the longer side are 200 × 150, sixteen times
    that when restored.
    """
    town = AccessTown(limit_preview_pixels_per_min=200 * 150 * 16)
    key, ticket = begun(town)
    small: dict[str, Any] = {"region": None, "max_px": 200}
    assert look(town, key, ticket, **small).status_code == 202
    assert look(town, key, ticket, **small | {"max_px": 16}).status_code == 429


def test_the_operator_looks_as_often_as_needed() -> None:
    town = AccessTown(limit_previews=1, limit_preview_pixels_per_min=1)
    town.world.upload("a.png", photo(size=(400, 300)))
    answers = [
        look(town, OPERATOR, "", left, source={"key": "a.png"}) for left in range(5)
    ]
    assert [answer.status_code for answer in answers] == [202] * 5


def previewed(town: Town) -> tuple[str, str]:
    """A photo, and everything that one preview of it leaves behind; ids of the upload
    and of the preview's task.
    """
    upload, task = town.upload("a.png"), "11111111-2222-3333-4444-555555555555"
    ident = keys.preview_upload(upload, task)
    for key in (
        keys.receipt(ident),
        keys.result(task),
        keys.record(task),
        keys.preview(task),
    ):
        town.store.put("results", key, b"{}", "application/json")
    town.store.put("quarantine", keys.reason(ident), b"{}", "application/json")
    return upload, task


def test_the_sweep_deletes_previews_of_long_ago_with_all_that_was_made_for_them() -> (
    None
):
    town = Town(preview_expires_s=1000)
    upload, task = previewed(town)
    town.later(990)
    assert town.sweep().previews_expired == 0
    town.later(20)
    assert town.sweep(dry_run=True).previews_expired == 1
    assert town.sweep().previews_expired == 1
    left = {
        key for bucket in ("results", "quarantine") for key in town.store.keys(bucket)
    }
    assert not [key for key in left if task in key]
    assert keys.receipt(upload) in left
    assert town.sweep().previews_expired == 0


def test_previews_stay_where_the_setting_says_so() -> None:
    town = Town(preview_expires_s=0)
    _, task = previewed(town)
    town.later(1_000_000)
    assert town.sweep().previews_expired == 0
    assert town.store.head("results", keys.result(task))


def test_a_flow_of_previews_hides_no_lost_interactive_photo() -> None:
    """Their messages lie in a queue of their own: as many photos as messages are
    missing are published again.
    """
    town = Town()
    town.upload("a.png", metadata={"priority": "interactive"})
    (lost,) = town.lose(queue=topology.INTERACTIVE)
    for _ in range(50):
        # stands for looks at other photos
        town.publisher.publish(topology.PREVIEW, lost.encode())
    town.later(LEASE_S + 1)
    assert town.sweep().republished == 1
    assert town.depths()[topology.INTERACTIVE] == 1
