"""Compares objects with the schemas of Kubernetes, KEDA, the Prometheus operator, Flux
and Istio. Runs in the environment of the tools: a list of objects as JSON comes in, a
list of faults goes out.

Python's models of the extensions are made from their CRDs. They ignore what they do not
know, which a cluster refuses, so each unknown field is a fault here.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

KUBERNETES = ("1.29", "1.37")
"""The oldest that the chart allows, and the newest."""
SINCE = {"image": "1.33"}
"""Kinds of volumes that came later."""
MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
    "source.toolkit.fluxcd.io/v1": "cloudcoil.models.fluxcd.source.v1",
    "helm.toolkit.fluxcd.io/v2": "cloudcoil.models.fluxcd.helm.v2",
    "networking.istio.io/v1": "cloudcoil.models.istio.networking.v1",
}
WITHOUT = ("argoproj.io/v1alpha1", "external-secrets.io/v1")
"""Extensions for which there is no schema to be had here: only examples use them."""


# By itself it reads a file of megabytes anew for each object.
utils.schema_contents = functools.cache(utils.schema_contents)


def main() -> None:
    faults = [
        f"{manifest['kind']} {manifest['metadata']['name']}: {fault}"
        for manifest in json.load(sys.stdin)
        for fault in faults_of(manifest)
    ]
    print(json.dumps(faults))


def faults_of(manifest: dict[str, Any]) -> list[str]:
    version = manifest["apiVersion"]
    if version in WITHOUT:
        return []
    if version in MODELS:
        schema = schema_of(version, manifest["kind"])
        found = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
        return [f"{error.json_path}: {error.message}" for error in found]
    return [fault for fault in map(_against(manifest), versions_for(manifest)) if fault]


def versions_for(manifest: dict[str, Any]) -> tuple[str, ...]:
    spec = manifest.get("spec", {}).get("template", {}).get("spec", {})
    volumes = [kind for volume in spec.get("volumes", []) for kind in volume]
    oldest = max(
        (SINCE[kind] for kind in volumes if kind in SINCE), default=KUBERNETES[0]
    )
    return (oldest, KUBERNETES[1])


def _against(manifest: dict[str, Any]) -> Any:
    def check(version: str) -> str:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            return f"{place}: {error.message} (Kubernetes {version})"
        return ""

    return check


@functools.cache
def schema_of(version: str, kind: str) -> dict[str, Any]:
    """The schema of one kind of an extension, closed against unknown fields."""
    model = getattr(importlib.import_module(MODELS[version]), kind)
    schema: dict[str, Any] = model.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        if part.get("properties"):
            part.setdefault("additionalProperties", False)
    return schema


if __name__ == "__main__":
    main()
