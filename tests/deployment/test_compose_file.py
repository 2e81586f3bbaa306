"""Checks of docker/stack.yml without a Docker engine. `make test-stack` runs it in a real one."""

import re
import textwrap

import pytest
import yaml
from dotenv import dotenv_values

from emm_pipeline.access.vault import CREDENTIALS
from emm_pipeline.credentials import PUBLISHED
from emm_pipeline.settings import ENV_FILES, PROJECT_ROOT

REMOTE = yaml.safe_load((PROJECT_ROOT / "docker" / "worker.yml").read_text())["services"]
STACK = yaml.safe_load((PROJECT_ROOT / "docker" / "stack.yml").read_text())
SERVICES = STACK["services"]
ONCE = ["credentials", "check", "init", "grafana-login"]
OURS = [*ONCE, "code", "webserver", "daemon", "web", "worker", "redis", "mqtt", "virtual_modbustcp_server", "backup"]
ON_DEMAND = {"proxy": {"proxy"}, "celery": {"redis", "worker"}, "mqtt": {"mqtt"}, "backup": {"backup"}}
"""The services that start only with a profile, by profile."""

FOLDERS = {
    "secrets": {"credentials", "check", "init", "grafana-login", "backup"},
    "postgres-access": {"credentials", "init", "postgres", "backup"},
    "influxdb-access": {"credentials", "init", "influxdb"},
    "grafana-access": {"credentials", "init", "grafana-login", "grafana"},
    "redis-access": {"credentials", "init", "redis"},
    "pipeline-access": {"credentials", "init", "code", "worker", "watchdog"},
    "dagster-access": {"credentials", "init", "webserver", "daemon"},
    "mqtt-access": {"credentials", "init", "mqtt"},
    "web-access": {"credentials", "init", "web"},
}
"""The services by the volume of credentials that they mount."""

SETS_UP = {"credentials", "check", "init", "grafana-login", "backup"}
"""The services that write these files, and therefore get the user's credentials; they listen on no port.

`backup` saves these files, too.
"""


def is_given(service: str, variable: str) -> bool:
    definition = SERVICES[service]
    environment = definition.get("environment", {})
    if variable in environment:
        return environment[variable] != ""
    return "env_file" in definition


def credentials() -> list[str]:
    names = {name for name in dotenv_values(ENV_FILES[0]) if re.search(r"PASSWORD|TOKEN|SECRET|ALERT_URLS", name)}
    return sorted(names - {"INFLUXDB_TOKEN_FILE"})


@pytest.mark.parametrize("variable", credentials())
def test_no_running_service_finds_a_credential_in_its_environment(variable):
    alerting = {"code", "worker", "watchdog"}
    users = {"LOGGER_SENDER_EMAIL_PASSWORD": alerting, "ALERT_URLS": alerting, "MQTT_PASSWORD": {"mqtt"}}
    assert {service for service in SERVICES if is_given(service, variable)} - SETS_UP == users.get(variable, set())


def volumes_of(service: str) -> dict[str, str]:
    parts = [volume.split(":") for volume in SERVICES[service].get("volumes", ())]
    return {part[0]: ":".join(part[1:]) for part in parts}


@pytest.mark.parametrize("volume", FOLDERS)
def test_a_service_is_given_only_the_credentials_that_it_needs(volume):
    assert {service for service in SERVICES if volume in volumes_of(service)} == FOLDERS[volume]
    readers = FOLDERS[volume] - SETS_UP
    assert all(volumes_of(service)[volume].endswith(":ro") for service in readers)


def test_no_volume_with_credentials_is_forgotten_here():
    assert {volume for volume in STACK["volumes"] if volume.endswith("-access")} | {"secrets"} == set(FOLDERS)


def test_no_published_example_is_anywhere_in_the_stacks_files():
    for file in [
        *(PROJECT_ROOT / "docker").iterdir(),
        PROJECT_ROOT / "docker-compose.yml",
        PROJECT_ROOT / "Dockerfile",
    ]:
        assert not [example for example in PUBLISHED.values() if example in file.read_text()], file


