"""docker/stack.yml as text: what can be seen without a Docker engine. `make test-stack` runs it for real."""

import re

import pytest
import yaml
from dotenv import dotenv_values

from emm_pipeline.settings import ENV_FILES, PROJECT_ROOT

REMOTE_WORKER = yaml.safe_load((PROJECT_ROOT / "docker" / "worker.yml").read_text())["services"]["worker"]
STACK = yaml.safe_load((PROJECT_ROOT / "docker" / "stack.yml").read_text())
SERVICES = STACK["services"]
ONCE = ["check", "init"]
OURS = [*ONCE, "code", "webserver", "daemon", "worker", "redis", "virtual_modbustcp_server"]
ON_DEMAND = {"proxy": {"proxy"}, "celery": {"redis", "worker"}}
"""By profile: the services that are there only when asked for."""

CREDENTIALS = {
    "POSTGRES_PASSWORD": {"check", "postgres", "init", "code", "webserver", "daemon", "worker"},
    "REDIS_PASSWORD": {"check", "redis", "code", "webserver", "daemon", "worker"},
    "INFLUXDB_TOKEN": {"check", "init"},
    "INFLUXDB_READ_TOKEN": {"check", "init"},
    "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": {"check", "influxdb", "init"},
    "DOCKER_INFLUXDB_INIT_PASSWORD": {"check", "influxdb"},
    "GF_SECURITY_ADMIN_PASSWORD": {"check", "grafana"},
    "LOGGER_SENDER_EMAIL_PASSWORD": {"check", "code", "worker"},
    "DAGSTER_LOGIN_PASSWORD": {"check", "proxy"},
}
"""Which service is given which credential; `check` looks whether they are still the example's, without a network."""


def is_given(service: str, variable: str) -> bool:
    definition = SERVICES[service]
    environment = definition.get("environment", {})
    if variable in environment:
        return environment[variable] != ""
    return "env_file" in definition


@pytest.mark.parametrize("variable", CREDENTIALS)
def test_a_service_is_given_only_the_credentials_that_it_needs(variable):
    assert {service for service in SERVICES if is_given(service, variable)} == CREDENTIALS[variable]


def test_no_credential_is_forgotten_here():
    names = {name for name in dotenv_values(ENV_FILES[0]) if re.search(r"PASSWORD|TOKEN|SECRET", name)}
    assert names - {"INFLUXDB_TOKEN_FILE"} == set(CREDENTIALS)


@pytest.mark.parametrize("service", OURS)
def test_a_service_of_ours_has_no_right_that_it_does_not_need(service):
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in definition


@pytest.mark.parametrize("service", sorted(set(SERVICES) - set(ONCE)))
def test_every_service_comes_back_is_looked_after_and_keeps_its_logs_small(service):
    definition = SERVICES[service]
    assert definition["restart"] == "unless-stopped"
    assert definition["logging"]["options"].keys() == {"max-size", "max-file"}
    built = definition.get("build")
    assert "healthcheck" in definition or "HEALTHCHECK" in (PROJECT_ROOT / built / "Dockerfile").read_text()


def test_nothing_starts_before_the_credentials_were_checked():
    started_first = {name for name, definition in SERVICES.items() if not definition.get("depends_on")}
    assert started_first == {"check"}
    assert SERVICES["check"]["network_mode"] == "none"


def test_every_published_port_listens_where_emm_bind_says():
    ports = [port for name in set(SERVICES) - {"proxy"} for port in SERVICES[name].get("ports", [])]
    assert ports
    assert all(port.startswith("${EMM_BIND:?}:") for port in ports)


def test_a_service_that_not_everybody_needs_is_there_only_when_asked_for():
    profiles = {name: set(definition.get("profiles", ())) for name, definition in SERVICES.items()}
    assert profiles == {
        name: {profile for profile, services in ON_DEMAND.items() if name in services} for name in SERVICES
    }
    on_demand = set.union(*ON_DEMAND.values())
    needed = {name for service in set(SERVICES) - on_demand for name in SERVICES[service].get("depends_on", ())}
    assert not needed & on_demand


def test_a_worker_on_another_host_is_what_the_stacks_own_is():
    same = ("command", "init", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "healthcheck", "logging")
    for key in (*same, "stop_grace_period"):
        assert REMOTE_WORKER[key] == SERVICES["worker"][key], key


def test_the_proxy_alone_listens_elsewhere():
    assert all(port.startswith("${EMM_PROXY_BIND:?}:") for port in SERVICES["proxy"]["ports"])


def test_every_image_but_influxdbs_is_pinned_and_none_is_a_substitute():
    images = [definition["image"] for definition in SERVICES.values() if "image" in definition]
    assert not [image for image in images if "emm-test" in image or image.endswith(":latest")]
    foreign = [image for image in images if image != "emm-pipeline"]
    assert all(re.search(r":\d", image) for image in foreign)


def test_every_variable_of_the_file_is_in_the_settings_or_has_a_default():
    text = (PROJECT_ROOT / "docker" / "stack.yml").read_text()
    needed = set(re.findall(r"(?<!\$)\$\{(\w+):\?\}", text))
    assert needed
    assert needed <= set(dotenv_values(ENV_FILES[0]))


def test_the_build_context_holds_no_settings():
    ignored = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [line for line in ignored if line.startswith("!config")]
