"""The shipped NATS configuration on the real server: who gets what they need, and nobody anything else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import nats
import nats.errors
import pytest
from deploy_support import NATS, Running, hub_text, leaf_text, load_accounts, started
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from structlog.testing import capture_logs

from lutlab_api.adapters.audit import NatsPost
from lutlab_api.adapters.key_answers import KeyAnswers
from lutlab_api.domain.errors import Unavailable
from lutlab_board_agent.adapters.nats_io import NatsKeys
from lutlab_events import codec, subjects
from lutlab_events.busmsg import BusHeaders, BusReply, BusStatus, BusVerb, Lease
from lutlab_events.commands import RegisterAgent, ReportBuildStarted
from lutlab_events.envelope import Answer
from lutlab_events.values import BitstreamRef
from lutlab_events.work import AgentHeartbeat, ProgramWork, RegistrationWanted
from lutlab_scheduler.adapters.nats_letters import replay_letters
from lutlab_scheduler.app.ports import DeadLetter
from lutlab_transport.blobs import BlobStore
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from lutlab_transport.connection import settled
from lutlab_transport.streams import ensure_streams
from pulling import pull_consumer

accounts = load_accounts()  # a script: no module to import

AGENT, NEIGHBOUR, FAR = "bench-1", "bench-2", "lyon-1"
SESSION = UUID(int=7)
WAIT_S = 5.0
QUIET_S = 0.3
"""Long enough for a denial or a stray message to arrive on loopback; messages take less than a millisecond."""


@dataclass
class Kept:
    """Letters to read."""

    letters: dict[UUID, DeadLetter]

    async def letter(self, letter_id: UUID) -> DeadLetter | None:
        return self.letters.get(letter_id)

    async def bury(self, origin: str, subject: str, data: bytes, reason: str) -> None:
        raise NotImplementedError


@dataclass
class Connected:
    """What `NatsPost` wants of the API's connection."""

    client: Client

    def connected(self) -> Client:
        return self.client


def labs_toml(hub_leaf_url: str = "nats-leaf://127.0.0.1:1") -> str:
    return f"""\
hub_leaf_url = "{hub_leaf_url}"
[labs.main]
agents = ["{AGENT}", "{NEIGHBOUR}"]
readers = ["wallboard"]
[labs.main.leaves]
lyon = ["{FAR}"]
[labs.other]
agents = ["{AGENT}"]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("hub")
    accounts.write(accounts.parse_labs(labs_toml()), folder / "site")
    with started(folder, "hub", hub_text(folder), folder / "site" / "seeds") as server:
        yield server


@pytest.fixture(scope="module")
def leaf(hub: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The second site's server, with what accounts.py writes for it once it knows the hub's address."""
    folder = tmp_path_factory.mktemp("leaf")
    accounts.write(accounts.parse_labs(labs_toml(hub.leaf_url)), hub.seeds.parent)
    shutil.copytree(hub.seeds.parent / "leaf-lyon", folder / "site")
    with started(folder, "leaf", leaf_text(folder), hub.seeds) as server:
        yield server


@pytest.fixture
async def scheduler(hub: Running) -> AsyncIterator[Client]:
    async with hub.client("scheduler") as client:
        await ensure_streams(client.jetstream())
        yield client


def agent_client(server: Running, agent: str) -> AbstractAsyncContextManager[Client]:
    """As `lutlab-board-agent` connects."""
    return server.client(f"agent-{agent}", inbox=subjects.inbox(subjects.agent_durable("main", agent)))


def builder_client(server: Running) -> AbstractAsyncContextManager[Client]:
    """As `lutlab-builder` connects."""
    return server.client("builder", inbox=subjects.inbox(subjects.builder_durable("main")))


@pytest.fixture
async def api(hub: Running) -> AsyncIterator[Client]:
    async with hub.client("api") as client:
        yield client


def command_client(client: Client, actor: str) -> CommandClient:
    return CommandClient(client, site="main", actor=actor, clock=SystemClock(), ids=RandomIds())


def program_work(digest: str) -> ProgramWork:
    bitstream = BitstreamRef(
        digest=digest, size_bytes=1, build_key="0" * 64, build_id=1, profile="p", clk_hz=25_000_000, baud=1_000_000
    )
    return ProgramWork(
        fpga_id=0, board_key="b", epoch=1, correlation_id=SESSION, bitstream=bitstream, deadline_at=datetime.now(UTC)
    )


