"""What the chart accepts: every value is known, and what is wrong is refused with a sentence."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from helm.generate import CHART, README, SCHEMA, readme_text, schema_text
from tests.helm.cases import MINIMAL, STATEFULSET, examples
from tests.helm.engine import DATA, ROOT, Engine, RenderRefused, load_values, merged
from tests.helm.operator_rules import rayservice_problems
from tests.helm.pods import pods
from tests.helm.references import reference_problems

BAD = sorted((DATA / "bad").glob("*.yaml"))
SCHEMA_DOCUMENT: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
SAYS = "# says: "

LONG = "a-release-whose-name-is-longer-than-anything-should-be-60-ch"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA_DOCUMENT)


def test_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ray = next(each for each in project["dependencies"] if each.startswith("ray["))
    assert load_values(CHART / "Chart.yaml")["appVersion"] == project["version"]
    assert load_values(CHART / "values.yaml")["ray"]["version"] == ray.partition("==")[2]


def _unequal(schema: dict[str, Any], value: object, path: str) -> Iterator[str]:
    """Keys that only one of schema and values.yaml has, in every block of ours."""
    if "$ref" in schema:
        schema = SCHEMA_DOCUMENT["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("additionalProperties") is not False or not isinstance(value, dict) or path == ".settings":
        return
    for name in set(schema["properties"]) ^ set(value):
        yield f"{path}.{name}"
    for name in set(schema["properties"]) & set(value):
        yield from _unequal(schema["properties"][name], value[name], f"{path}.{name}")


def test_every_value_is_in_the_schema_and_the_reverse() -> None:
    assert list(_unequal(SCHEMA_DOCUMENT, load_values(CHART / "values.yaml"), "")) == []


def test_schema_and_readme_are_current() -> None:
    text = schema_text()
    assert SCHEMA.read_text(encoding="utf-8") == text, "make schema"
    assert README.read_text(encoding="utf-8") == readme_text(json.loads(text)), "make schema"


@pytest.mark.parametrize("name", examples())
def test_the_examples_are_clean_to_the_strict_linter(engine: Engine, name: str) -> None:
    assert engine.lint(examples()[name]) == []


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_wrong_values_are_refused_with_a_sentence(engine: Engine, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(SAYS)
    said = text.partition("\n")[0].removeprefix(SAYS)
    with pytest.raises(RenderRefused) as refused:
        engine.render(merged(MINIMAL, load_values(path)))
    assert said in str(refused.value)


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 20


@pytest.mark.parametrize("release", ["y", "1e3", "null", "0x1f", "1.5", "on", LONG])
@pytest.mark.parametrize("values", [MINIMAL, STATEFULSET], ids=["rayservice", "statefulset"])
def test_a_release_may_have_any_name(engine: Engine, values: dict[str, Any], release: str) -> None:
    documents = engine.render(values, name=release)
    assert reference_problems(documents) == []
    assert rayservice_problems(documents) == []
    assert all(len(document["metadata"]["name"]) <= 63 for document in documents)


@pytest.mark.parametrize(
    "text", ["y", "no", "on", "null", "~", "1e3", "0x1f", "1_000", "12:30:45", "2026-01-01", "'", '"']
)
def test_text_that_yaml_could_misread_stays_text(engine: Engine, text: str) -> None:
    given = {"commonLabels": {"a": text}, "commonAnnotations": {"a": text}, "worker": {"podAnnotations": {"b": text}}}
    named = {"kafka": {"groupId": "1e3", "security": {"username": text, "existingSecret": {"name": "0x1f"}}}}
    documents = engine.render(merged(STATEFULSET, given, named, {"keda": {"enabled": True}}), namespace="1e3")
    for document in documents:
        assert document["metadata"]["labels"]["a"] == text
        assert document["metadata"]["namespace"] == "1e3"
    worker = next(pod for pod in pods(documents) if pod.owner.startswith("StatefulSet"))
    assert worker.template["metadata"]["annotations"]["b"] == text
    scaled = next(each for each in documents if each["kind"] == "ScaledObject")
    assert scaled["spec"]["triggers"][0]["metadata"]["consumerGroup"] == "1e3"


def test_two_long_names_do_not_meet(engine: Engine) -> None:
    first, second = (engine.render(MINIMAL, name=LONG + ending) for ending in ("a", "b"))
    names = [{document["metadata"]["name"] for document in documents} for documents in (first, second)]
    assert names[0] & names[1] == set()


def test_a_platform_may_choose_users_itself(engine: Engine) -> None:
    documents = engine.render(load_values(CHART / "ci" / "openshift-values.yaml"))
    assert "runAsUser" not in json.dumps(documents)
    assert "fsGroup:" not in json.dumps(documents)


def test_no_secret_is_rendered_or_put_into_an_environment(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for documents in rendered.values():
        assert "Secret" not in {document["kind"] for document in documents}
        for pod in pods(documents):
            for container in pod.containers:
                sources = [variable.get("valueFrom", {}) for variable in container.get("env", [])]
                assert "secretKeyRef" not in json.dumps(sources)


def _size(resources: dict[str, Any]) -> str:
    """As the guide writes it: CPUs and GiB."""
    cpus, memory = resources["requests"]["cpu"].removesuffix("m"), resources["limits"]["memory"].removesuffix("Mi")
    return f"{int(cpus) / 1000:g} CPU, {int(memory) / 1024:g} GiB"


@pytest.mark.parametrize("preset", ["nano", "small", "medium", "large"])
def test_the_guide_has_the_sizes_that_are_rendered(engine: Engine, preset: str) -> None:
    model = {"generation": {"mode": "deployment", "baseUrl": "", "server": {"source": "a", "shmSize": "0Mi"}}}
    documents = engine.render(merged(MINIMAL, model, {"preset": preset}))
    sizes = {
        pod.labels["app.kubernetes.io/component"]: pod.spec["containers"][0]["resources"] for pod in pods(documents)
    }
    settings = next(each["data"]["settings.toml"] for each in documents if "settings.toml" in each.get("data", {}))
    workers = re.search(r"^slots = (\d+)$", settings, re.MULTILINE)
    assert workers is not None
    cells = [workers[1], *(_size(sizes[component]) for component in ("worker", "head", "generation"))]
    assert f"| `{preset}` | {' | '.join(cells)} |" in (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")


def test_the_notes_warn(engine: Engine) -> None:
    values = load_values(CHART / "ci" / "development-values.yaml")
    notes = next(text for path, text in engine.render_files(values).items() if path.endswith("NOTES.txt"))
    assert "PLAINTEXT: whoever reaches the brokers" in notes
    assert "networkPolicy.enabled is false" in notes
    notes = next(
        text for path, text in engine.render_files(examples()["everything"]).items() if path.endswith("NOTES.txt")
    )
    assert "what users wrote into traces" in notes
    assert "Roll it by hand" in notes
