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
from pydantic import SecretStr

from shared.broker import topology
from shared.runtime.settings import PREFIX, Settings
from tests.charts import tools
from tests.charts.chart import (
    CHART,
    EXAMPLES,
    NAMES,
    Pod,
    named,
    of_kind,
    pods,
    read,
    refusal,
    render,
)
from tests.charts.tools import Manifest, helm

COMPOSE = yaml.safe_load((tools.ROOT / "compose.yaml").read_text())["services"]
OURS = ("bootstrap", "handlers", "recorder", "sweep", "callbacks", "worker", "models")
SERVERS = ("object-store", "broker", "database")
SETTINGS = {
    f"{PREFIX}{name.upper()}": kind for name, kind in Settings.model_fields.items()
}
SECRETS = {name for name, kind in SETTINGS.items() if kind.annotation is SecretStr}
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


def scalers(kind: str) -> tuple[str, ...]:
    """Values of a broker that KEDA looks at."""
    return (
        f"broker.kind={kind}",
        "broker.redisAddress=redis:6379",
        "broker.sqsUrl=https://sqs.eu-central-1.amazonaws.com/1",
    )


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


@pytest.mark.parametrize("kind", ["rabbitmq", "redis", "sqs"])
def test_a_pool_is_scaled_by_every_restore_queue(kind: str) -> None:
    """Their sum decides, and no photo means no worker."""
    values = ("workers.cpu.scaling.enabled=true", *scalers(kind))
    (scaled,) = of_kind(render("", *values), "ScaledObject")
    field = {"rabbitmq": "queueName", "redis": "listName", "sqs": "queueURL"}[kind]
    queues = [trigger["metadata"][field] for trigger in scaled["spec"]["triggers"]]
    if kind == "sqs":
        expected = {queue.replace(".", "-") for queue in topology.RESTORE}
        queues = [queue.rpartition("/")[2] for queue in queues]
    else:
        expected = set(topology.RESTORE)
    assert set(queues) == expected
    assert len(queues) == len(expected)
    modifiers = scaled["spec"]["advanced"]["scalingModifiers"]
    names = [trigger["name"] for trigger in scaled["spec"]["triggers"]]
    assert modifiers["formula"] == f"({' + '.join(names)}) / 30"
    assert all(re.fullmatch(r"[a-z_0-9]+", name) for name in names)
    assert scaled["spec"]["minReplicaCount"] == 0
    (worker,) = of_kind(render("", *values), "Deployment")[-1:]
    assert worker["metadata"]["name"] == "darkroom-worker-cpu"
    assert "replicas" not in worker["spec"], "helm and KEDA would pull at it"


def test_the_scaler_reaches_a_broker_of_the_chart() -> None:
    """KEDA lives in another namespace: it needs a whole name, and to be let in."""
    values = ("workers.cpu.scaling.enabled=true", "servers.broker.enabled=true")
    manifests = render("laptop", *values)
    (worker,) = [pod for pod in pods(manifests) if pod.component == "worker-cpu"]
    (policy,) = [
        policy
        for name, policy in named(of_kind(manifests, "NetworkPolicy")).items()
        if name.endswith("-broker")
    ]
    host = worker.variables[f"{PREFIX}BROKER_URL"].partition("@")[2]
    assert host == "darkroom-broker.photos.svc:5672//"
    _, scaler = policy["spec"]["ingress"]
    (peer,) = scaler["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "keda"
    }
    unscaled = named(of_kind(render("laptop"), "NetworkPolicy"))
    assert len(unscaled["NetworkPolicy/darkroom-broker"]["spec"]["ingress"]) == 1


def test_without_a_scaler_s_address_nobody_new_reaches_the_broker() -> None:
    """An empty list of a policy's peers would mean everybody."""
    values = ("workers.cpu.scaling.enabled=true", "networkPolicy.scaler=null")
    policies = named(of_kind(render("laptop", *values), "NetworkPolicy"))
    assert len(policies["NetworkPolicy/darkroom-broker"]["spec"]["ingress"]) == 1


@pytest.mark.parametrize("kind", ["rabbitmq", "redis", "sqs"])
def test_a_pool_of_jobs_ends_by_itself(kind: str) -> None:
    """Nothing ends a Job that has a photo, and there is nothing beside it to scale."""
    values = (
        "workers.cpu.scaling.enabled=true",
        "workers.cpu.scaling.jobs=true",
        *scalers(kind),
    )
    manifests = render("", *values)
    assert tools.faults_of([*manifests]) == []
    (scaled,) = of_kind(manifests, "ScaledJob")
    assert not of_kind(manifests, "ScaledObject")
    assert not [
        pool
        for pool in of_kind(manifests, "Deployment")
        if "worker" in pool["metadata"]["name"]
    ]
    assert len(scaled["spec"]["triggers"]) == len(topology.RESTORE)
    (pod,) = [pod for pod in pods(manifests) if pod.component == "worker-cpu"]
    assert pod.spec["restartPolicy"] == "Never"
    assert float(pod.variables[f"{PREFIX}IDLE_LEAVE_S"]) > 0
    assert "ageQuery" in refusal(*values, "workers.cpu.scaling.ageQuery=max(age)")


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


def test_photos_that_wait_for_long_bring_more_workers() -> None:
    values = (
        "workers.cpu.scaling.enabled=true",
        "workers.cpu.scaling.ageQuery=max(age)",
        "metrics.prometheusUrl=http://prometheus:9090",
    )
    (scaled,) = of_kind(render("", *values), "ScaledObject")
    formula = scaled["spec"]["advanced"]["scalingModifiers"]["formula"]
    assert formula.endswith(" / (age > 600 ? 5 : 30)")


def test_rules_miss_no_worker_where_there_may_be_none() -> None:
    """Every process else must be there, and the rest of the rules is what was tried."""
    missing = 'absent(up{job="darkroom",process="%s"})'
    text = (tools.ROOT / "infra/prometheus/rules.yml").read_text()
    whole = yaml.safe_load(text)
    (with_worker,) = of_kind(render("", "metrics.rules=true"), "PrometheusRule")
    assert with_worker["spec"] == whole
    (fleet,) = of_kind(render("fleet"), "PrometheusRule")
    down = missing % "worker"
    assert down in text
    assert down not in json.dumps(fleet["spec"]).replace('\\"', '"')
    assert missing % "sweep" in json.dumps(fleet["spec"]).replace('\\"', '"')
    assert len(fleet["spec"]["groups"][0]["rules"]) == len(whole["groups"][0]["rules"])


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