# -- what must work --------------------------------------------------------------------------------


async def revoked(key: str) -> str | None:
    return f"{key} was revoked"


async def lead_an_agents_life(agent: str, server: Running, scheduler: Client, api: Client) -> None:
    """Everything an agent does with NATS, once; any denial makes a step fail or a message stay away."""
    async with agent_client(server, agent) as client:
        keys = NatsKeys(client, site="main")
        answers = KeyAnswers(site="main")
        answers.refusal = revoked
        await answers.subscribe(api)
        await settled(api)
        assert await keys.refusal("some key") == "some key was revoked"

        heard: asyncio.Queue[Msg] = asyncio.Queue()
        for subject in (subjects.heartbeats("main"), "cmd.main.RegisterAgent"):
            await scheduler.subscribe(subject, cb=heard.put)
        controlled: asyncio.Queue[Msg] = asyncio.Queue()
        await client.subscribe(subjects.agent_control("main", agent), cb=controlled.put)
        own: asyncio.Queue[Msg] = asyncio.Queue()
        await client.subscribe(subjects.heartbeat("main", agent), cb=own.put)

        async def answer(message: Msg) -> None:
            headers = BusHeaders.from_headers(message.headers)
            assert headers.lease.epoch == 3
            reply = BusReply(status=BusStatus.OK, frame=message.data[::-1])
            await client.publish(message.reply, reply.frame, headers=reply.to_headers())

        await client.subscribe(subjects.bus("main", agent), cb=answer)
        await settled(client)
        await settled(scheduler)

        await client.publish(
            subjects.heartbeat("main", agent), codec.encode(AgentHeartbeat(agent_id=agent, incarnation=SESSION))
        )
        body = RegisterAgent(agent_id=agent, incarnation=SESSION, boards=())
        await asyncio.wait_for(command_client(client, agent).send(body), WAIT_S)
        arrived = {(await asyncio.wait_for(heard.get(), WAIT_S)).subject for _ in range(2)}
        assert arrived == {subjects.heartbeat("main", agent), "cmd.main.RegisterAgent"}
        await asyncio.wait_for(own.get(), WAIT_S)  # as a twin's would be

        wish = codec.encode(RegistrationWanted(agent_id=agent))
        await scheduler.publish(subjects.agent_control("main", agent), wish)
        assert (await asyncio.wait_for(controlled.get(), WAIT_S)).data == wish

        bitstream = bytes(range(256)) * 4096
        digest = await BlobStore(scheduler.jetstream()).put(bitstream)
        assert await BlobStore(client.jetstream()).get(digest) == bitstream

        await do_program_work(agent, client, scheduler, codec.encode(program_work(digest)))

        lease = Lease(fpga_id=0, session_id=SESSION, epoch=3)
        asked = BusHeaders(verb=BusVerb.EXCHANGE, lease=lease)
        for _ in range(3):
            reply = await api.request(subjects.bus("main", agent), b"frame", timeout=WAIT_S, headers=asked.to_headers())
            assert BusReply.from_message(reply.headers, reply.data).frame == b"emarf"


async def do_program_work(agent: str, client: Client, scheduler: Client, work: bytes) -> None:
    """The agent's queue: made by the agent, filled by the scheduler; kept alive, given back, and acknowledged."""
    durable = subjects.agent_durable("main", agent)
    queue = await pull_consumer(
        client.jetstream(),
        stream=subjects.WORK.name,
        durable=durable,
        subject=subjects.agent_work("main", agent),
        ack_wait_s=subjects.PROGRAM_ACK_WAIT_S,
        max_ack_pending=4,
    )
    await scheduler.jetstream().publish(subjects.agent_work("main", agent), work)
    [message] = await queue.fetch(1, timeout=WAIT_S)
    assert message.data == work
    for _ in range(3):
        await message.in_progress()
    await message.nak()
    [again] = await queue.fetch(1, timeout=WAIT_S)
    assert again.metadata.num_delivered == 2
    await again.ack_sync()
    info = await client.jetstream().consumer_info(subjects.WORK.name, durable)
    assert (info.num_pending, info.num_ack_pending) == (0, 0)
    await client.jetstream().publish(subjects.dead("main", subjects.WORK.name), b"not understood")


async def test_an_agent_can_do_all_its_work(hub: Running, scheduler: Client, api: Client) -> None:
    await lead_an_agents_life(AGENT, hub, scheduler, api)


