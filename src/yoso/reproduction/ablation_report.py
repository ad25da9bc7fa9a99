"""The tables of tables 5 to 10: costs of whole networks, and PQ of the trainings."""

import statistics
from typing import Any

from yoso.reproduction.published import paper_row, paper_rows
from yoso.speed.table import MISSING, Table, milliseconds

Content = dict[str, Any]


def network_table(table: str, content: Content) -> Table:
    """Return parameters, operations and latency of whole networks beside the paper's FPS."""
    size = "x".join(str(side) for side in content["size"])
    header = ["row", "paper, a 3090, FPS", "here, FPS", "here, ms", "IQR", "parameters", "GFLOPs"]
    header += ["backbone", "aggregator", "deformable", "decoder"]
    rows = []
    for row in content["rows"]:
        seconds, flops = row["seconds"], row["flops"]
        rows.append(
            [
                row["row"],
                f"{paper_row(table, row['row'])['fps']:.1f}",
                f"{1 / seconds['median']:.3f}",
                milliseconds(seconds["median"]),
                f"{100 * seconds['iqr'] / seconds['median']:.0f}%",
                f"{row['parameters'] / 1e6:.2f}M",
                f"{sum(flops.values()) / 1e9:.1f}",
                *(
                    f"{value / 1e9:.2f}"
                    for value in (flops["backbone"], flops["aggregator"], row["deformable_flops"], flops["decoder"])
                ),
            ]
        )
    title = f"Whole networks, R50 at {size}; a multiply-add counts as two, interpolation is not counted"
    return Table(title, header, rows, ("deformable", "aggregator", "backbone", "decoder", "IQR"))


def pq_table(table: str, content: Content) -> Table:
    """Return the PQ of every row beside the paper's: mean over seeds, and the seeds."""
    rows = []
    for row in content["rows"]:
        means = {
            group: 100 * statistics.fmean(run[group]["pq"] or 0.0 for run in row["runs"])
            for group in ("all", "things", "stuff")
        }
        seeds = ", ".join(f"{100 * run['all']['pq']:.1f}" for run in row["runs"])
        rows.append(
            [
                row["row"],
                f"{paper_row(table, row['row'])['pq']:.1f}",
                *(f"{means[group]:.1f}" for group in ("all", "things", "stuff")),
                seeds,
                f"{100 * spread(row):.1f}" if len(row["runs"]) > 1 else MISSING,
            ]
        )
    header = ["row", "paper, COCO", "PQ", "things", "stuff", "seeds", "spread"]
    return Table(f"PQ on {content['data']}, recipe {content['recipe']}", header, rows, ("things", "stuff"))


def spread(row: Content) -> float:
    """Return the difference between the highest and the lowest PQ of a row's seeds, 0 to 1."""
    scores = [run["all"]["pq"] for run in row["runs"]]
    return max(scores) - min(scores)


def pq_notes(table: str, content: Content) -> list[str]:
    """Return how much was trained, and how the order of the rows compares with the paper's."""
    seeds = len(content["rows"][0]["runs"])
    amount = (
        f"{len(content['rows'])} rows x {seeds} seeds on {content['data']}, {content['iterations']:,} iterations each"
    )
    planned = content["planned_iterations"]
    if content["iterations"] < planned:
        amount += f", which is {100 * content['iterations'] / planned:.0f}% of the planned {planned:,}"
    own = f" Changed settings: {', '.join(content['settings'])}." if content["settings"] else ""
    return [f"Trained: {amount}.{own}", order_sentence(table, content)]


def order_sentence(table: str, content: Content) -> str:
    """Say whether the order of PQ is the paper's, and whether the differences exceed the spread of the seeds."""
    ours = {row["row"]: statistics.fmean(run["all"]["pq"] for run in row["runs"]) for row in content["rows"]}
    paper = {row["row"]: row["pq"] for row in paper_rows(table)}
    order, published = (sorted(scores, key=lambda row: -scores[row]) for scores in (ours, paper))
    if order == published:
        said = f"The order is the paper's: {' > '.join(order)}"
    else:
        said = f"The order is {' > '.join(order)}, in the paper {' > '.join(published)}"
    difference, widest = max(ours.values()) - min(ours.values()), max(spread(row) for row in content["rows"])
    if difference <= widest:
        return (
            f"{said}; the largest difference ({100 * difference:.1f}) is not above the spread of the seeds "
            f"({100 * widest:.1f}), so it shows nothing."
        )
    return f"{said}; the largest difference is {100 * difference:.1f}, the widest spread of seeds {100 * widest:.1f}."
