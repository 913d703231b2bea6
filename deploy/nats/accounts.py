"""Write what NATS servers must know of your labs: an account per lab, a key per client, and what each key may do.

    .venv/bin/python deploy/nats/accounts.py deploy/nats/labs.toml --out deploy/nats/site

It needs a Python that has lutlab. The folder then has, for `hub.conf` and `leaf.conf` to include:

    accounts.conf, tls.conf                                 the hub's
    leaf-<leaf>/accounts.conf, leaf-<leaf>/remote.conf      of each leaf node; remote.conf holds its seed
    seeds/<lab>/<client>.nk                                 a seed per client; its holder is that client

Seeds that exist are kept, so run it again after every change of labs.toml, then `nats-server --signal reload`. To
revoke a key, take the client out of labs.toml (or delete its seed, to give it another one). The names of all subjects
come from `lutlab_events.subjects`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nkeys

from lutlab_events import commands, subjects, verification, webhooks

AGENT_COMMANDS = (
    commands.RegisterAgent,
    commands.ReportBoardFound,
    commands.ReportBoardLost,
    commands.ReportProgrammed,
    commands.ReportProgramFailed,
    commands.ReportSessionUsed,
)
BUILDER_COMMANDS = (
    commands.ReportBuildStarted,
    commands.ReportBuildStage,
    commands.ReportBuildSucceeded,
    commands.ReportBuildFailed,
    commands.ReportBaseBuilt,
    verification.ReportStageStarted,
    verification.ReportStageCompleted,
)
API_COMMANDS = (
    commands.SubmitBuild,
    commands.CancelJob,
    commands.RecordRun,
    commands.ResetBoard,
    commands.ReleaseSession,
    commands.IssueKey,
    commands.RevokeKey,
    commands.RotateKey,
    commands.WithdrawBoard,
    commands.ReturnBoard,
    commands.ForgetBoard,
    webhooks.RegisterWebhook,
    webhooks.RotateWebhookSecret,
    webhooks.EnableWebhook,
    webhooks.DeleteWebhook,
    verification.CreateProject,
    verification.UpdateProject,
    verification.UploadFiles,
    verification.DeleteProject,
    verification.SubmitVerification,
    verification.CancelVerification,
)
WEBHOOKS_COMMANDS = (webhooks.DisableWebhook,)
ANSWER_WITHIN = "1m"
"""How long a request may be answered by whom it was sent to; whoever asked gives up long before."""
HUB_DOMAIN = "hub"
"""The JetStream domain of hub.conf."""
API, HUB_API = "$JS.API.", f"$JS.{HUB_DOMAIN}.API."
"""How JetStream is asked: by the hub's own clients, and through a leaf node."""
BLOBS = f"OBJ_{subjects.BLOB_BUCKET}"


class LabsInvalid(ValueError):
    """The file of labs says something that cannot be carried out."""


@dataclass(frozen=True)
class Lab:
    """One lab: an account of its own, with one scheduler.

    Attributes:
        name: the site, as in LUTLAB_SITE, and the account's name.
        agents: those that connect to the hub.
        readers: those that may listen to events and do nothing else, as an API key with the scope `read`.
        leaves: names of leaf nodes, and the agents behind each.
    """

    name: str
    agents: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    leaves: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Labs:
    """What the file says.

    Attributes:
        labs: at least one.
        hub_leaf_url: where leaf nodes reach the hub.
        tls: certificate and key file of the hub, if it speaks TLS.
    """

    labs: tuple[Lab, ...]
    hub_leaf_url: str = ""
    tls: tuple[str, str] | None = None


