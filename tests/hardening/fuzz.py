"""The fuzzer: feeds hostile inputs with fixed seeds to every target, kills commands, and counts what it finds.

`make fuzz` runs the long form. With `--target NAME --only NUMBER` it tries one input again.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hardening.guard import Fault
from hardening.targets import TARGETS, Target

KINDS = ("traceback", "lines", "hang", "outside", "memory")


@dataclass
class Tally:
    """What fuzzing a target found.

    Attributes:
        inputs: how many were tried.
        seconds: in all.
        slowest: seconds of the slowest input.
        slowest_input: its number.
        faults: the number of the input, and its fault.
    """

    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_input: int = 0
    faults: list[tuple[int, Fault]] = field(default_factory=list)


def fuzz(target: Target, inputs: Sequence[int], seconds: float, seed: int = 0) -> Tally:
    """Fuzz a target.

    Args:
        target: what to feed.
        inputs: numbers of the inputs; number and seed determine an input.
        seconds: after which no more inputs are tried.
        seed: of all inputs.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="hardening-") as name:
        home = Path(name, "home")
        home.mkdir()
        attempt = target.prepare(home)
        start = time.monotonic()
        for number in inputs:
            began = time.monotonic()
            if began - start > seconds:
                break
            folder = Path(name, "input")
            folder.mkdir()
            fault = attempt(Random(f"{target.name}/{seed}/{number}"), folder)
            shutil.rmtree(folder, ignore_errors=True)
            tally.inputs += 1
            if time.monotonic() - began > tally.slowest:
                tally.slowest, tally.slowest_input = time.monotonic() - began, number
            if fault:
                tally.faults.append((number, fault))
        tally.seconds = time.monotonic() - start
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the long form; return 1 if a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="in all, shared among the targets")
    parser.add_argument("--seconds", type=float, default=3600.0, help="per target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", help="only those whose name contains this")
    parser.add_argument("--kills", type=int, default=0, help="per command; training and export get a fifth")
    parser.add_argument("--only", type=int, help="only the input of this number")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    args = parser.parse_args(arguments)
    chosen = [target for target in TARGETS if (args.target or "") in target.name]
    shares = sum(target.share for target in chosen)
    found: dict[str, Tally] = {}
    for target in chosen:
        count = -(-args.inputs * target.share // shares)
        numbers = range(count) if args.only is None else [args.only]
        found[target.name] = tally = fuzz(target, numbers, args.seconds, args.seed)
        print(
            f"{target.name}: {tally.inputs} inputs, {tally.seconds:.0f} s, "
            f"slowest {tally.slowest:.1f} s ({tally.slowest_input})",
            flush=True,
        )
        for number, fault in tally.faults[:8]:
            print(f"  {number}: {fault.kind}: {fault.detail}", flush=True)
    killed = kill_all(args.kills, args.seed) if args.kills else {}
    if args.output:
        new = figures(found, killed, args.seed)
        if args.target and args.output.is_file():
            new = updated(json.loads(args.output.read_text(encoding="utf-8")), new)
        args.output.write_text(f"{json.dumps(new, indent=1)}\n", encoding="utf-8")
    return int(any(tally.faults for tally in (*found.values(), *killed.values())))


def kill_all(times: int, seed: int) -> dict[str, Tally]:
    """Kill every command several times, and print what is wrong afterwards."""
    from file_server import FileServer
    from hardening.kills import download_victim, kill, quick_victims, slow_victims

    found = {}
    with tempfile.TemporaryDirectory(prefix="hardening-") as name, FileServer({"weights": bytes(5_000_000)}) as server:
        home = Path(name)
        quick = [*quick_victims(home), download_victim(server.address)]
        for victim, count in [(v, times) for v in quick] + [(v, -(-times // 5)) for v in slow_victims(home)]:
            (home / victim.name).mkdir()
            start = time.monotonic()
            faults = kill(victim, home / victim.name, Random(f"{victim.name}/{seed}"), count)
            found[victim.name] = Tally(count, time.monotonic() - start, faults=list(enumerate(faults)))
            print(f"{victim.name}: {count} kills, {len(faults)} faults", flush=True)
            for fault in faults[:8]:
                print(f"  {fault.kind}: {fault.detail}", flush=True)
    return found


def figures(found: dict[str, Tally], killed: dict[str, Tally], seed: int) -> dict[str, Any]:
    """Return the figures of a run for the committed JSON."""
    from yoso.provenance import git_commit, package_versions, utc_now

    kinds = Counter(fault.kind for tally in found.values() for _, fault in tally.faults)
    return {
        "command": "python -m hardening.fuzz",
        "seed": seed,
        "inputs": sum(tally.inputs for tally in found.values()),
        "faults": {kind: kinds[kind] for kind in KINDS},
        "slowest_seconds": round(max(tally.slowest for tally in found.values()), 1),
        "targets": {
            name: {"inputs": tally.inputs, "faults": len(tally.faults), "seconds": round(tally.seconds, 1)}
            for name, tally in found.items()
        },
        "kills": {name: {"kills": tally.inputs, "faults": len(tally.faults)} for name, tally in killed.items()},
        "date": utc_now(),
        "commit": git_commit(),
        "packages": package_versions(),
    }


def updated(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of an earlier run with those targets replaced that were run again."""
    targets = old["targets"] | new["targets"]
    return old | {
        "targets": targets,
        "inputs": sum(row["inputs"] for row in targets.values()),
        "faults": new["faults"] if not any(row["faults"] for row in targets.values()) else old["faults"],
        "date": new["date"],
        "commit": new["commit"],
    }


def tables(content: dict[str, Any]) -> str:
    """Return the figures of a committed JSON as the tables of docs/security.md."""
    lines = ["| target | inputs | faults |", "|---|---:|---:|"]
    lines += [f"| {name} | {row['inputs']:,} | {row['faults']} |" for name, row in content["targets"].items()]
    lines += [f"| all | {content['inputs']:,} | {sum(content['faults'].values())} |", ""]
    lines += ["| killed command | kills | faults |", "|---|---:|---:|"]
    lines += [f"| {name} | {row['kills']} | {row['faults']} |" for name, row in content["kills"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
