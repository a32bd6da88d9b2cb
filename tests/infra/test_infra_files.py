"""The files under infra/ parse, and the names and paths in them exist and fit together.

No container engine or cluster is needed: this finds the typo, not the missing driver.
"""

from __future__ import annotations

import configparser
import importlib
import inspect
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
MANIFESTS = sorted(path for path in (INFRA / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")


def load_all(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def pod_specs(node: Any) -> list[dict[str, Any]]:
    """Every pod spec inside a manifest, wherever its kind keeps it."""
    if isinstance(node, dict):
        own = [node] if isinstance(node.get("containers"), list) else []
        return own + [spec for value in node.values() for spec in pod_specs(value)]
    if isinstance(node, list):
        return [spec for value in node for spec in pod_specs(value)]
    return []


def deployments() -> list[dict[str, Any]]:
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def test_kustomization_names_every_manifest() -> None:
    resources = yaml.safe_load((INFRA / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert sorted(resources) == [path.name for path in MANIFESTS]


def test_manifests_share_one_namespace_and_claim_only_volumes_that_exist() -> None:
    objects = [item for path in MANIFESTS for item in load_all(path)]
    assert all({"apiVersion", "kind", "metadata"} <= item.keys() for item in objects)
    [namespace] = [item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"]
    assert {item["metadata"]["namespace"] for item in objects if item["kind"] != "Namespace"} == {namespace}
    claims = {item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"}
    specs = pod_specs(objects)
    assert len(specs) == 4, "server, worker, Ray head, Ray workers"
    for spec in specs:
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
        used = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        assert used <= claims
        assert spec["securityContext"]["runAsNonRoot"] is True


def test_selectors_match_labels_and_services_reach_a_port() -> None:
    objects = [item for path in MANIFESTS for item in load_all(path)]
    templates = {item["metadata"]["name"]: item["spec"]["template"] for item in objects if item["kind"] == "Deployment"}
    for item in objects:
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"]["labels"]
            assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()
        if item["kind"] == "Service":
            matching = [
                template
                for template in templates.values()
                if item["spec"]["selector"].items() <= template["metadata"]["labels"].items()
            ]
            [template] = matching
            names = {port["name"] for c in template["spec"]["containers"] for port in c["ports"]}
            assert {port["targetPort"] for port in item["spec"]["ports"]} <= names


def test_the_ray_cluster_runs_the_locked_version_of_ray() -> None:
    [cluster] = load_all(INFRA / "kubernetes/ray_cluster.yaml")
    locked = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert locked is not None and cluster["spec"]["rayVersion"] == locked[1]
    worker = (INFRA / "kubernetes/prefect_worker.yaml").read_text()
    assert f"{cluster['metadata']['name']}-head-svc:6379" in worker, "the service that KubeRay makes for the head"


def test_ray_accepts_its_cluster_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((INFRA / "ray/cluster.yaml").read_text())
    validate_config(prepare_config(config))
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_services_build_from_what_is_there(name: str) -> None:
    folder = INFRA / "docker"
    services = yaml.safe_load((folder / name).read_text())["services"]
    dockerfile = (folder / "Dockerfile").read_text()
    for service in services.values():
        build = {"context": "../..", **service["build"]}
        assert (folder / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
        assert re.search(rf"^FROM \S+ AS {build['target']}$", dockerfile, re.MULTILINE)
        assert service["image"] == f"sheap:{build['target']}"
        assert set(service.get("depends_on", {})) <= services.keys()
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "the server has no password: this machine only"


def test_the_image_copies_files_that_exist_and_are_not_ignored() -> None:
    dockerfile = (INFRA / "docker/Dockerfile").read_text()
    allowed = (INFRA / "docker/Dockerfile.dockerignore").read_text().splitlines()
    copied = {name for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]}
    assert copied
    for name in copied:
        assert f"!{name}" in allowed, name
        if name not in ("README.md", "LICENSE", "NOTICE"):
            assert (ROOT / name).is_file(), name


def test_deployments_name_a_flow_its_parameters_and_one_work_pool() -> None:
    assert [deployment["name"] for deployment in deployments()] == ["train-sheap", "retrain-on-new-corpus"]
    for deployment in deployments():
        path, name = deployment["entrypoint"].split(":")
        flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
        assert flow.name == deployment["name"]
        known = set(inspect.signature(flow.fn).parameters)
        for trigger in deployment.get("triggers", []):
            assert trigger["enabled"] is False and set(trigger["parameters"]) <= known
        assert all(schedule["active"] is False for schedule in deployment.get("schedules", []))
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
        pool = deployment["work_pool"]["name"]
        users = [INFRA / "prefect/deploy.sh", INFRA / "docker/compose.yaml", INFRA / "kubernetes/prefect_worker.yaml"]
        assert all(pool in path.read_text() for path in [*users, ROOT / "docs/operations.md"])


def test_an_event_without_its_payload_reaches_the_flow_which_says_what_is_missing() -> None:
    """Prefect 3.8.8 renders a template of one expression as JSON: one of nothing would end in the server's log alone."""
    from prefect.server.events.actions import RunDeployment
    from prefect.server.utilities.user_templates import render_user_template_sync

    [trigger] = [trigger for deployment in deployments() for trigger in deployment.get("triggers", [])]

    def rendered(payload: dict[str, str]) -> dict[str, str]:
        event = {"event": {"payload": payload}}
        return {
            name: json.loads(render_user_template_sync(RunDeployment._wrap_v1_template(text)["value"]["template"], event))
            for name, text in trigger["parameters"].items()
        }

    facts = {"licence": "not stated", "origin": "not stated", "consent": "not stated"}
    assert rendered({}) == {"corpus": "", **facts}
    assert rendered({"folder": "/videos", "licence": "CC0"}) == {"corpus": "/videos", **facts, "licence": "CC0"}


def test_prefect_accepts_the_automation() -> None:
    from prefect.events.schemas.automations import AutomationCore

    [automation] = yaml.safe_load((INFRA / "prefect/crash_silent_runs.yaml").read_text())["automations"]
    parsed = AutomationCore.model_validate(automation)
    heartbeat = re.search(r"HEARTBEAT_FREQUENCY=(\d+)", (INFRA / "prefect/environment.sh").read_text())
    assert heartbeat is not None
    assert parsed.trigger.within.total_seconds() >= 3 * int(heartbeat[1]), "two lost heartbeats are no crash"
    assert automation["name"] in (INFRA / "prefect/deploy.sh").read_text()


def test_shell_files_parse_and_the_script_can_be_started() -> None:
    scripts = sorted(INFRA.rglob("*.sh"))
    assert len(scripts) == 3
    for path in scripts:
        subprocess.run(["bash", "-n", str(path)], check=True)
    assert os.access(INFRA / "prefect/deploy.sh", os.X_OK)


def test_dvc_remotes_parse_and_send_nothing_home() -> None:
    config = configparser.ConfigParser()
    config.read(INFRA / "dvc/config.example")
    assert config["core"]["analytics"] == "false"
    assert f"'remote \"{config['core']['remote']}\"'" in config.sections()
    own = configparser.ConfigParser()
    own.read(ROOT / ".dvc/config")
    assert own["core"]["analytics"] == "false" and own["core"]["check_update"] == "false"
