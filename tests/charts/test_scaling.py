"""How pools of workers are scaled, by KEDA and as Jobs."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from shared.broker import topology
from shared.runtime.settings import PREFIX
from tests.charts import tools
from tests.charts.chart import (
    named,
    of_kind,
    pods,
    refusal,
    render,
    scalers,
)


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
