"""The chart's rules, held without a cluster: every profile is rendered by helm, compared
with the schemas, and looked at as a strict cluster would.
"""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.runtime.settings import PREFIX
from tests.charts import tools
from tests.charts.chart import (
    CHART,
    EXAMPLES,
    NAMES,
    SECRETS,
    SETTINGS,
    Pod,
    named,
    of_kind,
    pods,
    read,
    refusal,
    render,
    scalers,
)
from tests.charts.tools import Manifest, helm

COMPOSE = yaml.safe_load((tools.ROOT / "compose.yaml").read_text())["services"]
OURS = ("bootstrap", "handlers", "recorder", "sweep", "callbacks", "worker", "models")
SERVERS = ("object-store", "broker", "database")
EVERYTHING = (
    "models.pull={ddcolor-modelscope}",
    "models.volume.enabled=true",
    "metrics.podMonitor=true",
    "handlers.autoscaling.enabled=true",
    "handlers.ingress.enabled=true",
    "workers.cpu.scaling.enabled=true",
    "metrics.rules=true",
    "backup.enabled=true",
)
"""Values that bring out every object."""

every_profile = pytest.mark.parametrize("profile", ["", *NAMES])


def process_of(pod: Pod) -> str:
    """Its service in compose.yaml."""
    component = pod.component
    if component.startswith("worker-"):
        return "worker-gpu" if "gpu" in pod.container["image"] else "worker-cpu"
    return component


def test_every_profile_is_what_a_cluster_takes() -> None:
    """And so is everything there is, and every example."""
    manifests = [one for profile in ("", *NAMES) for one in render(profile)]
    for kind in ("rabbitmq", "redis", "sqs"):
        manifests += render("", *EVERYTHING, *scalers(kind))
    for example in EXAMPLES:
        manifests += read(example.read_text())
    assert tools.faults_of(manifests) == []


def test_an_unknown_field_is_a_fault() -> None:
    """The comparison can fail, for Kubernetes' own kinds and for KEDA's."""
    rendered = named(render("fleet"))
    names = ("Deployment/darkroom-handlers", "ScaledObject/darkroom-worker-gpu")
    changed: list[Manifest] = [json.loads(json.dumps(rendered[name])) for name in names]
    for manifest in changed:
        manifest["spec"]["replicaz"] = 1
    faults = tools.faults_of(changed)
    assert {fault.partition(":")[0].replace(" ", "/") for fault in faults} == set(names)


def test_the_chart_is_without_fault_and_packed_whole(tmp_path: Path) -> None:
    """What is linked from other folders is in the package."""
    linted = helm("lint", "--strict", CHART)
    assert linted.returncode == 0, linted.stdout
    packed = helm("package", CHART, "--destination", tmp_path)
    assert packed.returncode == 0, packed.stderr
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        for file in (CHART / "files").iterdir():
            inside = archive.extractfile(f"darkroom/files/{file.name}")
            assert inside is not None
            assert inside.read() == file.read_bytes()


@every_profile
def test_every_setting_exists(profile: str) -> None:
    names = {name for pod in pods(render(profile)) for name in pod.variables}
    unknown = {name for name in names if name.startswith(PREFIX)} - set(SETTINGS)
    assert not unknown


@every_profile
def test_a_pod_is_restricted(profile: str) -> None:
    """As the Pod Security Standard `restricted` has it, and its root is read-only."""
    for pod in pods(render(profile)):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.name
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
        assert not any("hostPath" in volume for volume in pod.spec["volumes"])
        own = pod.container["securityContext"]
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@every_profile
def test_a_container_has_its_bounds(profile: str) -> None:
    for pod in pods(render(profile)):
        resources = pod.container["resources"]
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(resources[kind]), pod.name
        assert all(
            volume["emptyDir"].get("sizeLimit")
            for volume in pod.spec["volumes"]
            if "emptyDir" in volume
        )


@every_profile
def test_an_image_has_a_version(profile: str) -> None:
    for pod in pods(render(profile)):
        image = pod.container["image"]
        assert re.search(r":\d+\.\d+", image), image
        assert not image.endswith(":latest")


