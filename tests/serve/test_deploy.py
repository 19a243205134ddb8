"""The files of deploy/: the manifests fit the types of KServe's and Kubernetes' own packages."""

from __future__ import annotations

from pathlib import Path

from support import REPOSITORY
from support.service import run_client

_CHECK = """
import sys, yaml, kserve, kubernetes.client
from pathlib import Path

def kind_of(name):
    return getattr(kserve, name, None) or getattr(kubernetes.client, name, None)

def unknown(value, type_name, place):
    if type_name.startswith("list["):
        return [one for n, item in enumerate(value) for one in unknown(item, type_name[5:-1], f"{place}[{n}]")]
    kind = kind_of(type_name)
    if kind is None or not isinstance(value, dict):
        return []
    if hasattr(kind, "openapi_types"):
        names = {key: kind.openapi_types[field] for field, key in kind.attribute_map.items()}
        extra = [f"{place}.{key}" for key in value if key not in names]
        inner = [unknown(value[key], names[key], f"{place}.{key}") for key in value if key in names]
        return extra + sum(inner, [])
    back = kind.from_dict(value).to_dict()
    return [] if back == value else [f"{place}: {value} became {back}"]

folder = Path(sys.argv[1])
for name, kind in (("serving-runtime", "V1alpha1ServingRuntime"), ("inference-service", "V1beta1InferenceService")):
    document = yaml.safe_load((folder / f"{name}.yaml").read_text())
    assert unknown(document, kind, name) == [], unknown(document, kind, name)
    broken = {**document, "spec": {**document["spec"], "nonsense": 1}}
    assert unknown(broken, kind, name), "the check finds nothing"
runtime = yaml.safe_load((folder / "serving-runtime.yaml").read_text())["spec"]
[container] = runtime["containers"]
assert unknown({**container, "imagee": "x"}, "V1Container", "container"), "the check finds nothing"
service = yaml.safe_load((folder / "inference-service.yaml").read_text())["spec"]["predictor"]
assert service["model"]["protocolVersion"] in runtime["protocolVersions"]
compose = yaml.safe_load((folder / "compose.yaml").read_text())
scraped = yaml.safe_load((folder / "prometheus.yaml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
assert scraped == ["onnxplain:8080"] and "onnxplain" in compose["services"]
import click
from onnxplain.cli import app
known = {one for p in app.get_command(click.Context(app), "serve").params for one in p.opts}
given = [one for one in container["args"] + compose["services"]["onnxplain"]["command"] if one.startswith("--")]
assert {one.partition("=")[0] for one in given} <= known, given
"""


def test_manifests_fit_the_types_of_kserve_and_kubernetes(tmp_path: Path) -> None:
    run_client(tmp_path, _CHECK, REPOSITORY / "deploy")