@dataclass(frozen=True)
class Grant:
    """What a client may publish and subscribe to; everything within its account if there is no grant."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False


# -- who may do what -------------------------------------------------------------------------------


def _commands(site: str, kinds: Iterable[type]) -> tuple[str, ...]:
    return tuple(subjects.command(site, kind.__name__) for kind in kinds)


def _own_work(durable: str, subject: str) -> tuple[str, ...]:
    """One durable consumer of the WORK stream, on one subject: make it, look at it, pull from it, acknowledge."""
    stream = subjects.WORK.name
    return (
        f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.{subject}",
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
    )


def _read_blobs() -> tuple[str, ...]:
    """Get objects: the bucket's stream, an object's last record, and a short-lived ordered consumer of its chunks."""
    return (
        "$JS.API.STREAM.NAMES",  # nats-py asks which stream holds a chunk's subject
        f"$JS.API.STREAM.INFO.{BLOBS}",
        f"$JS.API.STREAM.MSG.GET.{BLOBS}",
        f"$JS.API.DIRECT.GET.{BLOBS}.>",
        f"$JS.API.CONSUMER.CREATE.{BLOBS}",
        f"$JS.API.CONSUMER.CREATE.{BLOBS}.>",
        f"$JS.API.CONSUMER.INFO.{BLOBS}.*",
        f"$JS.API.CONSUMER.DELETE.{BLOBS}.*",
        f"$JS.FC.{BLOBS}.>",
    )


def _write_blobs() -> tuple[str, ...]:
    """Put objects, and purge the chunks of one that was replaced or not finished."""
    return (f"$O.{subjects.BLOB_BUCKET}.>", f"$JS.API.STREAM.PURGE.{BLOBS}")


def agent_grant(site: str, agent: str) -> Grant:
    """A board agent: its own work, control messages and bus requests; reports; no other agent's anything. Its own
    heartbeat, by which it hears of another one under its name."""
    durable = subjects.agent_durable(site, agent)
    return Grant(
        publish=(
            *_commands(site, AGENT_COMMANDS),
            subjects.heartbeat(site, agent),
            subjects.key_question(site),
            subjects.dead(site, subjects.WORK.name),
            *_own_work(durable, subjects.agent_work(site, agent)),
            *_read_blobs(),
        ),
        subscribe=(
            f"{subjects.inbox(durable)}.>",
            subjects.bus(site, agent),
            subjects.agent_control(site, agent),
            subjects.heartbeat(site, agent),
        ),
        answers=True,
    )


def builder_grant(site: str) -> Grant:
    """All builders of a site: the shared build queue, logs, reports, blobs both ways."""
    durable = subjects.builder_durable(site)
    return Grant(
        publish=(
            *_commands(site, BUILDER_COMMANDS),
            f"log.{site}.*",
            subjects.live(site),
            subjects.builder_heartbeat(site, "*"),
            subjects.dead(site, subjects.WORK.name),
            *_own_work(durable, subjects.build_work(site)),
            *_read_blobs(),
            *_write_blobs(),
        ),
        subscribe=(f"{subjects.inbox(durable)}.>", "ans.>", subjects.builders_control(site)),
    )


def api_grant(site: str) -> Grant:
    """The API: commands and their answers, events, bus requests to every agent, a look at the command queue; answers
    about keys."""
    info = f"$JS.API.CONSUMER.INFO.{subjects.COMMANDS.name}.{subjects.SCHEDULER_DURABLE}"
    return Grant(
        publish=(*_commands(site, API_COMMANDS), f"bus.{site}.*", f"qry.{site}.*", info),
        subscribe=(
            "_INBOX.>",
            "ans.>",
            f"evt.{site}.>",
            subjects.live(site),
            subjects.builder_heartbeat(site, "*"),
            subjects.key_question(site),
        ),
        answers=True,
    )


def webhooks_grant(site: str) -> Grant:
    """The delivery of webhooks: woken by events, it may only ask for an endpoint to be disabled."""
    return Grant(publish=_commands(site, WEBHOOKS_COMMANDS), subscribe=("_INBOX.>", f"evt.{site}.>"))


def reader_grant(site: str, reader: str) -> Grant:
    """A listener: the site's events. It may publish nothing, so it can neither ask JetStream nor answer anybody."""
    return Grant(publish=(), subscribe=(f"evt.{site}.>", f"{subjects.inbox(f'reader-{reader}')}.>"))


