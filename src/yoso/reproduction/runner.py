"""Measures the parts of tables and figures that this machine can measure, and says what the others need."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoso.errors import ConfigError, YosoError, did_you_mean
from yoso.installation import installed_version
from yoso.provenance import provenance
from yoso.reproduction.collected import saved_result
from yoso.reproduction.modules import device_of
from yoso.reproduction.plan import ItemPart, PaperItem, ReproductionPlan
from yoso.reproduction.result_file import ItemResult, PartResult, read_item_result, write_item_result

FINISHED, MEASURED, NOT_RUN, OTHER = "finished", "measured", "not run", "other"
OPTION_OF = {"iterations": "settings"}
"""The option behind a condition, where their names differ."""


@dataclass(frozen=True)
class PartOutcome:
    """What became of a part in one call.

    Attributes:
        item: id of the table or figure.
        part: its name.
        state: `FINISHED` before this call, `MEASURED` by it, `NOT_RUN`, or `OTHER`: the file has a result of another
            version or of other conditions, which is kept.
        words: one line for people.
    """

    item: str
    part: str
    state: str
    words: str


def check_parts(items: Sequence[PaperItem], names: Sequence[str]) -> None:
    """Check the names of parts.

    Raises:
        ConfigError: none of the items has such a part.
    """
    known = {part.name for item in items for part in item.parts}
    for name in names:
        if name not in known:
            raise ConfigError(f"--parts: no part {name!r} in these tables and figures.{did_you_mean(name, known)}")


def run_item(
    item: PaperItem, plan: ReproductionPlan, again: bool = False, parts: Sequence[str] = ()
) -> Iterator[PartOutcome]:
    """Measure what is missing of a table or figure, and save every part as soon as it is measured.

    Args:
        item: the table or figure.
        plan: how to measure.
        again: measure parts that are finished, too.
        parts: only these; empty for all of the plan's scale.

    Yields:
        What became of each part.

    Raises:
        ConfigError: the result file was edited by hand, has another schema, or is that of another item.
        YosoError: a part fails; the parts before it are saved.
    """
    device_of(plan)  # an error about it comes first
    path = plan.output / f"{item.id}.json"
    result = _earlier(item, path, again)
    for part in item.parts:
        if part.scale not in (None, plan.scale) or (parts and part.name not in parts):
            continue
        if result.yoso != installed_version():
            yield PartOutcome(item.id, part.name, OTHER, _other_version(path, result))
        elif part.name in result.parts and not again:
            yield _finished(item, part, plan, result.parts[part.name])
        elif lacking := part.missing(plan):
            yield PartOutcome(item.id, part.name, NOT_RUN, not_run(item, part, plan, lacking))
        else:
            result = result.with_part(part.name, _measured(item, part, plan))
            write_item_result(path, result)
            yield PartOutcome(item.id, part.name, MEASURED, f"{part.shows}: measured; {path}")


def _earlier(item: PaperItem, path: Path, again: bool) -> ItemResult:
    """Return the result of earlier calls; with `again`, only if this version can add to it."""
    fresh = ItemResult(item.id, installed_version())
    if not path.exists():
        return fresh
    try:
        found = read_item_result(path)
    except YosoError:
        if again:
            return fresh
        raise
    if found.id != item.id:
        raise ConfigError(f"{path}: is the result of {found.id}, not of {item.id}; rename it, or use another --output")
    return fresh if again and found.yoso != fresh.yoso else found


def _other_version(path: Path, result: ItemResult) -> str:
    return (
        f"{path}: was measured with yoso {result.yoso}, and this is {installed_version()}; results of two versions are "
        "not mixed, so nothing was added; --again measures all with this version"
    )


def _finished(item: PaperItem, part: ItemPart, plan: ReproductionPlan, found: PartResult) -> PartOutcome:
    now = part.conditions(plan)
    given = [name for name in now if getattr(plan, OPTION_OF.get(name, name)) not in (None, ())]
    differing = [name for name in given if now[name] != found.conditions.get(name)]
    if not differing:
        words = f"{part.shows}: finished on {found.date[:10]}"
        return PartOutcome(item.id, part.name, FINISHED, words)
    name = differing[0]
    words = (
        f"{part.shows}: the result file has {name} {found.conditions.get(name)}, not {now[name]}; results of different "
        f"conditions are not mixed; --again measures it, or choose another --output"
    )
    return PartOutcome(item.id, part.name, OTHER, words)


def not_run(item: PaperItem, part: ItemPart, plan: ReproductionPlan, lacking: Sequence[str]) -> str:
    """Return why a part does not run, and the command that runs it once nothing is missing."""
    command = f"yoso reproduce {item.id} {part.remedy}".rstrip() if part.remedy else plan.command(item.id)
    return f"{part.shows}: not run: needs {' and '.join(lacking)}; then: {command}"


def _measured(item: PaperItem, part: ItemPart, plan: ReproductionPlan) -> PartResult:
    about = provenance(device_of(plan))  # first, because writing the file changes the checkout
    start = time.perf_counter()
    content = part.measure(plan)
    seconds = time.perf_counter() - start
    conditions = {"scale": part.scale, **part.conditions(plan)} if part.scale else part.conditions(plan)
    return PartResult(plan.command(item.id), conditions, round(seconds, 1), content=content, **about)


def listing(items: Sequence[PaperItem], plan: ReproductionPlan) -> list[dict[str, Any]]:
    """Return a row per table or figure: what it shows, what it needs, what was run, and where the result is.

    Args:
        items: to list.
        plan: with the folder of the results.
    """
    rows = []
    for item in items:
        path = plan.output / f"{item.id}.json"
        try:
            found, problem = saved_result(plan, item.id), None
        except YosoError as error:
            found, problem = None, str(error)
        dates = {name: part.date[:10] for name, part in found.parts.items()} if found else {}
        rows.append(
            {
                "id": item.id,
                "title": item.title,
                "drawing": item.drawing or None,
                "parts": [
                    {
                        "name": part.name,
                        "shows": part.shows,
                        "needs": part.needs or None,
                        "time": part.time,
                        "run": dates.get(part.name),
                    }
                    for part in item.parts
                ],
                "result": str(path) if found else None,
                "yoso": found.yoso if found else None,
                "problem": problem,
            }
        )
    return rows
