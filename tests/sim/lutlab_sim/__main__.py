"""`python -m lutlab_sim`: run seeds, in as many processes as asked for; a failure names the seed that repeats it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import structlog

from lutlab_sim import mutants
from lutlab_sim.world import Result, run

CHUNK = 25


def quiet(*, talk: bool = False) -> None:
    """Say nothing, or everything."""
    level = 10 if talk else 50
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[structlog.dev.ConsoleRenderer(colors=False)] if talk else [],
    )


def chunk(seeds: list[int]) -> list[Result]:
    """Some seeds in this process."""
    quiet()
    results = []
    for seed in seeds:
        result = run(seed)
        results.append(result)
        if result.failure:
            break
    return results


def one(seed: int) -> int:
    """One seed, with its story; run twice, so that a seed which does not repeat itself shows."""
    first = run(seed)
    again = run(seed)
    print("\n".join(first.story))
    print(first if first.failure else f"seed {seed}: fine, {first.commands} commands, {first.events} events")
    if first.digest != again.digest:
        print(f"NOT DETERMINISTIC: {first.digest} {again.digest} {again.failure}")
        return 1
    print(f"digest {first.digest}, the same twice")
    return 1 if first.failure else 0


def many(first: int, count: int, jobs: int) -> int:
    """Many seeds; stops at the first failure."""
    began = time.perf_counter()
    seeds = iter(range(first, first + count))
    chunks = iter(lambda: list(islice(seeds, CHUNK)), [])
    names = ("seeds", "commands", "events", "writes", "kills", "terms", "messages")
    totals = dict.fromkeys(names, 0)
    with ProcessPoolExecutor(jobs) as pool:
        for results in pool.map(chunk, chunks):
            for result in results:
                totals["seeds"] += 1
                for name in names[1:]:
                    totals[name] += getattr(result, name)
                if result.failure:
                    print(f"seed {result.seed}: {result.failure}", flush=True)
                    print(f"to repeat it: make sim SEED={result.seed}", flush=True)
                    pool.shutdown(wait=False, cancel_futures=True)
                    return 1
            if totals["seeds"] % 100 == 0:
                print(f"{totals['seeds']} seeds in {time.perf_counter() - began:.0f} s", flush=True)
    print(f"no failure in {time.perf_counter() - began:.1f} s: " + ", ".join(f"{v} {k}" for k, v in totals.items()))
    return 0


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="lutlab_sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one, twice, with its story")
    parser.add_argument("--seeds", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    parser.add_argument("--talk", action="store_true", help="with --seed: the services' own log")
    parser.add_argument("--mutants", action="store_true", help="plant each known bug and see that it is caught")
    parser.add_argument(
        "--looks", type=int, default=1, help="with --mutants: run so many seeds and count (%(default)s)"
    )
    parser.add_argument("--mutant", choices=sorted(mutants.ALL), help="only this one")
    args = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of strings must be the same in every run.
        command = [sys.executable, "-m", "lutlab_sim", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    quiet(talk=args.talk)
    if args.mutants or args.mutant:
        names = [args.mutant] if args.mutant else sorted(mutants.ALL)
        return mutants.check(names, args.first, args.seeds, args.looks)
    if args.seed is not None:
        return one(args.seed)
    return many(args.first, args.seeds, args.jobs)


if __name__ == "__main__":
    sys.exit(main())
