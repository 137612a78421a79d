"""What single values bring: backups and drills by the clock, sign-in, private networks,
signatures, workflow files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.runtime.settings import PREFIX
from tests.charts import tools
from tests.charts.chart import SECRETS, SETTINGS, of_kind, pods, refusal, render


def test_backups_may_be_made_and_verified_by_the_clock() -> None:
    values = (
        "backup.enabled=true",
        "backup.schedule=17 * * * *",
        "backup.verifySchedule=@weekly",
    )
    manifests = render("", *values)
    assert tools.faults_of([*manifests]) == []
    jobs = {
        job["metadata"]["name"]: job["spec"] for job in of_kind(manifests, "CronJob")
    }
    assert [spec["schedule"] for spec in jobs.values()] == ["17 * * * *", "@weekly"]
    made, verified = [pod for pod in pods(manifests) if pod.component == "backup"]
    assert made.container["args"] == ["backup"]
    assert verified.container["args"] == ["backup", "--verify"]


@pytest.mark.parametrize("url", ["", "s3://backup/main"])
def test_a_drill_may_be_made_by_the_clock(url: str) -> None:
    """In the image that holds a whole stack, with the key that opens the secrets; it
    reaches the backup and nothing else.
    """
    values = ("backup.enabled=true", "backup.drill.schedule=@weekly")
    chosen = (f"backup.url={url}", "backup.drill.keySecret=age-identity")
    manifests = render("", *values, *chosen)
    assert tools.faults_of([*manifests]) == []
    (job,) = of_kind(manifests, "CronJob")
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    (drill,) = [pod for pod in pods(manifests) if pod.component == "drill"]
    assert "/darkroom-stack:" in f"/{drill.container['image']}"
    assert drill.networks == ({"store", "out"} if url else set())
    place, key = (
        drill.variables[f"{PREFIX}BACKUP_{name}"] for name in ("URL", "KEY_FILE")
    )
    mounts = {
        each["mountPath"]: each.get("readOnly")
        for each in drill.container["volumeMounts"]
    }
    # A trial restore cannot harm what it tries.
    assert all(mounts[path] for path in mounts if path != "/tmp")
    assert Path(key).parent.as_posix() in mounts
    assert place == url or place in mounts
    assert f"{PREFIX}DATABASE_URL" not in drill.variables


@pytest.mark.parametrize("place", ["settings", "handlers.settings"])
def test_people_may_sign_in_at_a_provider(place: str) -> None:
    """The handlers reach it, and the client's secret comes by reference alone."""
    given = {
        "JWT_ISSUER": "https://id.example",
        "JWT_JWKS_URL": "https://id.example/keys",
        "OIDC_CLIENT_ID": "console",
    }
    values = [f"{place}.{PREFIX}{name}={value}" for name, value in given.items()]
    secret = f"{PREFIX}OIDC_CLIENT_SECRET"
    manifests = render("", *values, f"handlers.secretSettings={{{secret}}}")
    assert tools.faults_of([*manifests]) == []
    (handlers,) = [pod for pod in pods(manifests) if pod.component == "handlers"]
    assert "out" in handlers.networks
    assert handlers.variables[secret]["key"] == secret
    assert {f"{PREFIX}{name}": value for name, value in given.items()}.items() <= (
        handlers.variables.items()
    )
    assert secret in refusal(f"handlers.settings.{secret}=x")


def test_private_networks_come_from_a_mirror_that_asks_who_is_there() -> None:
    """The token comes by reference, and their description from a Secret."""
    token = f"{PREFIX}MODELS_MIRROR_TOKEN"
    values = ("models.pull={own}", "models.volume.enabled=true")
    values += ("models.mirror=https://m.example", f"models.secretSettings={{{token}}}")
    manifests = render("", *values, "models.local.secret=own-networks")
    assert tools.faults_of([*manifests]) == []
    (job,) = [pod for pod in pods(manifests) if pod.component == "models"]
    assert job.variables[token]["key"] == token
    assert token in SECRETS
    (local,) = [each for each in job.spec["volumes"] if each["name"] == "local"]
    assert local["projected"]["sources"] == [{"secret": {"name": "own-networks"}}]
    assert job.container["args"] == ["own"]
    assert "cp /local/local.json /models/" in job.container["command"][2]


@pytest.mark.parametrize(
    ("given", "key", "reached"),
    [
        ("secret=signer", "/credentials/key.pem", set()),
        ("kmsKey=alias/signer", "kms:alias/signer", {"out"}),
        ("timeStampUrl=https://tsa.example", "/credentials/key.pem", {"out"}),
    ],
)
def test_workers_sign_results_with_a_secret_s_key(
    given: str, key: str, reached: set[str]
) -> None:
    """And reach out only where a key service or an authority for time stamps is asked."""
    place = "workerDefaults.credentials"
    manifests = render("", f"{place}.secret=signer", f"{place}.{given}")
    assert tools.faults_of([*manifests]) == []
    [worker] = [pod for pod in pods(manifests) if pod.component == "worker-cpu"]
    assert worker.networks == {"store", "queue", "metrics"} | reached
    signing = {
        f"{PREFIX}C2PA_SIGN": "sidecar",
        f"{PREFIX}C2PA_CERTS": "/credentials/certs.pem",
        f"{PREFIX}C2PA_KEY": key,
    }
    assert signing.items() <= worker.variables.items()
    assert signing.keys() <= SETTINGS.keys()
    [volume] = [
        each for each in worker.spec["volumes"] if each["name"] == "credentials"
    ]
    assert volume["projected"]["sources"] == [{"secret": {"name": "signer"}}]
    [mount] = [
        each
        for each in worker.container["volumeMounts"]
        if each["name"] == "credentials"
    ]
    assert mount["mountPath"] == "/credentials"
    assert mount["readOnly"]


def test_workflow_files_come_from_a_config_map() -> None:
    """Or from a Secret: the bootstrap job adds what is in them, and nobody else has them."""
    values = ("workflows.configMaps={flows}", "workflows.secrets={private-flows}")
    manifests = render("", *values)
    assert tools.faults_of([*manifests]) == []
    variable = f"{PREFIX}WORKFLOWS_DIR"
    (adder,) = [pod for pod in pods(manifests) if variable in pod.variables]
    assert adder.component == "bootstrap"
    assert variable in SETTINGS
    (volume,) = [each for each in adder.spec["volumes"] if each["name"] == "workflows"]
    assert volume["projected"]["sources"] == [
        {"configMap": {"name": "flows"}},
        {"secret": {"name": "private-flows"}},
    ]
    (mount,) = [
        each for each in adder.container["volumeMounts"] if each["name"] == "workflows"
    ]
    assert mount["mountPath"] == adder.variables[variable]
