"""`lutlab-replay`: rebuild views from the log while the lab runs, or compare them with it.

Prints lines of JSON: `{"progress": ..., "done": ..., "total": ...}` and at last the outcome. Exit code 0: done, or
equal; 1: views differ from the log (--verify); 2: it could not be done.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
from typing import Any

from lutlab_events.codec import Undecodable
from lutlab_scheduler.adapters.rebuild import Outcome, rebuilding, views_named
from lutlab_scheduler.app.ports import SchedulerError
from lutlab_scheduler.app.world import UnknownStream
from lutlab_scheduler.domain.machine import IllegalTransition

EXIT_DIFFERENT, EXIT_FAILED = 1, 2


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def replay(database_url: str, name: str, *, verify: bool) -> Outcome:
    """Rebuild or check. Raises: SchedulerError, and what a damaged log raises when it is folded."""

    def progress(what: str, done: int, total: int) -> None:
        _say(progress=what, done=done, total=total)

    async with rebuilding(database_url, views_named(name), progress) as rebuild:
        return await (rebuild.check() if verify else rebuild.replace())


def main() -> None:
    """Parse the command line and replay."""
    parser = argparse.ArgumentParser(prog="lutlab-replay", description=__doc__)
    parser.add_argument(
        "view",
        nargs="?",
        default="all",
        help="boards, jobs, agents, api_keys, profiles, webhooks, projects, verifications, or all",
    )
    parser.add_argument("--verify", action="store_true", help="change nothing; compare and say what differs")
    parser.add_argument("--database-url", default=os.environ.get("LUTLAB_DATABASE_URL"))
    args = parser.parse_args()
    if not args.database_url:
        parser.error("say which database: --database-url, or LUTLAB_DATABASE_URL")
    try:
        outcome = asyncio.run(replay(args.database_url, args.view, verify=args.verify))
    except (SchedulerError, IllegalTransition, UnknownStream, Undecodable) as error:
        _say(error=str(error), code=error.code)
        sys.exit(EXIT_FAILED)
    _say(**dataclasses.asdict(outcome))
    if args.verify and any(outcome.differing.values()):
        sys.exit(EXIT_DIFFERENT)


if __name__ == "__main__":
    main()