LIMITS = ("mem_limit", "pids_limit", "cpu_quota")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_has_a_limit_of_memory_of_processes_and_of_cpu(service):
    for limit in LIMITS:
        assert SERVICES[service][limit], limit
    # `cpus` and `deploy` are refused by the engine where the machine has fewer CPUs.
    assert not {"cpus", "deploy"} & set(SERVICES[service])


def example_devices() -> dict[str, dict]:
    """The services that docker-compose.yml and the documents show to whoever adds a virtual device."""
    compose = (PROJECT_ROOT / "docker-compose.yml").read_text()
    texts = [re.sub("^# ?", "", compose[compose.index("# services:") :], flags=re.MULTILINE)]
    for document in [*PROJECT_ROOT.glob("docs/*.md"), *PROJECT_ROOT.glob("virtual_*/README.md")]:
        blocks = re.findall(r"^( *)(services:\n(?:(?:\1 .*)?\n)+)", document.read_text(), re.MULTILINE)
        texts += [textwrap.dedent(indent + block) for indent, block in blocks]
    return {name: definition for text in texts for name, definition in yaml.safe_load(text)["services"].items()}


@pytest.mark.parametrize("name", sorted(example_devices()))
def test_a_virtual_device_of_an_example_is_limited_and_is_given_no_credentials(name):
    definition = example_devices()[name]
    assert "env_file" not in definition
    assert not set(definition.get("environment", ())) & set(credentials())
    assert set(definition["networks"]) == {"devices"}
    assert set(LIMITS) <= set(definition)


def networks_of(service: str) -> set[str]:
    return set(SERVICES[service].get("networks", ()))


def reaches(service: str) -> set[str]:
    """Return the services that share a network with a service."""
    return {other for other in SERVICES if other != service and networks_of(service) & networks_of(other)}


def test_every_service_is_in_networks_that_are_named():
    assert {name for name in SERVICES if not networks_of(name)} == {"credentials", "check"}
    assert set.union(*map(networks_of, SERVICES)) == set(STACK["networks"])


def test_a_devices_container_reaches_its_poller_and_nothing_else():
    assert reaches("virtual_modbustcp_server") == {"code", "worker"}


def test_the_databases_are_in_networks_without_a_way_out():
    for service in ("postgres", "influxdb", "redis"):
        (network,) = networks_of(service)
        assert STACK["networks"][network] == {"internal": True}


def test_the_code_server_listens_for_webserver_daemon_and_watchdog_only():
    name = SERVICES["code"]["command"][SERVICES["code"]["command"].index("--host") + 1]
    aliases = {network: options.get("aliases", []) for network, options in SERVICES["code"]["networks"].items()}
    assert [network for network, names in aliases.items() if name in names] == ["dagster"]
    clients = {"webserver", "daemon", "watchdog"}
    assert {service for service in SERVICES if "dagster" in networks_of(service)} == {"code", *clients}


@pytest.mark.parametrize("service", OURS)
def test_emms_services_have_only_the_rights_that_they_need(service):
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in definition


@pytest.mark.parametrize("service", sorted(set(SERVICES) - set(ONCE)))
def test_every_service_restarts_has_a_health_check_and_limits_its_logs(service):
    definition = SERVICES[service]
    assert definition["restart"] == "unless-stopped"
    assert definition["logging"]["options"].keys() == {"max-size", "max-file"}
    built = definition.get("build")
    assert "healthcheck" in definition or "HEALTHCHECK" in (PROJECT_ROOT / built["context"] / "Dockerfile").read_text()


def test_nothing_starts_before_the_credentials_exist():
    started_first = {name for name, definition in SERVICES.items() if not definition.get("depends_on")}
    assert started_first == {"credentials"}
    assert SERVICES["credentials"]["network_mode"] == "none"


def test_the_pipeline_starts_after_its_settings_were_checked():
    assert SERVICES["check"]["command"] == ["emm", "settings", "check"]
    assert SERVICES["check"]["network_mode"] == "none"
    pipeline = {"code", "grafana", "worker", "mqtt"}
    assert {service for service in pipeline if "check" not in waits_for(service)} == set()


