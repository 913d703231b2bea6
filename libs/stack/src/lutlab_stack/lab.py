"""One lab on this machine: servers, services and virtual boards, from the first start to the last stop."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import asyncpg
import httpx

from lutlab_stack import services, spawn
from lutlab_stack.console import Console
from lutlab_stack.errors import StackError, StartFailed
from lutlab_stack.files import stored_secret, tail, write_atomically
from lutlab_stack.lab_file import BoardAddress, lab_text
from lutlab_stack.layout import Layout
from lutlab_stack.logs import begin_log
from lutlab_stack.nats import prepare_nats
from lutlab_stack.ports import problem_with, stored_port
from lutlab_stack.postgres import prepare_postgres
from lutlab_stack.running import Server
from lutlab_stack.services import UpOptions, Wiring
from lutlab_stack.supervisor import Child, Supervisor, exit_text
from lutlab_stack.warming import last_step

DATABASE = "lutlab"
POLL_S = 0.1
SLOW_AFTER_S = 20.0
"""After this long, waiting says again what it waits for."""
KEY_PREFIX = "lutlab_"
LEVEL_POSTGRES, LEVEL_NATS, LEVEL_SCHEDULER, LEVEL_SERVICES, LEVEL_AGENT = range(5)


class Lab:
    """Starts everything in order, keeps it running, and says how to reach it."""

    def __init__(self, options: UpOptions, layout: Layout, console: Console) -> None:
        self._options = options
        self._layout = layout
        self._console = console
        self._supervisor = Supervisor(watcher=self)
        self._api_key = ""
        self._api_port = 0
        self._wiring = Wiring(options=options, layout=layout, nats_url="", database_url="")
        virtual = [board for board in options.declared if board.is_virtual]
        self._virtual = dict(enumerate(virtual))
        self._xvc_ports: dict[int, int] = {}
        self._is_ready = False
        self._warming: asyncio.Task[None] | None = None

    # -- for the supervisor ----------------------------------------------------------------------

    def started(self, name: str, pid: int, *, again: bool) -> None:
        """Tell, and write the new process id down."""
        if again:
            self._console.done(f"{name} was started again (process {pid})")
        self._write_ready()

    def died(self, name: str, reason: str, last_lines: str, wait_s: float) -> None:
        """Tell what happened, with the last lines of its log."""
        log = self._layout.log(name)
        quoted = "".join(f"\n    {line}" for line in last_lines.splitlines())
        self._console.warn(f"{name} {reason}; starting it again in {wait_s:.1f} s. Log: {log}{quoted}")
        self._write_ready()

    # -- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring everything up. Raises: StackError."""
        for path in self._ready_files():
            path.unlink(missing_ok=True)
        self._api_key = stored_secret(self._layout.api_key, prefix=KEY_PREFIX)
        self._api_port = self._choose_api_port()
        # It needs nothing of the rest, and takes longest where the tools are new.
        self._warming = asyncio.create_task(self._run_once(services.warm(self._wiring)), name="warm")
        database_url = self._options.postgres_url or await self._start_postgres()
        nats_url = self._options.nats_url or await self._start_nats()
        self._wiring = dataclasses.replace(self._wiring, nats_url=nats_url, database_url=database_url)
        self._console.doing("preparing the ledger")
        await self._run_once(services.migrate(self._wiring))
        await self._start_services()
        await self._wait_for_services()
        self._is_ready = True
        self._write_ready()

    async def run(self) -> None:
        """Keep everything running until cancelled."""
        await self._supervisor.run()

    async def stop(self) -> None:
        """Stop everything in reverse order."""
        self._is_ready = False
        for path in self._ready_files():
            path.unlink(missing_ok=True)
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._supervisor.stop()

    def kill(self) -> None:
        """Stop waiting for anybody's good manners."""
        self._supervisor.kill()

    # -- how to reach it -------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """The API's base URL, as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._options.host, self._options.host)  # noqa: S104 - looked for
        return f"http://[{host}]:{self._api_port}" if ":" in host else f"http://{host}:{self._api_port}"

    @property
    def api_key(self) -> str:
        """The first admin key."""
        return self._api_key

    def _ready_files(self) -> list[Path]:
        given = self._options.ready_file
        return [self._layout.ready, *([given] if given is not None else [])]

    def _write_ready(self) -> None:
        if not self._is_ready:
            return
        content = {
            "api_url": self.api_url,
            "api_key": self._api_key,
            "nats_url": self._wiring.nats_url,
            "database_url": self._wiring.database_url,
            "pids": self._supervisor.pids(),
        }
        for path in self._ready_files():
            try:
                write_atomically(path, json.dumps(content, indent=2) + "\n", mode=0o600)
            except OSError as error:  # a full disk is no reason to stop a lab
                self._console.warn(f"{path} could not be written: {error}")

    def _choose_api_port(self) -> int:
        host, port = self._options.host, self._options.port
        if port == 0:
            return stored_port(self._layout.api_port, host)
        problem = problem_with(port, host)
        if problem is None:
            return port
        if problem.errno == errno.EADDRINUSE:
            raise StackError(
                f"port {port} on {host} is taken: give the API another one with --port, or any free one with --port 0"
            )
        raise StackError(
            f"the API cannot listen on port {port} of {host} ({problem.strerror}): choose with --port and --host"
        )

    # -- servers ---------------------------------------------------------------------------------

    async def _start_postgres(self) -> str:
        self._console.doing("starting Postgres")
        cluster = prepare_postgres(self._layout.postgres)
        self._add("postgres", cluster.spec, LEVEL_POSTGRES)
        await self._until_server_ready("postgres", cluster)
        await create_database(cluster.url(), DATABASE)
        return cluster.url(DATABASE)

    async def _start_nats(self) -> str:
        self._console.doing("starting NATS")
        server = prepare_nats(self._layout.nats)
        self._add("nats", server.spec, LEVEL_NATS)
        await self._until_server_ready("nats", server)
        self._wiring = dataclasses.replace(self._wiring, nats_monitor_url=server.monitor_url)
        return server.url

    async def _until_server_ready(self, name: str, server: Server) -> None:
        async def ready() -> bool:
            pid = self._supervisor.children[name].pid
            return pid is not None and server.is_ready(pid)

        await self._until(f"{name} to answer", ready)

    # -- services --------------------------------------------------------------------------------

    def _add(self, name: str, prepare: Callable[[], spawn.ProcessSpec], level: int) -> None:
        log = self._layout.log(name)
        begin_log(log)
        self._supervisor.add(Child(name=name, prepare=prepare, log=log, level=level))

    async def _start_services(self) -> None:
        wiring = self._wiring
        self._console.doing("starting scheduler, API, boards and their agent")
        self._add("scheduler", lambda: services.scheduler(wiring), LEVEL_SCHEDULER)
        for index in self._virtual:
            self._add_board(index)
        key = stored_secret(self._layout.webhooks_key, prefix=KEY_PREFIX)
        self._add("api", lambda: services.api(wiring, self._api_port, self._api_key, key), LEVEL_SERVICES)
        self._add("webhooks", lambda: services.webhooks(wiring, key), LEVEL_SERVICES)
        self._write_lab_file()
        if self._options.lab:
            await self._run_once(services.board_agent(wiring, check=True))
        self._add("board-agent", lambda: services.board_agent(wiring), LEVEL_AGENT)

    def _add_board(self, index: int) -> None:
        self._layout.board(index).mkdir(mode=0o700, exist_ok=True)
        self._xvc_ports[index] = stored_port(self._layout.board(index) / "xvc-port")
        self._add(f"virtual-board-{index}", lambda: self._prepare_board(index), LEVEL_SERVICES)

    def _prepare_board(self, index: int) -> spawn.ProcessSpec:
        """A board keeps its port; where somebody took it meanwhile, the agent is told the new one."""
        port = stored_port(self._layout.board(index) / "xvc-port")
        if port != self._xvc_ports[index]:
            self._xvc_ports[index] = port
            self._write_lab_file()
            if "board-agent" in self._supervisor.children:
                self._supervisor.children["board-agent"].restart()
        return services.virtual_board(self._wiring, index, self._virtual[index].profile, port)

    def _write_lab_file(self) -> None:
        boards = [
            BoardAddress(
                board=self._virtual[index],
                xvc_port=port,
                tty=self._layout.tty(index),
                control=self._layout.control(index),
            )
            for index, port in sorted(self._xvc_ports.items())
        ]
        real = [board for board in self._options.declared if not board.is_virtual]
        write_atomically(self._layout.lab_file, lab_text(boards, real))

    # -- waiting ---------------------------------------------------------------------------------

    async def _until(self, what: str, ready: Callable[[], Awaitable[bool]], *, remind: bool = True) -> None:
        """Poll until `ready`; children that die meanwhile are reported by the supervisor, which never gives up."""
        said = time.monotonic()
        while not await ready():
            self._supervisor.check()
            if self._warming is not None and self._warming.done():
                self._warming.result()
            if remind and time.monotonic() - said > SLOW_AFTER_S:
                said = time.monotonic()
                self._console.doing(f"still waiting for {what}; logs are in {self._layout.logs}")
            await asyncio.sleep(POLL_S)

    async def _wait_for_services(self) -> None:
        options = self._options
        headers = {"X-API-Key": self._api_key}
        # Without the environment's proxy, which would look for our API on its own machine.
        async with httpx.AsyncClient(base_url=self.api_url, headers=headers, timeout=5, trust_env=False) as client:
            await self._until("the API to answer", lambda: healthy(client))
            count = len(self._virtual)  # a real board may be unplugged
            self._console.doing(f"waiting for {count} boards")
            await self._until(f"{count} boards", lambda: boards_online(client, count))
        await self._until("the tools", self._warmed, remind=False)
        self._add("builder", lambda: services.builder(self._wiring), LEVEL_SERVICES)
        for profile in options.profiles:
            self._console.doing(f"waiting for the base design of {profile}")
            await self._until("the base design", partial(base_built, self._wiring.database_url, profile))

    async def _warmed(self) -> bool:
        """Whether the tools are warm; says how far they are."""
        assert self._warming is not None
        if self._warming.done():
            return True
        step = last_step(tail(self._layout.log("warm")))
        if step is not None and not step.outcome:
            self._console.progress(f"{step.text}; only once on this machine", step.number, step.total)
        return False

    # -- things that end by themselves -----------------------------------------------------------

    async def _run_once(self, spec: spawn.ProcessSpec) -> None:
        """Run a command to its end. Raises: StartFailed."""
        log = self._layout.log(spec.name)
        begin_log(log)
        with log.open("ab") as output:
            process = spawn.spawn(spec, output)
        try:
            code = await spawn.wait(process)
        except asyncio.CancelledError:
            await spawn.stop_softly(process, spec)
            raise
        if code != 0:
            raise StartFailed(f"{spec.name} {exit_text(code)}:\n{tail(log)}")


async def create_database(server_url: str, name: str) -> None:
    """Create a database unless it exists."""
    connection = await asyncpg.connect(server_url)
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
            await connection.execute(f'create database "{name}"')
    finally:
        await connection.close()


async def healthy(client: httpx.AsyncClient) -> bool:
    """Whether the API and what it stands on are well."""
    try:
        answer = await client.get("/health")
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json().get("status") == "ok"


async def boards_online(client: httpx.AsyncClient, wanted: int) -> bool:
    """Whether this many boards are there."""
    try:
        answer = await client.get("/fpga")
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and sum(bool(board.get("online")) for board in answer.json()) >= wanted


async def base_built(database_url: str, profile: str) -> bool:
    """Whether the ledger knows the profile's base design."""
    try:
        connection = await asyncpg.connect(database_url)
    except (OSError, asyncpg.PostgresError):
        return False
    try:
        query = "select count(*) from profiles where profile = $1 and base is not null"
        return bool(await connection.fetchval(query, profile))
    finally:
        await connection.close()