async def test_an_agent_behind_a_leaf_node_can_too(hub: Running, leaf: Running, scheduler: Client, api: Client) -> None:
    async with agent_client(leaf, FAR) as client:
        await until_reached(client)
    await lead_an_agents_life(FAR, leaf, scheduler, api)


async def until_reached(client: Client) -> None:
    """The leaf node's server listens before its line to the hub is up."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await client.jetstream().stream_info("OBJ_blobs")
            except (nats.errors.Error, nats.js.errors.Error):
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_builder_can_do_all_its_work(hub: Running, scheduler: Client) -> None:
    async with builder_client(hub) as client:
        js = client.jetstream()
        store = BlobStore(scheduler.jetstream())
        source = await store.put(b"a design" * 100_000)
        assert await BlobStore(js).get(source) == b"a design" * 100_000
        product = await BlobStore(js).put(b"a bitstream" * 100_000)
        assert await store.get(product) == b"a bitstream" * 100_000

        queue = await pull_consumer(
            js,
            stream=subjects.WORK.name,
            durable=subjects.builder_durable("main"),
            subject=subjects.build_work("main"),
            ack_wait_s=15,
            max_ack_pending=4,
        )
        await scheduler.jetstream().publish(subjects.build_work("main"), b"build")
        [message] = await queue.fetch(1, timeout=WAIT_S)
        await message.in_progress()
        await message.ack_sync()
        await js.publish(subjects.log("main", SESSION), b"lines")
        await expect_answer(client, scheduler, ReportBuildStarted(job_id=SESSION, attempt=1, builder_id="b"))


async def expect_answer(client: Client, scheduler: Client, body: ReportBuildStarted) -> None:
    """A command and its answer, with this test in the scheduler's place."""

    async def decide(message: Msg) -> None:
        envelope = codec.decode_command(message.data)
        assert envelope.reply_to is not None
        await scheduler.publish(envelope.reply_to, codec.encode(Answer(command_id=envelope.command_id, code="ok")))

    subscription = await scheduler.subscribe(subjects.command("main", type(body).__name__), cb=decide)
    await settled(scheduler)
    commands = command_client(client, "someone")
    await commands.start()
    assert (await commands.request(body, timeout_s=WAIT_S)).code == "ok"
    await subscription.unsubscribe()


async def test_the_api_can_look_at_the_command_queue(scheduler: Client, api: Client) -> None:
    await scheduler.jetstream().add_consumer(
        subjects.COMMANDS.name, ConsumerConfig(durable_name=subjects.SCHEDULER_DURABLE, ack_policy=AckPolicy.EXPLICIT)
    )
    info = await api.jetstream().consumer_info(subjects.COMMANDS.name, subjects.SCHEDULER_DURABLE)
    assert info.num_waiting == 0


async def test_an_admin_has_a_letter_sent_again_that_the_api_may_not_send(scheduler: Client, api: Client) -> None:
    """The API may publish callers' commands only: whoever leads sends the letter, to the stream it came from."""
    where = subjects.agent_work("main", NEIGHBOUR)
    letters = {UUID(int=1): DeadLetter(origin=subjects.WORK.name, subject=where, data=b"work")}
    letters[UUID(int=2)] = DeadLetter(origin=subjects.WORK.name, subject="cmd.main.IssueKey", data=b"{}")
    replaying = asyncio.create_task(replay_letters(scheduler, Kept(letters)))
    try:
        await settled(scheduler)
        post = NatsPost(Connected(api), site="main")  # type: ignore[arg-type]
        await post.replay(UUID(int=1))
        assert (await scheduler.jetstream().get_last_msg(subjects.WORK.name, where)).data == b"work"
        for letter_id, why in ((UUID(int=2), "no subject of WORK"), (UUID(int=3), "there is no dead letter")):
            with pytest.raises(Unavailable, match=why):
                await post.replay(letter_id)
    finally:
        replaying.cancel()
        await asyncio.gather(replaying, return_exceptions=True)
        await scheduler.jetstream().purge_stream(subjects.WORK.name)


async def test_a_reader_hears_events(hub: Running, scheduler: Client) -> None:
    async with hub.client("reader-wallboard", inbox=subjects.inbox("reader-wallboard")) as client:
        heard: asyncio.Queue[Msg] = asyncio.Queue()
        await client.subscribe("evt.main.>", cb=heard.put)
        await settled(client)
        await scheduler.publish("evt.main.board.1.programmed.v1", b"{}")
        assert (await asyncio.wait_for(heard.get(), WAIT_S)).data == b"{}"