def test_a_changed_setting_restarts_no_service_with_data_and_no_device():
    """Compose recreates the services with env_file, and stops those that depend directly on one of them."""
    changed = {name for name, definition in SERVICES.items() if "env_file" in definition}
    kept = {"postgres", "influxdb", "redis", "virtual_modbustcp_server", "credentials"}
    assert not kept & changed
    assert not [name for name in kept if set(SERVICES[name].get("depends_on", ())) & changed]


def test_the_credentials_of_the_service_credentials_are_all_that_it_creates():
    assert set(SERVICES["credentials"]["environment"]) == set(CREDENTIALS)


def waits_for(service: str) -> set[str]:
    """Return the services that must have ended successfully before a service starts, directly or indirectly."""
    needed = SERVICES[service].get("depends_on", {})
    ended = {name for name, how in needed.items() if how["condition"] == "service_completed_successfully"}
    return ended.union(*map(waits_for, needed)) if needed else ended


@pytest.mark.parametrize("profile", [None, *ON_DEMAND])
def test_whatever_a_profile_starts_waits_for_the_credentials(profile):
    started = {name for name in SERVICES if name in ON_DEMAND.get(profile, set(SERVICES))} - {"credentials"}
    assert started
    assert {service for service in started if "credentials" not in waits_for(service)} == set()


def test_the_proxy_opens_grafana_and_dagster_to_other_machines_after_their_logins_are_no_examples():
    assert {"credentials", "check", "init", "grafana-login"} <= waits_for("proxy")


def test_only_grafana_dagster_the_web_page_and_the_proxy_publish_ports():
    ports = {name: definition["ports"] for name, definition in SERVICES.items() if "ports" in definition}
    of_the_proxy = ports.pop("proxy")
    assert ports == {
        "grafana": ["${EMM_BIND:?}:${GRAFANA_PUBLISHED_PORT:?}:3000"],
        "webserver": ["${EMM_BIND:?}:${DAGSTER_PUBLISHED_PORT:?}:3001"],
        "web": ["${EMM_BIND:?}:${WEB_PUBLISHED_PORT:?}:3002"],
    }
    assert all(port.startswith("${EMM_PROXY_BIND:?}:") for port in of_the_proxy)


def test_the_override_publishes_the_databases_on_the_address_of_the_others():
    services = yaml.safe_load((PROJECT_ROOT / "docker" / "databases.yml").read_text())["services"]
    assert {name: definition["ports"] for name, definition in services.items()} == {
        "postgres": ["${EMM_BIND:?}:${POSTGRES_PUBLISHED_PORT:?}:5432"],
        "influxdb": ["${EMM_BIND:?}:${INFLUXDB_PUBLISHED_PORT:?}:8086"],
        "redis": ["${EMM_BIND:?}:${REDIS_PUBLISHED_PORT:?}:6379"],
    }
    command = "docker compose -f docker-compose.yml -f docker/databases.yml up -d"
    assert command in (PROJECT_ROOT / "README.md").read_text()


def test_the_override_gives_the_code_server_alone_a_serial_device_under_the_same_path():
    services = yaml.safe_load((PROJECT_ROOT / "docker" / "serial.yml").read_text())["services"]
    device = "${SERIAL_DEVICE:-/dev/ttyUSB0}"
    assert services == {"code": {"devices": [f"{device}:{device}"], "group_add": ["${SERIAL_GROUP:-20}"]}}
    command = "docker compose -f docker-compose.yml -f docker/serial.yml up -d"
    assert command in (PROJECT_ROOT / "docs" / "adding-a-device.md").read_text()


def test_an_optional_service_starts_only_with_its_profile():
    profiles = {name: set(definition.get("profiles", ())) for name, definition in SERVICES.items()}
    assert profiles == {
        name: {profile for profile, services in ON_DEMAND.items() if name in services} for name in SERVICES
    }
    on_demand = set.union(*ON_DEMAND.values())
    needed = {name for service in set(SERVICES) - on_demand for name in SERVICES[service].get("depends_on", ())}
    assert not needed & on_demand


@pytest.mark.parametrize("service", sorted(REMOTE))
def test_a_service_on_another_host_has_the_same_definition_as_the_stacks_own(service):
    same = ("init", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "healthcheck", "logging")
    for key in (*same, *LIMITS, "stop_grace_period"):
        assert REMOTE[service][key] == SERVICES[service][key], key
    own = SERVICES[service]["command"]
    assert REMOTE[service]["command"] == (own if service == "worker" else [*own, "--values-only"])


