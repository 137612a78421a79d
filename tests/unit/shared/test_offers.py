"""What the workers announce, what is made of it, and what is refused because of it: in
memory.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpu_worker import abilities
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.steps import KINDS
from shared import offers, workflows
from shared.errors import Code, Missing, PermanentError, StorageUnavailable
from shared.models import Model, ModelFile, registry
from shared.offers import Announcement, Offers
from shared.runtime.settings import Settings
from shared.uploads import keys
from tests.support.extras import needs
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore
from tests.support.upload_world import World, photo

BASE = {"anime", "auto", "dehaze", "enhance", "fast", "repair"}
"""What needs nothing beyond the base install."""
OF_TORCH = ("torch", "torchvision", "spandrel", "spandrel_extra_arches", "cv2")


@pytest.fixture
def base_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the extra is not installed."""
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name in OF_TORCH else plain(name),
    )


@pytest.fixture
def known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "KNOWN_FOR_S", -1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models")


@pytest.fixture
def toy(settings: Settings) -> Iterator[tuple[Model, Path]]:
    """A model of this machine's list, and where its file belongs."""
    file = ModelFile(
        role="weights",
        sha256="b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        path="toy.pth",
    )
    model = Model(
        name="toy", architecture="auto", title="", licence="", scale=4, files=[file]
    )
    registry()["toy"] = model
    settings.models_dir.mkdir()
    yield model, settings.models_dir / "toy.pth"
    del registry()["toy"]


def survey(settings: Settings) -> Announcement:
    return abilities.survey(AutoEngine(settings), settings)


def announce(store: MemoryStore, said: Announcement) -> None:
    store.put("results", said.place(), said.to_bytes(), "application/json")


def offered(found: Announcement) -> set[str]:
    return {
        name for name in workflows.presets() if not found.lacks(workflows.resolve(name))
    }


def test_the_base_install_offers_what_it_can_run(
    base_install: None, settings: Settings
) -> None:
    """And names, for all else, everything that is to be done."""
    found = survey(settings)
    assert offered(found) == BASE
    lack = offers.together(found.lacks(workflows.resolve("portrait")))
    assert lack.command == "run `darkroom models pull ddcolor-modelscope`"
    assert offers.together(found.lacks(workflows.resolve("oldphoto"))) == lack, (
        "its other step can be run"
    )
    assert str(settings.models_dir) not in found.to_bytes().decode()


def test_with_pytorch_only_the_weights_are_missing(settings: Settings) -> None:
    needs("torch", "torch")
    (lack,) = survey(settings).lacks(workflows.resolve("denoise"))
    assert lack.command == "run `darkroom models pull scunet-psnr`"


def test_a_worker_of_an_earlier_release_reads_no_own_workflow(
    base_install: None, settings: Settings
) -> None:
    own = replace(workflows.resolve("fast"), is_own=True)
    said = survey(settings)
    assert not said.lacks(own)
    steps = {kind: said.steps[kind] for kind in said.steps if kind in KINDS}
    earlier = said.model_copy(update={"steps": steps})
    (lack,) = earlier.lacks(own)
    assert lack.command == "run newer workers"


def test_an_engine_that_was_named_runs_its_own_models_only(settings: Settings) -> None:
    found = abilities.survey(NcnnEngine(settings), settings)
    assert offered(found) == BASE
    assert (
        "DARKROOM_ENGINE=auto" in found.lacks(workflows.resolve("denoise"))[0].command
    )


def test_a_model_is_there_once_its_file_is_and_is_the_right_one(
    settings: Settings, toy: tuple[Model, Path]
) -> None:
    """An added model as any other; a damaged one is none."""
    workflow, (_, path) = workflows.resolve("enhance", {"model": "toy"}), toy
    said = []
    for content in (None, b"hello there", b"hello world"):
        if content:
            path.write_bytes(content)
        said.append(
            [
                lack.because
                for lack in survey(settings).lacks(workflow)
                if "PyTorch" not in lack.because
            ]
        )
    assert said == [
        ["model toy is not on the worker's machine"],
        ["model toy is damaged on the worker's machine"],
        [],
    ]
    other = toy[0].model_copy(
        update={"files": [toy[0].files[0].model_copy(update={"sha256": "0" * 64})]}
    )
    before = survey(settings)
    registry()["toy"] = other
    assert before.lacks(workflows.resolve("enhance", {"model": "toy"})), (
        "other weights by the same name"
    )


