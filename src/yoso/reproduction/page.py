"""docs/paper.md, made of the result files alone: the same files give the same page."""

from pathlib import Path

from yoso.files import write_text
from yoso.reproduction.collected import saved_result
from yoso.reproduction.plan import ItemPart, PaperItem, ReproductionPlan
from yoso.reproduction.plots import contours_svg, speed_accuracy_svg
from yoso.reproduction.registry import ITEMS
from yoso.reproduction.report import item_notes, item_tables, provenance_words
from yoso.reproduction.result_file import ItemResult
from yoso.speed.table import markdown_table

HEAD = """\
# The paper's tables and figures

`yoso reproduce` measures every table and figure of *You Only Segment Once* (CVPR 2023) on your machine. This page is
generated from the files in `benchmarks/paper/`; do not edit it.

    yoso reproduce                                # what there is, what it needs, what was run
    yoso reproduce table5 table6 figure5          # measure what is missing of some
    yoso reproduce all --scale small              # everything that this machine can run
    yoso reproduce --page docs/paper.md           # generate this page again

Finished parts are not measured again; `--again` does that. An interrupted command resumes when you run it again.

"Paper" is what the paper prints, measured on a V100, a 3090 or an A100. "Here" is the machine that is named below each
table. PQ is times 100."""

IMAGES = "images"
"""Folder of the plots, beside the page."""


def write_page(page: Path, plan: ReproductionPlan) -> list[Path]:
    """Write the page and its plots.

    Args:
        page: Markdown file.
        plan: with the folder of the result files.

    Returns:
        All files that were written.

    Raises:
        YosoError: a result file cannot be read, or the page cannot be written.
    """
    texts = page_texts(plan)
    paths = [page if name == "" else page.parent / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def page_texts(plan: ReproductionPlan) -> dict[str, str]:
    """Return the page, under the name "", and its plots by their paths relative to it."""
    results = {item: saved_result(plan, item) for item in ITEMS}
    plots = _plots(results)
    sections = [_section(item, results[name], plots) for name, item in ITEMS.items()]
    return {"": "\n\n".join([HEAD, *sections]) + "\n", **plots}


def _plots(results: dict[str, ItemResult | None]) -> dict[str, str]:
    plots = {}
    figure4, figure5 = results["figure4"], results["figure5"]
    if figure4 and "points" in figure4.parts:
        plots[f"{IMAGES}/paper_figure4.svg"] = speed_accuracy_svg(figure4.parts["points"].content["points"])
    if figure5 and "contours" in figure5.parts:
        plots[f"{IMAGES}/paper_figure5.svg"] = contours_svg(figure5.parts["contours"].content)
    return plots


def _section(item: PaperItem, result: ItemResult | None, plots: dict[str, str]) -> str:
    number = item.id.replace("table", "Table ").replace("figure", "Figure ").capitalize()
    lines = [f"## {number}: {item.title}"]
    if item.drawing:
        return "\n\n".join([*lines, f"{item.drawing[:1].upper()}{item.drawing[1:]}; there is nothing to measure."])
    plot = f"{IMAGES}/paper_{item.id}.svg"
    lines += [f"![{item.title}]({plot})"] if plot in plots else []
    lines += [markdown_table(table) for table in item_tables(item, result)]
    lines += item_notes(item, result)
    lines += [_part_line(item, part, result) for part in item.parts]
    return "\n\n".join(lines)


def _part_line(item: PaperItem, part: ItemPart, result: ItemResult | None) -> str:
    """Return where a part was measured, or what it needs."""
    found = result.parts.get(part.name) if result else None
    if found is not None:
        return f"`{part.name}`: {provenance_words(found)}; {found.seconds:,.0f} s; `{found.command}`."
    command = f"yoso reproduce {item.id} {part.remedy}".rstrip()
    needs = f"needs {part.needs}" if part.needs else "needs nothing but time"
    return f"`{part.name}` ({part.shows}): **not run**: {needs}; then `{command}`."
