"""Runs in the chart's tool environment: answers one JSON request a line with Helm's engine and Kubernetes' schemas.

Requests: {"do": "render", "values", "name", "namespace", "is_upgrade"}, {"do": "lint", "values"},
{"do": "package", "destination"}, {"do": "validate", "documents", "versions"}.
Answers: {"result": …}, or {"error": text} where Helm refused.
"""

import json
import sys
from functools import cache
from typing import Any

from helm_python import Chart, HelmError, lint, package
from jsonschema import Draft202012Validator
from kubernetes_validate import utils
from referencing import Registry, Resource

CHART = sys.argv[1]


def render(request: dict[str, Any]) -> dict[str, str]:
    chart = _chart()
    return chart.render(
        request["values"],
        name=request["name"],
        namespace=request["namespace"],
        is_upgrade=request["is_upgrade"],
        is_install=not request["is_upgrade"],
    )


def validate(request: dict[str, Any]) -> list[str]:
    """What Kubernetes' strict schemas say, over all documents and versions."""
    problems: list[str] = []
    for version in request["versions"]:
        for document in request["documents"]:
            name = f"{document['kind']}/{document['metadata']['name']}"
            for error in _validator(version, document["kind"], document["apiVersion"]).iter_errors(document):
                where = "/".join(map(str, error.absolute_path))
                problems.append(f"{version} {name} at {where}: {error.message[:300]}")
    return problems


@cache
def _chart() -> Chart:
    return Chart.load(CHART)


@cache
def _validator(version: str, kind: str, api_version: str) -> Draft202012Validator:
    group, _, number = api_version.rpartition("/")
    short = f"{group.partition('.')[0]}-{number}" if group else number
    known = f"kubernetes-json-schema/v{version}.0-local-strict"
    schema = utils.schema_contents(f"{known}/{kind.lower()}-{short}.json", version)
    return Draft202012Validator(schema, registry=_definitions(known, version))


@cache
def _definitions(known: str, version: str) -> Registry:
    return Resource.from_contents(utils.schema_contents(f"{known}/_definitions.json", version)) @ Registry()


def main() -> None:
    verbs = {
        "render": render,
        "validate": validate,
        "package": lambda request: package(CHART, destination=request["destination"]),
        "lint": lambda request: lint(CHART, request["values"], strict=True),
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": verbs[request["do"]](request)}
        except HelmError as exc:
            answer = {"error": str(exc)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