def test_no_step_needs_more_than_the_base_install() -> None:
    """Each step is imported in a process without what the extras bring."""
    code = (
        f"import importlib, sys\nfor name in {OF_TORCH}:\n    sys.modules[name] = None\n"
        "from gpu_worker.steps import MODULES\n"
        "for name in MODULES.values():\n    importlib.import_module(f'gpu_worker.steps.{name}')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# what is made of it


def test_one_worker_that_can_is_enough(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    """Whoever else cannot; and nobody who said anything is no refusal."""
    store, portrait = MemoryStore(), workflows.resolve("portrait")
    found, base = Offers(store, settings), survey(settings)
    assert found.lack(portrait) is None
    announce(store, base)
    assert found.lack(portrait)
    able = {
        name: ability.model_copy(update={"lacks": ()})
        for name, ability in base.models.items()
    }
    announce(
        store,
        base.model_copy(
            update={"host": "b", "models": able, "steps": dict.fromkeys(base.steps, ())}
        ),
    )
    assert found.lack(portrait) is None


def test_the_nearest_worker_says_what_is_to_be_done(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    """The one that lacks least."""
    store, base = MemoryStore(), survey(settings)
    announce(store, base)
    portrait = workflows.resolve("portrait")
    near = {
        name: ability.model_copy(update={"lacks": ability.lacks[-1:]})
        for name, ability in base.models.items()
    }
    announce(
        store,
        base.model_copy(
            update={"models": near, "steps": dict.fromkeys(base.steps, ())}
        ),
    )
    lack = Offers(store, settings).lack(portrait)
    assert lack
    assert lack.command == "run `darkroom models pull ddcolor-modelscope`"


def test_what_is_stale_counts_until_there_is_something_younger(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    """Workers may be scaled to zero for months."""
    clock = FakeClock()
    store, base = MemoryStore(clock), survey(settings)
    announce(store, base.model_copy(update={"steps": {}}))
    clock.advance(timedelta(days=90).total_seconds())
    found, fast = Offers(store, settings), workflows.resolve("fast")
    assert found.lack(fast)
    announce(store, base)
    assert found.lack(fast) is None
    announce(store, base.model_copy(update={"release": "9", "steps": {}}))
    assert found.lack(workflows.resolve("portrait"))
    assert len(found._known) == 2, "the stale one is no kind of worker any more"


@pytest.mark.parametrize("data", [b"", b"{}", b'{"v": 2}'])
def test_what_cannot_be_read_says_nothing(
    known_at_once: None, settings: Settings, data: bytes
) -> None:
    store = MemoryStore()
    store.put(
        "results", f"{keys.WORKERS}{'0' * 16}-{'1' * 16}.json", data, "application/json"
    )
    assert Offers(store, settings).lack(workflows.resolve("portrait")) is None


def test_a_store_that_is_away_changes_nothing_of_what_is_known(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    store = MemoryStore()
    announce(store, survey(settings))
    found, portrait = Offers(store, settings), workflows.resolve("portrait")
    assert found.lack(portrait)
    store.unavailable = True
    with pytest.raises(StorageUnavailable):
        list(store.list("results"))
    assert found.lack(portrait)


def test_it_is_remembered_for_a_while(base_install: None, settings: Settings) -> None:
    """A door with a thousand requests a second asks the store once in some seconds."""
    store = MemoryStore()
    found, portrait = Offers(store, settings), workflows.resolve("portrait")
    assert found.lack(portrait) is None
    announce(store, survey(settings))
    assert found.is_fresh
    assert found.lack(portrait) is None


# what becomes of an upload


def town(settings: Settings, **changes: Any) -> World:
    world = World(settings=changes)
    announce(world.store, survey(settings))
    return world


def test_an_upload_that_no_worker_can_run_is_rejected(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    """At once, with the command; its parameters are looked at first; uploaded again it
    is decided anew.
    """
    world = town(settings)
    first = world.upload("a.png", photo(), {"workflow": "portrait"})
    assert (first.kind, first.code) == ("rejected", Code.WORKFLOW_UNAVAILABLE)
    assert "darkroom models pull ddcolor-modelscope" in world.reason(first).error_detail
    assert (world.tasks(), world.receipt(first).task_id) == ([], None)
    (event,) = [event for event in world.log() if event.kind == "rejected"]
    assert event.fields["error_code"] == Code.WORKFLOW_UNAVAILABLE
    wrong = world.upload(
        "b.png", photo(), {"workflow": "portrait", "params": '{"model_size": 9}'}
    )
    assert wrong.code == Code.BAD_PARAMETER
    assert world.upload("c.png", photo(), {"workflow": "dehaze"}).kind == "queued"
    for key in world.store.keys("results"):
        if key.startswith(keys.WORKERS):
            # As if a worker had come that can.
            world.store.delete("results", key)
    world.clock.advance(60)
    again = world.upload("a.png", photo(), {"workflow": "portrait"})
    assert (again.kind, again.upload_id, again.repeated) == (
        "queued",
        first.upload_id,
        False,
    )
    with pytest.raises(PermanentError):
        world.reason(again)


def test_a_decision_is_not_taken_back(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    """An event that comes twice: queued stays queued, and rejected rejected."""
    world = World()
    event = world.put("a.png", photo(), {"workflow": "portrait"})
    from handlers.on_upload import on_upload

    assert on_upload(event, world.ctx).kind == "queued"
    announce(world.store, survey(settings))
    again = on_upload(event, world.ctx)
    assert (again.kind, again.repeated) == ("queued", True)


def test_what_was_restored_before_needs_no_worker(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    world = World()
    world.restore(world.upload("a.png", photo(), {"workflow": "portrait"}))
    announce(world.store, survey(settings))
    assert world.upload("b.png", photo(), {"workflow": "portrait"}).kind == "duplicate"


def test_an_upload_waits_where_it_is_told_to(
    base_install: None, known_at_once: None, settings: Settings
) -> None:
    world = town(settings, unavailable="wait")
    assert world.upload("a.png", photo(), {"workflow": "portrait"}).kind == "queued"
    assert len(world.tasks()) == 1


def test_what_is_refused_is_what_was_not_announced(
    base_install: None, settings: Settings, toy: tuple[Model, Path]
) -> None:
    engine = AutoEngine(settings)
    for name in workflows.presets():
        workflow = workflows.resolve(name)
        if name in BASE:
            abilities.check(workflow, engine, settings)
            continue
        with pytest.raises(Missing) as caught:
            abilities.check(workflow, engine, settings)
        assert (
            caught.value.command
            == offers.together(survey(settings).lacks(workflow)).command
        )


def test_models_say_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    from gpu_worker.models import cli

    assert cli.main(["list", "scunet-psnr", "ddcolor-modelscope", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["workflows"] for row in rows] == [
        ["auto", "denoise"],
        ["auto", "building", "oldphoto", "portrait"],
    ]
