"""Every object of every case is one that Kubernetes, or the operator whose object it is, would take."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from jsonschema import Draft7Validator

from tests.checkout import ROOT
from tests.helm.engine import Document, Engine
from tests.helm.operator_rules import rayservice_problems
from tests.helm.pods import pods, restricted_problems
from tests.helm.references import reference_problems

CRDS = ROOT / "tests" / "data" / "crds"
VERSIONS = ("1.33", "1.36", "1.37")

Rendered = dict[str, list[Document]]


def _schema_path(document: Document) -> Path:
    group, _, version = document["apiVersion"].rpartition("/")
    return CRDS / f"{document['kind'].lower()}-{group.partition('.')[0]}-{version}.json"


@cache
def _validator(path: Path) -> Draft7Validator:
    return Draft7Validator(json.loads(path.read_text(encoding="utf-8")))


def _distinct(rendered: Rendered) -> list[Document]:
    """Each object once, however many cases have it."""
    texts = {json.dumps(document, sort_keys=True) for documents in rendered.values() for document in documents}
    return [json.loads(text) for text in sorted(texts)]


def test_three_versions_of_kubernetes_take_every_object_of_theirs(engine: Engine, rendered: Rendered) -> None:
    own = [document for document in _distinct(rendered) if not _schema_path(document).exists()]
    assert engine.validate(own, VERSIONS) == []


def test_the_strict_schemas_refuse_a_misspelt_field(engine: Engine) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"selectors": {}}}
    assert len(engine.validate([service], VERSIONS)) == len(VERSIONS)


def test_every_pod_template_that_an_operator_makes_is_a_pod_to_three_versions(
    engine: Engine, rendered: Rendered
) -> None:
    made = {
        json.dumps(pod.template, sort_keys=True)
        for documents in rendered.values()
        for pod in pods([document for document in documents if document["kind"] == "RayService"])
    }
    as_pods = [
        {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "pod", **template["metadata"]}}
        for template in map(json.loads, sorted(made))
    ]
    assert as_pods
    assert engine.validate(as_pods, VERSIONS) == []


def test_every_custom_resource_fits_its_closed_schema(rendered: Rendered) -> None:
    problems: list[str] = []
    kinds: set[str] = set()
    for document in _distinct(rendered):
        path = _schema_path(document)
        if path.exists():
            kinds.add(document["kind"])
            problems += [
                f"{document['kind']}: {error.json_path}: {error.message[:200]}"
                for error in _validator(path).iter_errors(document)
            ]
    assert problems == []
    assert {path.name.partition("-")[0] for path in CRDS.glob("*.json")} == {kind.lower() for kind in kinds}


def test_the_ray_operators_own_rules_hold(rendered: Rendered) -> None:
    assert _problems(rendered, rayservice_problems) == []


def test_every_pod_meets_the_restricted_level(rendered: Rendered) -> None:
    def all_problems(documents: list[Document]) -> list[str]:
        return [problem for pod in pods(documents) for problem in restricted_problems(pod)]

    assert _problems(rendered, all_problems) == []


def test_every_reference_and_selector_finds_what_it_names(rendered: Rendered) -> None:
    assert _problems(rendered, reference_problems) == []


def _problems(rendered: Rendered, check: Callable[[list[Document]], list[str]]) -> list[str]:
    return [f"{name}: {problem}" for name, documents in rendered.items() for problem in check(documents)]