def far_agent_grant(site: str, agent: str) -> Grant:
    """An agent behind a leaf node: the same; the leaf's server maps the API's subjects before it looks at rights."""
    near = agent_grant(site, agent)
    return Grant(tuple(subject.replace(API, HUB_API) for subject in near.publish), near.subscribe, near.answers)


def leaf_grant(site: str, agents: Sequence[str]) -> Grant:
    """What may pass between the hub and a leaf node: what its agents may do, and their answers to bus requests."""
    grants = [far_agent_grant(site, agent) for agent in agents]
    return Grant(
        publish=tuple(dict.fromkeys([*(subject for grant in grants for subject in grant.publish), "_INBOX.>"])),
        subscribe=tuple(dict.fromkeys(subject for grant in grants for subject in grant.subscribe)),
    )


# -- keys ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seeds:
    """The folder of seeds, one file a client, readable by its owner alone."""

    folder: Path
    owner: int | None = None

    def seed(self, lab: str, client: str) -> str:
        """The client's seed, made at the first call."""
        path = self.folder / lab / f"{client}.nk"
        if path.exists():
            return path.read_text(encoding="ascii").strip()
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        seed: str = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER).decode()
        _write_secret(path, seed + "\n")
        if self.owner is not None:
            os.chown(path, self.owner, self.owner)
        return seed

    def public(self, lab: str, client: str) -> str:
        """The client's public key, as the server's configuration names it."""
        pair = nkeys.from_seed(bytearray(self.seed(lab, client).encode()))
        key: str = pair.public_key.decode()
        return key


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


# -- configuration ---------------------------------------------------------------------------------


def _user(comment: str, key: str, grant: Grant | None) -> str:
    if grant is None:
        return f"    # {comment}: everything within this account\n    {{ nkey: {key} }}\n"
    publish = "".join(f"          {json.dumps(subject)}\n" for subject in grant.publish)
    subscribe = "".join(f"          {json.dumps(subject)}\n" for subject in grant.subscribe)
    answers = f'      allow_responses: {{ max: 1, expires: "{ANSWER_WITHIN}" }}\n' if grant.answers else ""
    # An empty list of what is allowed would allow everything.
    allowed = f"allow: [\n{publish}      ]" if grant.publish else 'deny: ">"'
    return (
        f"    # {comment}\n    {{ nkey: {key}, permissions: {{\n"
        f"      publish: {{ {allowed} }}\n      subscribe: {{ allow: [\n{subscribe}      ] }}\n"
        f"{answers}    }} }}\n"
    )


def _account(lab: str, jetstream: str, users: Iterable[str]) -> str:
    return f"  {json.dumps(lab)}: {{\n    {jetstream}\n    users: [\n{''.join(users)}    ]\n  }}\n"


def hub_account(lab: Lab, seeds: Seeds) -> str:
    """The lab's account at the hub."""

    def user(client: str, grant: Grant | None) -> str:
        return _user(client, seeds.public(lab.name, client), grant)

    users = [user("scheduler", None), user("api", api_grant(lab.name)), user("builder", builder_grant(lab.name))]
    users.append(user("webhooks", webhooks_grant(lab.name)))
    users += [user(f"agent-{agent}", agent_grant(lab.name, agent)) for agent in lab.agents]
    users += [user(f"reader-{reader}", reader_grant(lab.name, reader)) for reader in lab.readers]
    users += [user(f"leaf-{leaf}", leaf_grant(lab.name, agents)) for leaf, agents in lab.leaves.items()]
    return _account(lab.name, "jetstream: enabled", users)


def leaf_account(lab: Lab, leaf: str, seeds: Seeds) -> str:
    """The lab's account at one of its leaf nodes: its agents only; JetStream stays at the hub."""
    users = [
        _user(f"agent-{agent}", seeds.public(lab.name, f"agent-{agent}"), far_agent_grant(lab.name, agent))
        for agent in lab.leaves[leaf]
    ]
    return _account(lab.name, f'mappings: {{ "{API}>": "{HUB_API}>" }}', users)


