"""What goes wrong: one fault after another, each drawn from the seed, and an end to all of them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from lutlab_events import commands as c
from lutlab_sim.nats_server import Weather

GAP_S = 3.0
SKEW_S_MAX = 40.0
FREEZE_S_MAX = 14.0
OVERTAKEN = (
    "RegisterAgent",
    "ReportBoardAttached",
    "ReportProgrammed",
    "ReportSessionUsed",
    "RecordRun",
    "ReleaseSession",
    "ReportBuildStarted",
    "ReportBuildSucceeded",
)
"""Commands that may be about something that is over when they come late."""


class Nemesis:
    """Breaks things until told to stop, then mends everything."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._rng = random.Random(world.rng.random())
        self._mending: set[asyncio.Task[None]] = set()
        self.story: list[str] = []

    async def run(self, until_s: float) -> None:
        """Break things."""
        rng, loop = self._rng, asyncio.get_running_loop()
        faults = [
            self._kill_scheduler,
            self._kill_agent,
            self._kill_builder,
            self._part,
            self._storm,
            self._nats_restart,
            self._nats_wipe,
            self._postgres_restart,
            self._postgres_trouble,
            self._skew,
            self._unplug,
            self._power,
            self._loose_cable,
            self._wipe_again_and_again,
            self._unheard,
            self._detour,
            self._acknowledgements_lost,
            self._full,
            self._drain,
            self._freeze,
        ]
        chosen = rng.sample(faults, rng.randint(3, len(faults)))
        await asyncio.sleep(2.0 * rng.random())
        while loop.time() < until_s:
            fault = rng.choice(chosen)
            task = asyncio.ensure_future(fault())
            self._mending.add(task)
            task.add_done_callback(self._mending.discard)
            await asyncio.sleep(GAP_S * rng.random())
        await asyncio.gather(*self._mending)
        self._mend()

    def _note(self, text: str) -> None:
        self.story.append(f"{asyncio.get_running_loop().time():8.3f} {text}")

    def _mend(self) -> None:
        world = self._world
        world.server.weather = Weather()
        world.server.full = False
        world.database.trouble = 0.0
        for host in world.hosts:
            host.skew(0.0)
        self._note("everything is mended")

    async def _while(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._rng.random())

    async def _kill(self, host: Any, seconds: float) -> None:
        if not host.process.alive:
            return
        self._note(f"kill {host.name}")
        host.kill()
        await self._while(seconds)
        self._note(f"start {host.name}")
        host.start()

    async def _kill_scheduler(self) -> None:
        await self._kill(self._rng.choice(self._world.schedulers), 5.0)

    async def _kill_agent(self) -> None:
        await self._kill(self._rng.choice(self._world.agents), 16.0)

    async def _kill_builder(self) -> None:
        await self._kill(self._rng.choice(self._world.builders), 10.0)

    async def _freeze(self) -> None:
        """A process stands still and goes on; perhaps deposed meanwhile, if it led."""
        world, rng = self._world, self._rng
        host = rng.choice([*world.schedulers, *world.schedulers, *world.agents, *world.builders])
        process, seconds = host.process, FREEZE_S_MAX * rng.random()
        if not process.alive:
            return
        leader = world.database.leader
        deposed = leader is not None and leader.process is process and rng.random() < 0.5
        self._note(f"freeze {host.name} for {seconds:.1f} s, deposed={deposed}")
        process.frozen_until_s = asyncio.get_running_loop().time() + seconds
        if deposed:
            await self._while(seconds)
            world.database.forget(leader)

    async def _part(self) -> None:
        host = self._rng.choice(self._world.hosts)
        client = host.client
        if client is None or client.parted:
            return
        self._note(f"part {host.name}")
        client.part()
        await self._while(14.0)
        client.heal()
        self._note(f"heal {host.name}")

    async def _storm(self) -> None:
        server, rng = self._world.server, self._rng
        self._note("storm")
        server.weather = Weather(drop=0.2 * rng.random(), duplicate=0.2 * rng.random(), slow=0.2 * rng.random())
        await self._while(15.0)
        server.weather = Weather()

    async def _detour(self) -> None:
        """Commands of a few kinds are overtaken by all others."""
        server = self._world.server
        if server.detours:
            return
        server.detours = frozenset(f"cmd.*.{kind}" for kind in self._rng.sample(OVERTAKEN, 4))
        self._note(f"detour for {', '.join(sorted(server.detours))}")
        await self._while(20.0)
        server.detours = frozenset()

    async def _acknowledgements_lost(self) -> None:
        """What was done is delivered again, when other things have been done since."""
        server = self._world.server
        server.swallowed = frozenset({f"$JS.ACK.{self._rng.choice(['WORK', 'COMMANDS'])}.>"})
        self._note(f"nobody hears {', '.join(server.swallowed)}")
        await self._while(15.0)
        server.swallowed = frozenset()

    async def _full(self) -> None:
        """NATS has no room for blobs, work, commands and logs."""
        self._note("nats is full")
        self._world.server.full = True
        await self._while(10.0)
        self._world.server.full = False

    async def _drain(self) -> None:
        """An admin takes a board out of service, perhaps throwing out whoever is on it, and puts it back."""
        api, fpga_id = self._world.api, self._rng.randrange(3)
        kick = self._rng.random() < 0.5
        self._note(f"drain fpga {fpga_id}, kick={kick}")
        await api.ask(c.WithdrawBoard(fpga_id=fpga_id, owner="root", reason="new fan", kick=kick), "root")
        await self._while(8.0)
        self._note(f"undrain fpga {fpga_id}")
        await api.ask(c.ReturnBoard(fpga_id=fpga_id, owner="root"), "root")

    async def _nats(self, *, wipe: bool = False, lose_tail: int = 0, down_s: float = 5.0) -> None:
        server = self._world.server
        if not server.up:
            return
        self._note(f"nats down, wipe={wipe}, lose_tail={lose_tail}")
        server.crash(wipe=wipe, lose_tail=lose_tail)
        await self._while(down_s)
        server.restart()
        self._note("nats up")

    async def _nats_restart(self) -> None:
        await self._nats()

    async def _nats_wipe(self) -> None:
        await self._nats(wipe=True)

    async def _wipe_again_and_again(self) -> None:
        """Streams that are young when they go, and messages from before that arrive after."""
        server, rng = self._world.server, self._rng
        self._note("slow network")
        server.weather = Weather(slow=0.5)
        for _ in range(rng.randint(2, 4)):
            await self._nats(wipe=True, down_s=0.5)
            await self._while(3.0)
        server.weather = Weather()

    async def _unheard(self) -> None:
        """A board comes back, and what its agent says of it is wiped away before anybody hears it."""
        boards, key = self._board()
        self._note(f"unplug {key}")
        boards.unplug(key)
        await asyncio.sleep(3.0 + 3.0 * self._rng.random())
        dead = [host for host in self._world.schedulers if host.process.alive]
        for host in dead:
            self._note(f"kill {host.name}")
            host.kill()
        boards.plug(key)
        await asyncio.sleep(2.0 + 2.0 * self._rng.random())
        await self._nats(wipe=True, down_s=1.0)
        for host in dead:
            self._note(f"start {host.name}")
            host.start()

    async def _nats_forgets(self) -> None:
        await self._nats(lose_tail=self._rng.randint(1, 3))

    async def _postgres_restart(self) -> None:
        database = self._world.database
        if not database.up:
            return
        self._note("postgres down")
        database.crash()
        await self._while(4.0)
        database.restart()
        self._note("postgres up")

    async def _postgres_trouble(self) -> None:
        self._note("postgres breaks connections")
        self._world.database.trouble = 0.1 * self._rng.random()
        await self._while(5.0)
        self._world.database.trouble = 0.0

    async def _skew(self) -> None:
        host = self._rng.choice(self._world.hosts)
        seconds = SKEW_S_MAX * (2 * self._rng.random() - 1)
        self._note(f"clock of {host.name} {seconds:+.1f} s")
        host.skew(seconds)
        await self._while(10.0)
        host.skew(0.0)

    def _board(self) -> tuple[Any, str]:
        boards = self._rng.choice(self._world.agents).boards
        return boards, self._rng.choice(sorted(boards.boards))

    async def _unplug(self) -> None:
        boards, key = self._board()
        self._note(f"unplug {key}")
        boards.unplug(key)
        await self._while(8.0)
        boards.plug(key)

    async def _power(self) -> None:
        boards, key = self._board()
        self._note(f"power cycle {key}")
        boards.power_cycle(key)

    async def _loose_cable(self) -> None:
        boards, key = self._board()
        self._note(f"loose cables at {key}'s host")
        boards.trouble = 0.5
        await self._while(10.0)
        boards.trouble = 0.0
