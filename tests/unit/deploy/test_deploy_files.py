"""What deploy/ says fits what the services read, install and send; and nothing is public."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from deploy_support import DEPLOY, REPO, load_accounts
from pydantic_settings import BaseSettings

from lutlab_api.settings import Settings as ApiSettings
from lutlab_board_agent.settings import AgentSettings
from lutlab_builder.adapters.stage_tools import STAGE_BYTES_MAX
from lutlab_builder.settings import Settings as BuilderSettings
from lutlab_events import commands, subjects, verification, webhooks
from lutlab_scheduler.settings import Settings as SchedulerSettings
from lutlab_transport.streams import BLOB_BUCKET_BYTES_MAX
from lutlab_webhooks.settings import Settings as WebhooksSettings

accounts = load_accounts()
SETTINGS: dict[str, type[BaseSettings]] = {
    "lutlab-api": ApiSettings,
    "lutlab-scheduler": SchedulerSettings,
    "lutlab-builder": BuilderSettings,
    "lutlab-board-agent": AgentSettings,
    "lutlab-webhooks": WebhooksSettings,
}
SCRIPTS = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
CHART = DEPLOY / "helm" / "lutlab"
GENERATED = DEPLOY / "nats" / "site"
TEXTS = {
    path.relative_to(DEPLOY): path.read_text()
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and GENERATED not in path.parents and path.name != ".env" and path.suffix != ".pyc"
}
TEXTS[Path("../docs/deploy.md")] = (REPO / "docs" / "deploy.md").read_text()


def variables(settings: type[BaseSettings]) -> set[str]:
    """Names of the environment variables a settings class reads."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        field.validation_alias if isinstance(field.validation_alias, str) else f"{prefix}{name}".upper()
        for name, field in settings.model_fields.items()
    }


KNOWN = {"LUTLAB_TOOLS"}.union(*map(variables, SETTINGS.values()))  # the tools folder of lutlab_verify.catalogue


def program(command: list[str]) -> str:
    """Which lutlab program a container's command runs in the end."""
    if command[0].endswith("virtual-boards.sh"):
        return "lutlab-board-agent"
    return command[0]


def compose_services() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in COMPOSE["services"].items() if "build" in service}


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_every_setting_named_is_read_by_a_service(path: Path) -> None:
    named = set(re.findall(r"\bLUTLAB_[A-Z0-9_]*[A-Z0-9]\b", TEXTS[path]))
    assert named <= KNOWN, f"no service reads {sorted(named - KNOWN)}"


@pytest.mark.parametrize("name", compose_services())
def test_compose_gives_a_service_only_what_it_reads(name: str) -> None:
    service = compose_services()[name]
    ran = program(service["command"])
    given = set(service.get("environment", {}))
    if ran == "lutlab-migrate":
        assert given == {"LUTLAB_DATABASE_URL"}
    elif ran in SETTINGS:
        assert given <= variables(SETTINGS[ran])
    else:
        assert (ran, given) == ("python3", set())


def test_compose_runs_programs_that_exist() -> None:
    ran = {program(service["command"]) for service in compose_services().values()} - {"python3"}
    assert ran == set(SETTINGS) | {"lutlab-migrate"}
    assert ran <= set(SCRIPTS)