@every_profile
def test_no_secret_is_written_down(profile: str) -> None:
    """What is secret comes from the Secret; the chart makes none, and its ConfigMaps are
    the files of compose.yaml's servers.
    """
    manifests = render(profile)
    assert not of_kind(manifests, "Secret")
    for pod in pods(manifests):
        for name, value in pod.variables.items():
            if name in SECRETS and isinstance(value, str) and "ACCESS_KEY" not in name:
                assert re.fullmatch(r"sqs://|\w+://\w+:\$\(\w+\)@[^@]+", value), name
    for config in of_kind(manifests, "ConfigMap"):
        for name, text in config["data"].items():
            assert (
                text.strip() == (tools.ROOT / "infra/docker" / name).read_text().strip()
            )


def test_a_process_has_the_variables_that_compose_gives_it() -> None:
    """No secret more, and none less. What is given beyond them is a matter of clusters,
    and what compose gives a default is a choice.
    """
    beyond = {"BROKER_PASSWORD", "DATABASE_PASSWORD"}
    beyond |= {f"{PREFIX}DRAIN_S", f"{PREFIX}DEVICE"}
    for pod in pods(render("laptop", *EVERYTHING)):
        if pod.component in ("test", *SERVERS):
            continue
        given: dict[str, str] = COMPOSE[process_of(pod)]["environment"]
        must = {name for name, value in given.items() if ":-" not in value}
        names = set(pod.variables) - beyond
        # The workflow is one of the settings for all.
        assert must <= names <= {*given, f"{PREFIX}DEFAULT_WORKFLOW"}, pod.name


@every_profile
def test_a_pod_is_in_the_networks_that_compose_has_it_in(profile: str) -> None:
    """Only handlers that read an issuer's keys reach out beyond that."""
    for pod in pods(render(profile)):
        if pod.component == "test":
            assert pod.networks == {"store", "api"}
            continue
        expected = set(COMPOSE[process_of(pod)]["networks"])
        if pod.component in SERVERS:
            # They are reached by policies of their own.
            expected &= {"edge"}
            expected |= {"api"} if pod.component == "object-store" else set()
        if f"{PREFIX}JWT_JWKS_URL" in pod.variables:
            expected |= {"out"}
        assert pod.networks == expected, pod.name


@every_profile
def test_policies_allow_what_the_networks_say_and_nothing_else(profile: str) -> None:
    policies = named(of_kind(render(profile), "NetworkPolicy"))
    nothing = policies.pop("NetworkPolicy/darkroom-nothing")["spec"]
    assert "ingress" not in nothing
    assert [{port["port"] for port in rule["ports"]} for rule in nothing["egress"]] == [
        {53}
    ]
    chosen = {pod.name: pod.labels for pod in pods(render(profile))}
    for policy in policies.values():
        spec = policy["spec"]
        wanted = spec["podSelector"]["matchLabels"].items()
        networks = {label for label, _ in wanted if label.startswith("network.")}
        component = "app.kubernetes.io/component"
        assert networks or component in spec["podSelector"]["matchLabels"]
        for rule in spec.get("egress", []) + spec.get("ingress", []):
            assert rule["ports"], policy["metadata"]["name"]
    for labels in chosen.values():
        everything = nothing["podSelector"]["matchLabels"].items()
        assert everything <= labels.items()


def test_the_log_database_is_out_of_the_workers_reach() -> None:
    policies = named(of_kind(render("laptop"), "NetworkPolicy"))
    (rule,) = policies["NetworkPolicy/darkroom-database"]["spec"]["ingress"]
    (peer,) = rule["from"]
    allowed = peer["podSelector"]["matchLabels"].items()
    reach = {
        pod.component for pod in pods(render("laptop")) if allowed <= pod.labels.items()
    }
    assert reach == {"handlers", "recorder", "sweep", "bootstrap"}


@every_profile
def test_a_process_is_asked_how_it_is(profile: str) -> None:
    for manifest in render(profile):
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            (pod,) = pods([manifest])
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert pod.container[probe], f"{pod.name} {probe}"
            ports = {port["name"] for port in pod.container["ports"]}
            for probe in ("livenessProbe", "readinessProbe"):
                asked = pod.container[probe].get("httpGet", {}).get("port")
                assert asked is None or asked in ports