def test_every_image_but_influxdbs_is_pinned_and_none_is_a_substitute():
    images = [definition["image"] for definition in SERVICES.values() if "image" in definition]
    assert not [image for image in images if "emm-test" in image or image.endswith(":latest")]
    foreign = [image for image in images if image != "${COMPOSE_PROJECT_NAME:-emm}-pipeline"]
    assert all(re.search(r":\d", image) for image in foreign)


def test_every_variable_of_the_file_is_in_the_settings_or_has_a_default():
    text = (PROJECT_ROOT / "docker" / "stack.yml").read_text()
    needed = set(re.findall(r"(?<!\$)\$\{(\w+):\?\}", text))
    assert needed
    assert needed <= set(dotenv_values(ENV_FILES[0]))


def test_an_old_docker_compose_stops_with_the_version_that_is_needed():
    """Version 1 takes each key for a service. It reports the name of the first one that is no mapping."""
    content = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    first = next(key for key, value in content.items() if not isinstance(value, dict))
    assert first == "x-this-file-needs-docker-compose-2.24-or-newer"
    assert "2.24 or newer" in (PROJECT_ROOT / "README.md").read_text()


OPTIONS_WITH_A_VALUE = {"-f", "--env-file", "--profile", "--since", "--scale"}
TAKE_SERVICES = {"exec", "logs", "ps", "restart", "run", "start", "stop", "up"}
COMMANDS = TAKE_SERVICES | {"build", "down", "version"}
OF_THE_DOCUMENTS = {"my_device", *REMOTE, *SERVICES}


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in PROJECT_ROOT.glob("docs/*.md"))])
def test_every_compose_command_of_a_document_names_commands_and_services_that_are_there(document):
    """Both spellings mean the same: `docker compose` is the plugin, `docker-compose` the program of version 2."""
    text = (PROJECT_ROOT / document).read_text()
    for call in re.findall(r"(?:^ +|`)docker[ -]compose ([^`#|&\n…]+)", text, re.MULTILINE):
        words = iter(call.split())
        names = []
        for word in words:
            if word in OPTIONS_WITH_A_VALUE:
                next(words)
            elif not word.startswith("-"):
                names.append(word)
        if not names:
            continue
        command, *services = names
        assert command in COMMANDS, call
        if command in {"exec", "run"}:
            services = services[:1]
        assert set(services) <= OF_THE_DOCUMENTS, call


def test_two_checkouts_with_names_of_their_own_share_no_image_no_container_and_no_volume():
    for name, definition in SERVICES.items():
        assert "container_name" not in definition, name
        if "build" in definition:
            assert definition.get("image", "${COMPOSE_PROJECT_NAME").startswith("${COMPOSE_PROJECT_NAME"), name
    assert not [name for name, options in STACK["volumes"].items() if options]
    assert not [name for name, options in STACK["networks"].items() if {"name", "external"} & set(options or ())]


def test_the_documents_start_profiles_by_a_setting_so_that_stop_and_down_include_them():
    for document in [PROJECT_ROOT / "README.md", *PROJECT_ROOT.glob("docs/*.md"), ENV_FILES[0]]:
        commands = re.findall(r"docker[ -]compose .*--profile.*", document.read_text())
        assert not [command for command in commands if "worker.yml" not in command], document
    assert "COMPOSE_PROFILES" in ENV_FILES[0].read_text()


def test_the_image_has_every_folder_where_its_user_writes_into_a_volume():
    """A new volume gets the owner of the folder in the image; without one it belongs to root."""
    creates = re.search(
        r"for service in (.*?); do mkdir -p \"/run/emm/\$service\"", (PROJECT_ROOT / "Dockerfile").read_text()
    )
    assert creates
    folders = {f"/run/emm/{service}" for service in creates.group(1).split()} | {"/run/emm/secrets"}
    places = {place.split(":")[0] for service in SETS_UP for place in volumes_of(service).values()}
    assert {place for place in places if place.startswith("/run/emm/")} == folders


def test_the_build_context_holds_no_settings():
    ignored = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [line for line in ignored if line.startswith("!config")]