def test_compose_asks_only_for_what_the_example_explains() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    explained = set(re.findall(r"^#?([A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert asked == explained


def test_compose_names_seeds_that_accounts_py_writes(tmp_path: Path) -> None:
    accounts.write(accounts.parse_labs((DEPLOY / "nats" / "labs.toml").read_text()), tmp_path / "nats" / "site")
    for secret in COMPOSE["secrets"].values():
        path = secret["file"].replace("${LUTLAB_SITE:-main}", "main")
        assert (tmp_path / path).is_file()


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_run_programs_that_exist_with_settings_they_read(unit: Path) -> None:
    text = unit.read_text()
    [ran] = re.findall(r"^ExecStart=/opt/lutlab/bin/(\S+)$", text, re.MULTILINE)
    assert ran in SCRIPTS
    assert unit.stem == ran
    given = set(re.findall(r"\b(LUTLAB_[A-Z0-9_]+)=", text))
    for name in re.findall(r"^EnvironmentFile=/etc/lutlab/(\S+)$", text, re.MULTILINE):
        assert (unit.parent / f"{name}.example").is_file()
    if ran in SETTINGS:
        assert given <= variables(SETTINGS[ran])
        assert "NoNewPrivileges=yes" in text


@pytest.mark.parametrize("name", ["lutlab-builder", "lutlab-board-agent"])
def test_a_stop_does_not_reach_what_a_service_has_started(name: str) -> None:
    """It would be told as the failure of a design or of a board: `KillMode` is `control-group` by itself."""
    assert "\nKillMode=mixed\n" in (DEPLOY / "systemd" / f"{name}.service").read_text()


def test_containers_do_not_log_until_the_disk_is_full() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["logging"]["driver"] == "local", name


def test_the_agents_lab_file_example_is_valid() -> None:
    from lutlab_board_agent.domain.lab import parse_lab  # noqa: PLC0415 - only here

    [board] = parse_lab((DEPLOY / "systemd" / "lab.toml.example").read_text(), name="lab.toml.example")
    assert board.profile == "ulx3s-25f"


def test_the_image_contains_every_package() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    packages = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in packages["packages"]:
        top = package.split("/")[0]
        assert f"COPY {top} {top}\n" in dockerfile
        assert f"!{top}" in kept
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for source in line.split():
            assert (REPO / source).exists()
            assert f"!{source}" in kept


def test_a_build_may_use_the_time_of_all_its_stages() -> None:
    stages = [f.default for name, f in BuilderSettings.model_fields.items() if name.endswith("_wall_s")]
    assert len(stages) == 4
    deadline_s = SchedulerSettings.model_fields["build_deadline_s"].default
    assert sum(stages) + 120 <= deadline_s, "the scheduler gives up before the builder does"


def test_udev_knows_in_time_what_the_user_at_the_desk_may_use() -> None:
    """systemd's 73-seat-late.rules acts on the tag; what is tagged later is tagged in vain."""
    for path in (DEPLOY / "udev").iterdir():
        assert "uaccess" not in path.read_text() or int(path.name[:2]) < 73, path.name


# -- safe defaults -------------------------------------------------------------------------------


def test_nothing_is_readable_without_a_key() -> None:
    assert ApiSettings.model_fields["public_reads"].default is False
    assert COMPOSE["services"]["api"]["environment"]["LUTLAB_PUBLIC_READS"] == "false"
    for path in ["compose.yaml", "systemd/api.env.example", "helm/lutlab/templates/api.yaml"]:
        assert re.search(r"LUTLAB_PUBLIC_READS\W+(value\W+)?false\b", TEXTS[Path(path)]), path
    for path, text in TEXTS.items():
        assert not re.search(r"PUBLIC_READS\W+(value\W+)?(true|1|yes|on|t|y)\b", text, re.IGNORECASE), path


def test_nats_writes_before_it_acknowledges() -> None:
    assert re.search(r"^\s*sync_interval: always$", (DEPLOY / "nats" / "hub.conf").read_text(), re.MULTILINE)
    assert (
        yaml.safe_load(TEXTS[Path("helm/nats-values.yaml")])["config"]["jetstream"]["merge"]["sync_interval"]
        == "always"
    )


def test_nats_has_room_for_what_the_labs_of_the_example_reserve() -> None:
    text = (DEPLOY / "nats" / "hub.conf").read_text()
    reserved = sum(spec.max_bytes for spec in subjects.STREAMS) + BLOB_BUCKET_BYTES_MAX
    assert f"reserve {reserved / 2**30:.1f} GB" in text
    [room] = re.findall(r"^  max_file_store: (\d+)GB$", text, re.MULTILINE)
    assert int(room) << 30 >= 5 * reserved


def test_the_scheduler_reads_that_back_wherever_it_runs() -> None:
    assert COMPOSE["services"]["nats"]["command"] == ["-c", "/etc/nats/compose.conf"]
    assert COMPOSE["services"]["scheduler"]["environment"]["LUTLAB_NATS_MONITOR_URL"] == "http://nats:8222"
    assert "- name: LUTLAB_NATS_MONITOR_URL\n" in TEXTS[Path("helm/lutlab/templates/scheduler.yaml")]
    assert len(yaml.safe_load(TEXTS[Path("helm/lutlab/values.yaml")])["nats"]["monitorUrl"].split(",")) == 3
    assert re.search(r"^LUTLAB_NATS_MONITOR_URL=http", TEXTS[Path("systemd/lutlab.env.example")], re.MULTILINE)
    for path, text in TEXTS.items():
        assert path.suffix == ".md" or "ALLOW_UNSAFE_SYNC" not in text, path


def test_user_code_is_never_built_without_a_sandbox() -> None:
    for path, text in TEXTS.items():
        if path.suffix != ".md":
            assert "ALLOW_UNSANDBOXED" not in text, path


def test_containers_have_no_capability_and_no_root() -> None:
    assert "\nUSER 10001:10001\n" in (DEPLOY / "Dockerfile").read_text()
    for name, service in compose_services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if name != "keys":
            assert not {"user", "cap_add", "privileged"} & set(service), name


# -- rights at NATS ------------------------------------------------------------------------------


def commands_named_in(service: str) -> set[str]:
    """Names of commands that a service's shipped modules mention: those are what it can send."""
    kinds = {kind.__name__ for kind in vars(commands).values() if isinstance(kind, type)}
    kinds |= {kind.__name__ for kind in get_args(webhooks.WebhookCommand)}
    kinds |= {kind.__name__ for kind in get_args(verification.VerificationCommand)}
    found: set[str] = set()
    for path in (REPO / "services" / service / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules = {
            alias.asname or alias.name
            for node in imported
            if node.module == "lutlab_events"
            for alias in node.names
            if alias.name in ("commands", "webhooks", "verification")
        }
        for node in imported:
            if node.module in ("lutlab_events.commands", "lutlab_events.webhooks", "lutlab_events.verification"):
                found |= {alias.name for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                found.add(node.attr)
    return found & kinds


@pytest.mark.parametrize(
    ("service", "granted"),
    [
        ("board-agent", accounts.AGENT_COMMANDS),
        ("builder", accounts.BUILDER_COMMANDS),
        ("api", accounts.API_COMMANDS),
        ("webhooks", accounts.WEBHOOKS_COMMANDS),
    ],
)
def test_a_service_may_send_exactly_the_commands_it_sends(service: str, granted: tuple[type, ...]) -> None:
    assert {kind.__name__ for kind in granted} == commands_named_in(service), "see deploy/nats/accounts.py"


# -- the chart -----------------------------------------------------------------------------------

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}


def leaves(tree: dict[str, Any], above: str = "") -> set[str]:
    """Dotted names of all values, down to what is not a table (or is an empty one)."""
    found = set()
    for name, value in tree.items():
        here = f"{above}.{name}" if above else name
        found |= leaves(value, here) if isinstance(value, dict) and value else {here}
    return found


def test_the_chart_uses_values_that_exist_and_has_none_that_are_not_used() -> None:
    used = {name for text in TEMPLATES.values() for name in re.findall(r"\.Values\.([A-Za-z.]+)", text)}
    has = leaves(VALUES)
    for name in used:
        assert name in has or any(leaf.startswith(f"{name}.") for leaf in has), f"values.yaml lacks {name}"
    for leaf in has:
        assert any(leaf == name or leaf.startswith(f"{name}.") for name in used), f"no template uses {leaf}"


def test_the_chart_runs_programs_that_exist_and_asks_endpoints_that_exist() -> None:
    text = "\n".join(TEMPLATES.values())
    assert set(re.findall(r"command: \[(lutlab-[a-z-]+)\]", text)) == {*SETTINGS, "lutlab-migrate"} - {
        "lutlab-board-agent"
    }
    probed = set(re.findall(r"httpGet: \{path: (\S+),", text))
    assert probed == {"/health"}
    application = (REPO / "services/api/src/lutlab_api/web/application.py").read_text()
    assert all(f'add_api_route("{path}"' in application for path in probed)


def test_no_service_of_the_namespace_becomes_a_setting() -> None:
    """A Service `lutlab-scheduler-metrics` would set LUTLAB_SCHEDULER_METRICS_PORT=tcp://... in every pod."""
    for name, text in TEMPLATES.items():
        assert text.count("enableServiceLinks: false") == text.count("      containers:"), name


def test_a_builders_cache_has_room_for_what_its_settings_allow() -> None:
    limits = [f.default for name, f in BuilderSettings.model_fields.items() if name.endswith("_mib_max")]
    jobs = VALUES["builder"]["concurrency"] * STAGE_BYTES_MAX
    assert sum(limits) * 2**20 + jobs + (1 << 30) <= int(VALUES["builder"]["cacheSize"].removesuffix("Gi")) << 30


def test_the_charts_own_files_are_yaml() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["name"] == "lutlab"
    for leaf in ("database.secretName", "nats.secretName", "bootstrap.secretName"):
        assert leaf in leaves(VALUES), "secrets are references"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"builder": {"enabled": False}},
        {
            "api": {"autoscaling": {"enabled": True}, "extraEnv": [{"name": "LUTLAB_BUS_TIMEOUT_S", "value": "5"}]},
            "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "b"}},
            "imagePullSecrets": [{"name": "registry"}],
            "metrics": {"enabled": True},
            "tracing": {"endpoint": "http://collector:4318"},
            "builder": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]},
        },
    ],
)
def test_the_chart_renders_to_valid_manifests(values: dict[str, Any]) -> None:
    """With Helm's own engine, where the extra `chart` is installed."""
    helm = pytest.importorskip("helm_python", reason="pip install 'lutlab[chart]' to render the chart")
    validate = pytest.importorskip("kubernetes_validate", reason="pip install 'lutlab[chart]' to check manifests")
    with helm.Chart.load(str(CHART)) as chart:
        rendered = chart.render(values, name="prod", namespace="lab")
    manifests = [m for text in rendered.values() for m in yaml.safe_load_all(text) if m]
    for manifest in manifests:
        validate.validate(manifest, "1.33", strict=True)
    pods = [m["spec"]["template"]["spec"] for m in manifests if m["kind"] in ("Deployment", "Job")]
    for container in (container for pod in pods for container in pod["containers"]):
        ran = container["command"][0]
        given = {entry["name"] for entry in container.get("env", [])}
        assert given <= (variables(SETTINGS[ran]) if ran in SETTINGS else {"LUTLAB_DATABASE_URL"})
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    told = next(m["data"] for m in manifests if m["kind"] == "ConfigMap")
    assert set(told) <= KNOWN and ("LUTLAB_OTLP_ENDPOINT" in told) == ("tracing" in values)
    pods_of = [m["spec"]["template"] for m in manifests if m["kind"] == "Deployment"]
    assert all(("annotations" in pod["metadata"]) == ("metrics" in values) for pod in pods_of)
    kinds = [m["kind"] for m in manifests]
    assert kinds.count("Deployment") == (4 if values.get("builder", {}).get("enabled", True) else 3)
    assert ("HorizontalPodAutoscaler" in kinds) == ("Ingress" in kinds) == ("ingress" in values)