def write(labs: Labs, out: Path, *, owner: int | None = None) -> list[Path]:
    """Write everything under `out`; the files written. Raises: OSError."""
    seeds = Seeds(out / "seeds", owner)
    head = "# Written by accounts.py; edit labs.toml instead.\n"
    out.mkdir(parents=True, exist_ok=True)
    files = {
        out / "accounts.conf": head + "accounts {\n" + "".join(hub_account(lab, seeds) for lab in labs.labs) + "}\n",
        out / "tls.conf": head + (_tls(*labs.tls) if labs.tls else "# No TLS: for networks that are yours alone.\n"),
    }
    for lab in labs.labs:
        for leaf in lab.leaves:
            folder = out / f"leaf-{leaf}"
            folder.mkdir(exist_ok=True)
            files[folder / "accounts.conf"] = head + "accounts {\n" + leaf_account(lab, leaf, seeds) + "}\n"
            files[folder / "remote.conf"] = (
                f"{head}url: {json.dumps(labs.hub_leaf_url)}\naccount: {json.dumps(lab.name)}\n"
                f"nkey: {seeds.seed(lab.name, f'leaf-{leaf}')}\n"
            )
    for path, text in files.items():
        if path.name == "remote.conf":
            _write_secret(path, text)
        else:
            path.write_text(text, encoding="utf-8")
    return list(files)


def _tls(certificate: str, key: str) -> str:
    return f"tls {{ cert_file: {json.dumps(certificate)}, key_file: {json.dumps(key)} }}\n"


# -- the file of labs ------------------------------------------------------------------------------


def parse_labs(text: str) -> Labs:
    """Read labs.toml. Raises: LabsInvalid."""
    try:
        said = tomllib.loads(text)
        labs = tuple(_parse_lab(name, entry) for name, entry in said["labs"].items())
        tls = said.get("tls")
        parsed = Labs(labs, said.get("hub_leaf_url", ""), (tls["certificate"], tls["key"]) if tls else None)
    except tomllib.TOMLDecodeError as error:
        raise LabsInvalid(f"not TOML: {error}") from error
    except subjects.InvalidToken as error:
        raise LabsInvalid(str(error)) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise LabsInvalid(f"not as the example labs.toml: {error!r}") from error
    _check(parsed)
    return parsed


def _parse_lab(name: str, entry: dict[str, object]) -> Lab:
    agents, readers, leaves = entry.get("agents", []), entry.get("readers", []), entry.get("leaves", {})
    assert isinstance(agents, list)
    assert isinstance(readers, list)
    assert isinstance(leaves, dict)
    return Lab(
        subjects.token(name),
        tuple(map(subjects.token, agents)),
        tuple(map(subjects.token, readers)),
        {subjects.token(leaf): tuple(map(subjects.token, behind)) for leaf, behind in leaves.items()},
    )


def _check(labs: Labs) -> None:
    """Say what would fail later, or worse, would not."""
    leaves = [leaf for lab in labs.labs for leaf in lab.leaves]
    if len(set(leaves)) != len(leaves):
        raise LabsInvalid(f"leaf names must differ, also between labs: {', '.join(sorted(leaves))}")
    if leaves and not labs.hub_leaf_url:
        raise LabsInvalid(f"hub_leaf_url is missing: where do {', '.join(leaves)} reach the hub?")
    for lab in labs.labs:
        agents = [*lab.agents, *(agent for behind in lab.leaves.values() for agent in behind)]
        twice = sorted({agent for agent in agents if agents.count(agent) > 1})
        if twice:
            raise LabsInvalid(f"lab {lab.name} names agent {', '.join(twice)} more than once")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labs", type=Path, help="file of labs, as the example labs.toml")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--owner", type=int, help="user id the seeds are given to (needs root)")
    options = parser.parse_args(argv)
    try:
        written = write(parse_labs(options.labs.read_text(encoding="utf-8")), options.out, owner=options.owner)
    except (LabsInvalid, OSError) as error:
        sys.stderr.write(f"accounts.py: {options.labs}: {error}\n")
        return 2
    sys.stdout.write("".join(f"{path}\n" for path in [*written, options.out / "seeds"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