@every_profile
def test_a_worker_may_finish_its_photos(profile: str) -> None:
    """It is killed only after the time in which it finishes or gives back what it has."""
    workers = [pod for pod in pods(render(profile)) if "worker-" in pod.component]
    assert workers
    for worker in workers:
        drain_s = float(worker.variables[f"{PREFIX}DRAIN_S"])
        assert worker.spec["terminationGracePeriodSeconds"] > drain_s + 5


@every_profile
def test_a_device_has_one_worker(profile: str) -> None:
    """A pod of CUDA's image asks for one device, or slice of one; others ask for none."""
    for pod in pods(render(profile)):
        limits: dict[str, Any] = pod.container["resources"]["limits"]
        devices = [limits[name] for name in limits if name not in ("cpu", "memory")]
        needs = "worker-gpu" in pod.container["image"]
        assert devices == (["1"] if needs else []), pod.name


def test_there_is_one_sweep() -> None:
    sweep = named(render("fleet"))["Deployment/darkroom-sweep"]["spec"]
    assert (sweep["replicas"], sweep["strategy"]) == (1, {"type": "Recreate"})


@every_profile
def test_an_upgrade_changes_images_and_nothing_that_cannot_be_changed(
    profile: str,
) -> None:
    """And the way back ends where it began."""
    before = named(render(profile))
    after = named(render(profile, "image.tag=0.3.0"))
    for name, manifest in before.items():
        if name not in after:
            # A Job cannot be changed: another release has another one.
            assert name.startswith("Job/darkroom-models-")
            continue
        changed = _differences(manifest, after[name])
        assert all(path.endswith(".image") for path in changed), changed
    assert named(render(profile)) == before


def test_chosen_labels_have_no_version() -> None:
    """Selectors cannot be changed by an upgrade."""
    for manifest in render("laptop"):
        selector = manifest.get("spec", {}).get("selector", {})
        labels = selector.get("matchLabels", selector)
        assert not {"app.kubernetes.io/version", "helm.sh/chart"} & set(labels)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("image.tag=latest", "/image/tag"),
        ("servers.broker.image=rabbitmq", "/servers/broker/image"),
        ("broker.url=amqp://darkroom:secret@broker", "/broker/url"),
        ("handlers.replica=3", "replica"),
        ("workers.cpu.gpus=1", "gpus"),
        ("settings.MAX_PIXELS=1", "MAX_PIXELS"),
        ("models.pull={lama}", "models.volume"),
        ("workers.cpu.credentials.kmsKey=alias/own", "credentials.secret"),
        ("workerDefaults.credentials.timeStampUrl=https://t", "credentials.secret"),
        ("settings.DARKROOM_PEPPER=x", "DARKROOM_PEPPER"),
        ("handlers.settings.DARKROOM_API_KEY=x", "DARKROOM_API_KEY"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(value: str, name: str) -> None:
    assert name in refusal(value)


def test_what_the_chart_sets_cannot_be_set_a_second_time() -> None:
    """A variable that is there twice is refused by some clusters, and by others not."""
    for profile in NAMES:
        for pod in pods(render(profile)):
            names = [variable["name"] for variable in pod.container.get("env", [])]
            assert len(names) == len(set(names)), pod.name
    given: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    assert given["settings"] == {}
    own = {name for pod in pods(render("", *EVERYTHING)) for name in pod.variables}
    schema = json.loads((CHART / "values.schema.json").read_text())
    rules = schema["$defs"]["settings"]["propertyNames"]["allOf"]
    (refused,) = [rule["not"]["enum"] for rule in rules if "not" in rule]
    assert {name for name in own if name.startswith(PREFIX)} <= set(refused)
    assert SECRETS <= set(refused) <= set(SETTINGS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_names_files_that_exist(example: Path) -> None:
    for path in re.findall(r"(?:infra/helm/|\.\./)[\w./-]+", example.read_text()):
        base = CHART if path.startswith("..") else tools.ROOT
        assert (base / path).exists(), path


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two objects differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            found
            for key in one.keys() | other.keys()
            for found in _differences(one.get(key), other.get(key), f"{path}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found
            for a, b in zip(one, other, strict=True)
            for found in _differences(a, b, path)
        ]
    return [] if one == other else [path]