# -- observing -----------------------------------------------------------------------------------


def test_prometheus_asks_at_the_ports_that_the_example_sets() -> None:
    sets = dict(
        re.findall(r"^#?(LUTLAB_\w+_METRICS_PORT)=(\d+)$", TEXTS[Path("systemd/lutlab.env.example")], re.MULTILINE)
    )
    asked = re.findall(r"# (LUTLAB_\w+)=(\d+)\n.*?:(\d+)\"\]", TEXTS[Path("prometheus/prometheus.yml")])
    assert {name: port for name, port, _ in asked} == sets
    assert all(port == reached for _, port, reached in asked)


def test_builders_make_the_base_design_of_the_boards_that_compose_starts() -> None:
    profile = COMPOSE["services"]["board-agent"]["command"][-1]
    assert profile in COMPOSE["services"]["builder"]["environment"]["LUTLAB_BUILDER_PROFILES"]


def test_the_dashboard_asks_for_nothing_that_no_service_tells() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "lutlab.json").read_text())
    asked = " ".join(t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ()))
    told = "".join(path.read_text() for folder in ("services", "libs") for path in (REPO / folder).rglob("*.py"))
    names = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\blutlab_[a-z_]+", asked)}
    assert len(names) > 10
    assert [name for name in sorted(names) if f'"{name}"' not in told] == []


def test_prometheus_is_told_of_every_service() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert {job["job_name"] for job in config["scrape_configs"]} == set(SETTINGS)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    text = unit.read_text().replace("/opt/lutlab/bin", str(Path(sys.executable).parent))
    (tmp_path / unit.name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
