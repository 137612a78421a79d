"""Settings, failpoints, keys and workflows: the small rules that
everything stands on.
"""

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import models, workflows
from shared.errors import DarkroomError, PermanentError, SettingsError
from shared.runtime import failpoints
from shared.runtime.settings import Settings
from shared.uploads import keys


def test_a_secret_is_never_shown():
    settings = Settings(pepper="hush", broker_url="redis://:hush@127.0.0.1:6379/0")
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.masked())
    assert settings.masked()["broker_url"] == "redis://***@127.0.0.1:6379/0"


def test_a_password_in_an_address_is_never_shown():
    """Though the setting is no secret as a whole."""
    address = "https://me:p@ss@tsa.example/a@b"
    shown = Settings(c2pa_tsa_url=address, models_mirror=address).masked()
    assert shown["c2pa_tsa_url"] == "https://***@tsa.example/a@b"
    assert shown["models_mirror"] == "https://***@tsa.example/a@b"


def test_a_bad_setting_is_named_with_its_rule(monkeypatch):
    monkeypatch.setenv("DARKROOM_LEASE_S", "-3")
    with pytest.raises(SettingsError, match=r"DARKROOM_LEASE_S: .*greater than 0"):
        Settings.load()


def test_the_environment_wins_over_the_stack_file(tmp_path, monkeypatch):
    (tmp_path / "stack.env").write_text("DARKROOM_API_PORT=1111\nDARKROOM_LEASE_S=9\n")
    monkeypatch.setenv("DARKROOM_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DARKROOM_LEASE_S", "7")
    settings = Settings.load()
    assert (settings.api_port, settings.lease_s) == (1111, 7)


def test_every_setting_says_what_it_is_for():
    assert [
        name for name, field in Settings.model_fields.items() if not field.description
    ] == []


@pytest.mark.parametrize(
    "spec",
    [
        "nowhere:1",
        "worker.after_fetch:0",
        "worker.after_fetch:x",
        "worker.after_fetch:1:stop",
    ],
)
def test_a_failpoint_that_cannot_fire_is_refused(spec):
    with pytest.raises(SettingsError):
        failpoints.arm(spec)


def test_a_failpoint_kills_at_exactly_its_passage():
    """SIGKILL at the second passage, after the first was survived."""
    code = (
        "from shared.runtime import failpoints as f; f.arm('worker.before_ack:2');"
        "f.passing('worker.before_ack'); print('once', flush=True);"
        "f.passing('worker.before_ack'); print('twice')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-9, "once\n")


@pytest.mark.parametrize(
    "key",
    [
        "a b/ü+%#.jpg",
        "../../etc/passwd",
        "reason.json",
        "/",
        "😀" * 250,
        "x" * 1024,
        ".htaccess",
    ],
)
def test_keys_that_darkroom_makes_are_plain(key):
    made = keys.quarantined("id", key)
    assert made.isascii()
    assert ".." not in made
    assert made.startswith("id/")
    assert made not in ("id/", keys.reason("id"))
    assert len(made) < 150


@pytest.mark.parametrize("name", list(workflows.presets()))
def test_a_preset_resolves_with_its_defaults(name):
    resolved = workflows.resolve(name)
    assert resolved.ref.params.keys() == workflows.presets()[name].parameters().keys()
    assert [ref.sha256 for ref in resolved.models] == [
        models.get(ref.name).sha256 for ref in resolved.models
    ]


def test_an_integer_and_the_same_float_are_the_same_workflow():
    assert (
        workflows.resolve("fast", {"scale": 2}).ref
        == workflows.resolve("fast", {"scale": 2.0}).ref
    )


@pytest.mark.parametrize(
    ("name", "params", "why"),
    [
        ("nope", {}, "there are .*fast"),
        ("fast", {"scale": 9}, "from 1 to 4"),
        ("fast", {"scale": "2"}, "from 1 to 4"),
        ("fast", {"scale": True}, "from 1 to 4"),
        ("fast", {"scale": float("nan")}, "from 1 to 4"),
        ("fast", {"zoom": 2}, "has no parameter 'zoom'; it has .*scale"),
    ],
)
def test_a_wrong_request_is_answered_with_the_rule(name, params, why):
    with pytest.raises(PermanentError, match=why):
        workflows.resolve(name, params)


@given(
    st.dictionaries(
        st.sampled_from(["scale", "x"]),
        st.one_of(st.none(), st.text(), st.floats(), st.integers()),
    )
)
def test_no_parameters_raise_anything_but_a_darkroom_error(params):
    with contextlib.suppress(DarkroomError):
        workflows.resolve("fast", params)
