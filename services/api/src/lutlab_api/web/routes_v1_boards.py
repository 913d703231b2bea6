"""Boards, sessions, the queue and agents under /api/v1."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response, status

from lutlab_api.app.auth import require_scope
from lutlab_api.domain.errors import Code
from lutlab_api.domain.views import Caller
from lutlab_api.web.asked import Api, FpgaId, Key, Reader, Reading, Running
from lutlab_api.web.documented import ASK, BOARD, READ, errors_v1
from lutlab_api.web.located import Located
from lutlab_api.web.models import Accepted, Fpga, Session
from lutlab_api.web.models_run import RunOrBatchV1
from lutlab_api.web.models_v1 import Agent, Agents, Boards, BridgeWay, Queue, QueueEntry, Sessions
from lutlab_api.web.paging import PageQuery, page_of
from lutlab_api.web.polling import NOT_MODIFIED, Polled, answer_news
from lutlab_api.web.routes_boards import RUN_ERRORS, reset
from lutlab_events.ids import board_stream
from lutlab_events.rejections import Rejection
from lutlab_events.values import Scope

RUN_LINK = (Code.BOARD_UNREACHABLE, Code.BOARD_TIMEOUT, Code.BOARD_LINK_FAILED)
LISTED = (Code.VALIDATION_ERROR, Code.INVALID_CURSOR)
Paged = Annotated[PageQuery, Query()]

router = APIRouter(prefix="/api/v1", tags=["v1 boards"])


@router.get("/boards", summary="List the boards", responses=errors_v1(*READ, *LISTED))
async def list_boards(api: Api, reader: Reader, query: Paged) -> Boards:
    """Every board of the lab, by number."""
    boards, page = page_of(await api.reads.boards(), query, lambda board: (board.fpga_id,))
    return Boards.model_validate({"boards": [Fpga.of(board) for board in boards], **page})


@router.get(
    "/boards/{fpga_id}",
    summary="Look at a board",
    response_model=Fpga,
    responses={**errors_v1(*READ, *BOARD), **NOT_MODIFIED},
)
async def get_board(fpga_id: FpgaId, api: Api, reader: Reader, request: Request, poll: Polled) -> Response:
    """One board. `Prefer: wait=N` with `If-None-Match` answers when it changed."""

    async def read() -> Fpga:
        return Fpga.of(await api.reads.board(fpga_id))

    return await answer_news(request, poll, board_stream(fpga_id), read, lambda board: True)


@router.post(
    "/boards/{fpga_id}/run",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Run a bus transaction or a batch",
    responses=errors_v1(*ASK, *BOARD, *RUN_ERRORS),
)
async def run(fpga_id: FpgaId, body: RunOrBatchV1, api: Api, asked: Running, location: Located) -> Accepted:
    """Read or write words of the design on a board you have reserved, or run a batch; over when this answers."""
    accepted = Accepted.of(await api.run.run(asked, fpga_id, body.wanted()))
    location.is_job(accepted.job_id)
    return accepted


@router.post(
    "/boards/{fpga_id}/bridge",
    summary="Ask for the way to a board's TCP bridge",
    responses=errors_v1(
        *ASK,
        *BOARD,
        *RUN_LINK,
        Rejection.FPGA_NOT_RESERVED,
        Rejection.NOT_YOUR_SESSION,
        Code.NO_BRIDGE,
    ),
)
async def bridge(fpga_id: FpgaId, api: Api, asked: Running) -> BridgeWay:
    """Where clients of the stream's frames can reach a board you have reserved without a WebSocket, and the token that
    opens it. The token's frame comes first: `10000008 00000000` and its 32 bytes; docs/boards.md tells more. It is good
    for this session and as long as your key is. Boards have no bridge unless their lab file gives them one.
    """
    return BridgeWay.of(await api.bridges.way(asked.caller, fpga_id))


router.post(
    "/boards/{fpga_id}/reset",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Reset a board",
    responses=errors_v1(*ASK, *BOARD, Rejection.FPGA_NOT_RESETTABLE, Rejection.NOT_YOUR_SESSION),
)(reset)


@router.get("/sessions", summary="List sessions", responses=errors_v1(*READ, *LISTED))
async def list_sessions(api: Api, reader: Reader, query: Paged) -> Sessions:
    """Who has which board and until when, by board."""
    sessions, page = page_of(await api.reads.sessions(), query, lambda session: (session.fpga_id,))
    return Sessions.model_validate({"sessions": [Session.of(each) for each in sessions], **page})


@router.get(
    "/sessions/{session_id}",
    summary="Look at a session",
    responses=errors_v1(*READ, Code.VALIDATION_ERROR, Code.SESSION_NOT_FOUND),
)
async def get_session(session_id: UUID, api: Api, reader: Reader) -> Session:
    """One session; use renews it."""
    return Session.of(await api.reads.session_by_id(session_id))


@router.delete(
    "/sessions/{session_id}",
    status_code=status.HTTP_202_ACCEPTED,
    summary="End a session",
    responses=errors_v1(
        *ASK,
        Code.VALIDATION_ERROR,
        Code.SESSION_NOT_FOUND,
        Rejection.FPGA_NOT_FOUND,
        Rejection.NO_ACTIVE_SESSION,
        Rejection.NOT_YOUR_SESSION,
    ),
)
async def end_session(session_id: UUID, api: Api, asked: Running, location: Located) -> Accepted:
    """Give the board back; it is reset (that is the job answered here) and then idle for others."""
    accepted = Accepted.of(await api.control.end_session(asked, session_id))
    location.is_job(accepted.job_id)
    return accepted


@router.get("/queue", summary="Look at the queue", responses=errors_v1(*READ, *LISTED))
async def get_queue(api: Api, caller: Reading, query: Paged) -> Queue:
    """Builds that have not ended, whosever, first in line first."""
    standing = list(enumerate(await api.reads.queue(), 1))
    shown, page = page_of(standing, query, lambda each: (each[1].number,))
    return Queue.model_validate({"queue": [QueueEntry.of(place, job) for place, job in shown], **page})


async def _agent_reader(caller: Key) -> Caller:
    require_scope(caller, Scope.AGENT)
    return caller


AgentReader = Annotated[Caller, Depends(_agent_reader)]


@router.get("/agents", summary="List agents", responses=errors_v1(*READ, *LISTED))
async def list_agents(api: Api, caller: AgentReader, query: Paged) -> Agents:
    """The processes beside the boards; for keys with the scope `agent`."""
    agents, page = page_of(await api.reads.agents(), query, lambda agent: (agent.agent_id,))
    return Agents.model_validate({"agents": [Agent.of(agent) for agent in agents], **page})


@router.get("/agents/{agent_id}", summary="Look at an agent", responses=errors_v1(*READ, Code.AGENT_NOT_FOUND))
async def get_agent(agent_id: str, api: Api, caller: AgentReader) -> Agent:
    """One agent."""
    return Agent.of(await api.reads.agent(agent_id))