# -- what must not work ----------------------------------------------------------------------------

OTHERS_WORK = subjects.agent_work("main", NEIGHBOUR)
OTHERS_DURABLE = subjects.agent_durable("main", NEIGHBOUR)
OWN_DURABLE = subjects.agent_durable("main", AGENT)

AGENT_MAY_NOT_PUBLISH = [
    "cmd.main.SubmitBuild",
    "cmd.main.ReportBuildSucceeded",
    "cmd.other.ReportProgrammed",
    "evt.main.board.1.programmed.v1",
    subjects.build_work("main"),
    OTHERS_WORK,
    subjects.agent_work("main", AGENT),
    subjects.bus("main", NEIGHBOUR),
    subjects.heartbeat("main", NEIGHBOUR),
    subjects.agent_control("main", NEIGHBOUR),
    subjects.log("main", SESSION),
    "ans.x.y",
    "_INBOX.x.y",
    "$O.blobs.C.x",
    "$JS.API.STREAM.DELETE.WORK",
    "$JS.API.STREAM.PURGE.WORK",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.MSG.GET.COMMANDS",
    f"$JS.API.CONSUMER.CREATE.WORK.{OTHERS_DURABLE}.{OTHERS_WORK}",
    f"$JS.API.CONSUMER.CREATE.WORK.{OWN_DURABLE}.{OTHERS_WORK}",
    f"$JS.API.CONSUMER.CREATE.WORK.{OWN_DURABLE}",
    f"$JS.API.CONSUMER.DURABLE.CREATE.WORK.{OWN_DURABLE}",
    f"$JS.API.CONSUMER.MSG.NEXT.WORK.{OTHERS_DURABLE}",
    f"$JS.API.CONSUMER.DELETE.WORK.{OTHERS_DURABLE}",
    f"$JS.ACK.WORK.{OTHERS_DURABLE}.1.1.1.1.1",
    "anything",
]
AGENT_MAY_NOT_SUBSCRIBE = [
    ">",
    "cmd.>",
    "evt.>",
    "work.>",
    "bus.main.*",
    subjects.bus("main", NEIGHBOUR),
    subjects.agent_control("main", NEIGHBOUR),
    subjects.heartbeats("main"),
    subjects.key_question("main"),
    "ans.>",
    "_INBOX.>",
    f"{subjects.inbox(OTHERS_DURABLE)}.>",
    "$JS.ACK.>",
]
BUILDER_MAY_NOT_PUBLISH = [
    "cmd.main.ReportProgrammed",
    "cmd.main.IssueKey",
    subjects.build_work("main"),
    subjects.bus("main", AGENT),
    f"$JS.API.CONSUMER.MSG.NEXT.WORK.{OWN_DURABLE}",
    "$JS.API.STREAM.DELETE.OBJ_blobs",
]
BUILDER_MAY_NOT_SUBSCRIBE = ["work.>", "bus.main.*", "cmd.>", "_INBOX.>", f"{subjects.inbox(OWN_DURABLE)}.>"]
API_MAY_NOT_PUBLISH = [
    "cmd.main.ReportProgrammed",
    "evt.main.job.1.completed.v1",
    OTHERS_WORK,
    "$JS.API.STREAM.DELETE.COMMANDS",
    "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.scheduler",
]
WEBHOOKS_MAY_NOT_PUBLISH = ["cmd.main.SubmitBuild", "evt.main.job.1.completed.v1", OTHERS_WORK, "bus.main.bench"]
WEBHOOKS_MAY_NOT_SUBSCRIBE = [">", "cmd.>", "ans.>", "work.>", "bus.main.*"]
READER_MAY_NOT_PUBLISH = [
    *(f"cmd.main.{kind}" for kind in ("SubmitBuild", "RecordRun", "IssueKey", "RegisterAgent", "ReportProgrammed")),
    "evt.main.job.1.completed.v1",
    subjects.bus("main", AGENT),
    subjects.heartbeat("main", AGENT),
    subjects.agent_work("main", AGENT),
    f"$JS.API.CONSUMER.CREATE.WORK.{OWN_DURABLE}.{subjects.agent_work('main', AGENT)}",
    f"$JS.API.CONSUMER.MSG.NEXT.WORK.{OWN_DURABLE}",
    "$JS.API.STREAM.MSG.GET.OBJ_blobs",
    "$JS.API.INFO",
    "ans.x.y",
    "anything",
]
READER_MAY_NOT_SUBSCRIBE = [">", "cmd.>", "ans.>", "work.>", "log.>", "evt.other.>", subjects.bus("main", AGENT)]
API_MAY_NOT_SUBSCRIBE = [">", "cmd.>", "work.>", "bus.main.*", f"{subjects.inbox(OWN_DURABLE)}.>"]


