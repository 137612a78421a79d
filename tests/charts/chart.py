"""The chart, rendered as a cluster would get it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import yaml
from pydantic import SecretStr

from shared.runtime.settings import PREFIX, Settings
from tests.charts.tools import ROOT, Manifest, helm

CHART = ROOT / "infra/helm/darkroom"
PROFILES = sorted((ROOT / "infra/helm/profiles").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "infra/helm/examples").glob("*.yaml"))
NAMES = [path.stem for path in PROFILES]
SETTINGS = {
    f"{PREFIX}{name.upper()}": kind for name, kind in Settings.model_fields.items()
}
SECRETS = {name for name, kind in SETTINGS.items() if kind.annotation is SecretStr}


def scalers(kind: str) -> tuple[str, ...]:
    """Values of a broker that KEDA looks at."""
    return (
        f"broker.kind={kind}",
        "broker.redisAddress=redis:6379",
        "broker.sqsUrl=https://sqs.eu-central-1.amazonaws.com/1",
    )


class Pod(NamedTuple):
    """A pod's template, by the object that makes it."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def container(self) -> dict[str, Any]:
        """Its only one."""
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def variables(self) -> dict[str, Any]:
        """Name of each variable → its value, or the key of the Secret."""
        named = {}
        for variable in self.container.get("env", []):
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            named[variable["name"]] = source or variable["value"]
        return named

    @property
    def networks(self) -> set[str]:
        prefix = "network.darkroom/"
        return {
            label.removeprefix(prefix)
            for label in self.labels
            if label.startswith(prefix)
        }


@functools.cache
def render(profile: str = "", *values: str) -> tuple[Manifest, ...]:
    """Every object of a profile, hooks and the test included."""
    options: list[str] = []
    if profile:
        options += ["--values", f"infra/helm/profiles/{profile}.yaml"]
    for value in values:
        options += ["--set", value]
    done = helm("template", "darkroom", CHART, "--namespace", "photos", *options)
    assert done.returncode == 0, done.stderr
    return tuple(read(done.stdout))


def refusal(*values: str) -> str:
    """What helm says about values that it refuses."""
    options = [part for value in values for part in ("--set", value)]
    done = helm("template", "darkroom", CHART, *options)
    assert done.returncode != 0, f"taken: {values}"
    return done.stderr


def read(text: str) -> Iterator[Manifest]:
    """Objects of a YAML text; two variables or fields of one name are a fault."""
    for manifest in yaml.load_all(text, _Loader):
        if manifest:
            yield manifest


class _Loader(yaml.SafeLoader):
    """Refuses a field that is there twice, as a strict cluster does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        doubled = {key for key in keys if keys.count(key) > 1}
        assert not doubled, f"twice: {doubled} {node.start_mark}"
        return dict(super().construct_mapping(node, deep))


def pods(manifests: Iterable[Manifest]) -> list[Pod]:
    """Every pod that is made by these."""
    found = []
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Pod":
            labels = manifest["metadata"]["labels"]
            found.append(Pod(name, labels, manifest["spec"]))
            continue
        template = _template(manifest.get("spec", {}))
        if template is not None:
            found.append(Pod(name, template["metadata"]["labels"], template["spec"]))
    return found


def _template(spec: dict[str, Any]) -> dict[str, Any] | None:
    """The pod's template of a Deployment or Job, a CronJob or a ScaledJob."""
    holder = spec.get("jobTargetRef") or spec.get("jobTemplate", {}).get("spec") or spec
    template: dict[str, Any] | None = holder.get("template")
    return template


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def named(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in manifests}