@pytest.mark.parametrize(
    ("name", "publish", "subscribe"),
    [
        (f"agent-{AGENT}", AGENT_MAY_NOT_PUBLISH, AGENT_MAY_NOT_SUBSCRIBE),
        ("builder", BUILDER_MAY_NOT_PUBLISH, BUILDER_MAY_NOT_SUBSCRIBE),
        ("api", API_MAY_NOT_PUBLISH, API_MAY_NOT_SUBSCRIBE),
        ("webhooks", WEBHOOKS_MAY_NOT_PUBLISH, WEBHOOKS_MAY_NOT_SUBSCRIBE),
        ("reader-wallboard", READER_MAY_NOT_PUBLISH, READER_MAY_NOT_SUBSCRIBE),
    ],
)
async def test_foreign_subjects_are_denied(
    hub: Running, scheduler: Client, name: str, publish: list[str], subscribe: list[str]
) -> None:
    passed: list[str] = []

    async def note(message: Msg) -> None:
        passed.append(message.subject)

    await scheduler.subscribe(">", cb=note)
    await settled(scheduler)
    with capture_logs() as logs:
        async with hub.client(name) as client:
            await overstep(client, publish, subscribe)
    denials = " ".join(str(line.get("error")).lower() for line in logs)
    for subject in publish:
        assert f'permissions violation for publish to "{subject.lower()}"' in denials
        assert subject not in passed
    for subject in subscribe:
        assert f'permissions violation for subscription to "{subject.lower()}"' in denials


async def overstep(client: Client, publish: list[str], subscribe: list[str]) -> None:
    """Try everything, and wait for the server's word on it."""
    for subject in publish:
        await client.publish(subject, b"{}")
    for subject in subscribe:
        await client.subscribe(subject)
    await settled(client)
    await asyncio.sleep(QUIET_S)


async def test_an_agents_own_consumer_cannot_be_turned_on_anothers_work(hub: Running, scheduler: Client) -> None:
    """The allowed API subject names the filter; a body that says another one is refused by the server itself."""
    async with agent_client(hub, AGENT) as client:
        own = f"$JS.API.CONSUMER.CREATE.WORK.{OWN_DURABLE}.{subjects.agent_work('main', AGENT)}"
        body = (
            b'{"stream_name":"WORK","config":{"name":"%(d)s","durable_name":"%(d)s","filter_subject":"%(s)s",'
            b'"ack_policy":"explicit"}}' % {b"d": OWN_DURABLE.encode(), b"s": OTHERS_WORK.encode()}
        )
        answer = await client.request(own, body, timeout=WAIT_S)
        assert b"10131" in answer.data  # JSConsumerCreateFilterSubjectMismatchErr


async def test_an_answer_is_allowed_once(hub: Running, scheduler: Client, api: Client) -> None:
    """Being asked gives the right to one answer, not to a subject."""
    async with agent_client(hub, AGENT) as client:
        asked: asyncio.Queue[Msg] = asyncio.Queue()
        await client.subscribe(subjects.bus("main", AGENT), cb=asked.put)
        answers: asyncio.Queue[Msg] = asyncio.Queue()
        await api.subscribe("_INBOX.one", cb=answers.put)
        await settled(client)
        await api.publish(subjects.bus("main", AGENT), b"?", reply="_INBOX.one")
        message = await asyncio.wait_for(asked.get(), WAIT_S)
        for text in (b"first", b"second"):
            await client.publish(message.reply, text)
        await settled(client)  # the hub has dealt with both
        await scheduler.publish("_INBOX.one", b"end")
        heard = [(await asyncio.wait_for(answers.get(), WAIT_S)).data for _ in range(2)]
        assert heard == [b"first", b"end"]


async def test_strangers_are_turned_away(hub: Running, tmp_path: Path) -> None:
    stranger = accounts.Seeds(tmp_path)
    stranger.seed("main", "stranger")
    for seed_file in (None, tmp_path / "main" / "stranger.nk"):
        client = Client()
        try:
            with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation|no servers"):
                await client.connect(
                    hub.url,
                    nkeys_seed=str(seed_file) if seed_file else None,
                    allow_reconnect=False,
                    error_cb=ignore,
                )
        finally:
            await client.close()


async def ignore(_: Exception) -> None:
    """Errors are what the test is about; they arrive as exceptions too."""


async def test_labs_do_not_hear_each_other(hub: Running, scheduler: Client) -> None:
    heard: list[str] = []

    async def note(message: Msg) -> None:
        heard.append(message.subject)

    async with hub.client("scheduler", lab="other") as other:
        created = await ensure_streams(other.jetstream())
        assert "COMMANDS" in created, "the streams of one lab are not those of the other"
        await other.subscribe("ctl.>", cb=note)
        await settled(other)
        await scheduler.publish("ctl.main.builders", b"hush")
        await settled(scheduler)
        await other.publish("ctl.other.builders", b"own")
        await settled(other)
        await asyncio.sleep(QUIET_S)
    assert heard == ["ctl.other.builders"]


async def test_the_hub_does_not_take_a_leaf_nodes_word(
    hub: Running, leaf: Running, scheduler: Client, tmp_path: Path
) -> None:
    """Whoever holds a site's leaf seed can run any server; the hub still lets pass only what that site's agents may."""
    shutil.copytree(hub.seeds.parent / "leaf-lyon", tmp_path / "site")
    seeds = accounts.Seeds(tmp_path / "seeds")
    anybody = f'accounts {{ "main": {{ users: [ {{ nkey: {seeds.public("main", "anybody")} }} ] }} }}\n'
    (tmp_path / "site" / "accounts.conf").write_text(anybody)
    heard: list[str] = []

    async def note(message: Msg) -> None:
        heard.append(message.subject)

    await scheduler.subscribe(">", cb=note)
    await settled(scheduler)
    allowed = subjects.heartbeat("main", FAR)
    forbidden = ["cmd.main.SubmitBuild", subjects.heartbeat("main", AGENT), "evt.main.x", subjects.bus("main", AGENT)]
    overheard: list[bytes] = []

    async def listen(message: Msg) -> None:
        overheard.append(message.data)

    with started(tmp_path, "rogue", leaf_text(tmp_path), tmp_path / "seeds") as rogue:
        async with rogue.client("anybody") as client:
            await client.subscribe("bus.main.>", cb=listen)
            async with asyncio.timeout(WAIT_S):
                while allowed not in heard:
                    await client.publish(allowed, b"{}")
                    await asyncio.sleep(0.05)
            for subject in [*forbidden, allowed]:
                await client.publish(subject, b"rogue")
            await settled(client)
            await scheduler.publish(subjects.bus("main", AGENT), b"secret")
            await settled(scheduler)
            await asyncio.sleep(QUIET_S)
    assert heard.count(allowed) >= 2, "the forbidden ones were sent before this one"
    assert [subject for subject in heard if subject in forbidden] == [subjects.bus("main", AGENT)], "only our own"
    assert overheard == [b"rogue"], "only its own"


# -- the generator ---------------------------------------------------------------------------------


def test_keys_are_kept_and_private(tmp_path: Path) -> None:
    labs = accounts.parse_labs(labs_toml())
    accounts.write(labs, tmp_path)
    seeds = {path: path.read_text() for path in tmp_path.glob("seeds/*/*.nk")}
    assert len(seeds) == 4 + 2 + 1 + 1 + 4 + 1 + 1
    accounts.write(labs, tmp_path)
    assert {path: path.read_text() for path in seeds} == seeds
    secret = [*seeds, tmp_path / "leaf-lyon" / "remote.conf"]
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    public = (tmp_path / "accounts.conf").read_text()
    assert not any(seed.strip() in public for seed in seeds.values())


def test_the_example_file_of_labs_is_valid() -> None:
    labs = accounts.parse_labs((NATS / "labs.toml").read_text())
    assert labs.labs[0].name == "main"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[labs.main]\nagents = ["a.b"]', "a.b"),
        ('[labs.main]\nagents = ["a", "a"]', "a more than once"),
        ('[labs.main.leaves]\nlyon = ["a"]', "hub_leaf_url"),
        ("[labs", "not TOML"),
        ("x = 1", "labs"),
    ],
)
def test_a_wrong_file_of_labs_is_explained(text: str, said: str) -> None:
    with pytest.raises(accounts.LabsInvalid, match=said):
        accounts.parse_labs(text)
