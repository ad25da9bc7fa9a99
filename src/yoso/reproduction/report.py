"""A result as tables and sentences: the paper's figures and the measured ones side by side."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from yoso.reproduction.ablation_report import network_table, pq_notes, pq_table
from yoso.reproduction.benchmarks import TABLES, scale_name
from yoso.reproduction.plan import PaperItem
from yoso.reproduction.published import OURS, paper_row, paper_rows, paper_seconds
from yoso.reproduction.result_file import ItemResult, PartResult
from yoso.speed.table import MISSING, Table, milliseconds

Content = dict[str, Any]


def item_tables(item: PaperItem, result: ItemResult | None) -> list[Table]:
    """Return the tables of an item: what the paper has, beside what was measured so far."""
    parts = {} if result is None else {name: part.content for name, part in result.parts.items()}
    if item.id in TABLES:
        return [_benchmark_table(item, parts)]
    made = []
    for part in item.parts:
        if part.name in parts:
            made += _part_tables(item.id, part.name)(parts[part.name])
    return made


def item_notes(item: PaperItem, result: ItemResult | None) -> list[str]:
    """Return what the measured parts show, a sentence or two per line."""
    parts = {} if result is None else {name: part.content for name, part in result.parts.items()}
    notes = []
    if item.id == "table5" and "flops" in parts:
        notes.append(
            "The paper's FLOPs are those of d = 128, the official implementation's width, although its caption says "
            "d = 256. Counted: every operator of our modules, with torch's FlopCounterMode; the bias, which equation 2 "
            "leaves out, is not counted."
        )
    if item.id == "table5" and "modules" in parts:
        largest = max(width["max_difference"] for width in parts["modules"]["widths"])
        notes.append(
            f"IFA and the CFA that it is converted to give equal outputs: they differ by at most {largest:.1g}."
        )
    if item.id == "table6" and "flops" in parts:
        notes.append("A LayerNorm counts as 5 operations per element; with it, the paper's FLOPs come out exactly.")
    if item.id == "figure5" and "contours" in parts:
        notes.append(_contour_note(parts["contours"]))
    if item.id in TABLES and "fps" in parts:
        notes.append("Rows `here` have random weights unless they have a PQ: their speed is real.")
    if item.id == "beyond" and "additions" in parts:
        notes.append(
            "Where several seeds were trained, the mean comes first; seeds of one variant differ by up to 2.6 points."
        )
    if item.id == "supplement":
        notes.append("The supplement's own figures are not quoted, because its text is not part of the paper.")
    for name, content in parts.items():
        if name.startswith("pq_small") or name.startswith("pq_paper"):
            notes += pq_notes(item.id, content)
    return notes


def provenance_words(part: PartResult) -> str:
    """Return one line: machine, threads, versions, conditions, date, commit."""
    machine = part.machine.get("gpu") or part.machine.get("cpu", "unknown processor")
    threads = f"{part.threads} thread{'' if part.threads == 1 else 's'}"
    commit, dirty, _ = (part.commit or "none").partition("-dirty")
    torch = f"torch {part.versions['torch']}" if "torch" in part.versions else ""
    conditions = [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in part.conditions.items()
        if value not in (None, [])
    ]
    facts = [f"{machine}, {threads}", torch, *conditions, part.date[:10], f"commit {commit[:10]}{dirty}"]
    return "; ".join(fact for fact in facts if fact)


def _benchmark_table(item: PaperItem, parts: dict[str, Content]) -> Table:
    header = ["method", "backbone", "scale", "PQ", "things", "stuff", "FPS", "ms", "device"]
    rows = [
        [
            row["method"],
            row["backbone"],
            row["scale"] or MISSING,
            *(percent(row[key]) for key in ("pq", "pq_things", "pq_stuff")),
            percent(row["fps"]),
            MISSING if row["fps"] is None else milliseconds(1 / row["fps"]),
            row["gpu"] or MISSING,
        ]
        for row in paper_rows(item.id)
    ]
    scored = {size: parts.get(f"pq_{scale_name(size)}") for size in TABLES[item.id].scales}
    timed = parts["fps"]["rows"] if "fps" in parts else []
    for place, (size, scores) in enumerate(scored.items()):
        row = timed[place] if place < len(timed) else None
        rows += _measured_rows(size, scores, row)
    return Table(f"{item.id}: {item.title}", header, rows, ("backbone", "device", "ms"))


def _measured_rows(size: tuple[int, int], scores: Content | None, row: Content | None) -> list[list[str]]:
    groups = ("all", "things", "stuff")
    quality = [MISSING] * 3 if scores is None else [_times_100(scores[group]["pq"]) for group in groups]
    scale = f"{size[0]},{size[1]}"
    if row is None:
        return [] if scores is None else [["YOSO, here", "R50", scale, *quality, MISSING, MISSING, MISSING]]
    if list(size) != row["size"]:
        scale += f" ({scale_name(row['size'])})"
    whole, network = row["end_to_end"]["median"], row["network_seconds"]
    return [
        ["YOSO, here, end to end", "R50", scale, *quality, f"{1 / whole:.2f}", milliseconds(whole), "here"],
        [
            "YOSO, here, network alone",
            "R50",
            scale,
            *[MISSING] * 3,
            f"{1 / network:.2f}",
            milliseconds(network),
            "here",
        ],
    ]


def _times_100(value: float | None) -> str:
    return percent(None if value is None else 100 * value)


def percent(value: float | None) -> str:
    """Return a number with one decimal, as the paper has it, or a dash."""
    return MISSING if value is None else f"{value:.1f}"


def _part_tables(item: str, part: str) -> Callable[[Content], list[Table]]:
    """Return the function that makes the tables of a part."""
    special = {
        ("table5", "flops"): _aggregation_flops,
        ("table5", "modules"): _aggregation_latency,
        ("table6", "flops"): _attention_flops,
        ("table6", "modules"): _attention_latency,
        ("figure5", "contours"): _contour_tables,
        ("figure4", "points"): _point_table,
        ("beyond", "additions"): _addition_tables,
    }
    if (item, part) in special:
        return special[item, part]
    if part == "network":
        return lambda content: [network_table(item, content)]
    if part.startswith("mask_ap"):
        return lambda content: [_instance_table(content)]
    return lambda content: [pq_table(item, content)]


def _aggregation_flops(content: Content) -> list[Table]:
    rows = [
        [
            row["kind"].upper(),
            str(row["width"]),
            paper_row("table5", row["kind"].upper())["flops"],
            f"{row['closed_form'] / 1e9:.1f}G",
            f"{row['counted'] / 1e9:.1f}G",
            f"{row['counted']:,}",
        ]
        for row in content["rows"]
    ]
    return [Table("FLOPs of single modules", ["aggregator", "d", "paper", "equation 2", "counted", "exactly"], rows)]


def _aggregation_latency(content: Content) -> list[Table]:
    rows = []
    for width in content["widths"]:
        slowest = width["rows"][0]["seconds"]["median"]
        for row in width["rows"]:
            name = row["kind"].replace("ifa", "IFA").replace("cfa", "CFA")
            paper = paper_row("table5", name)["microseconds"] if name in ("IFA", "CFA") else MISSING
            cells = _latency_cells(row)
            rows.append([name, str(width["width"]), paper, *cells, f"{slowest / row['seconds']['median']:.2f}x"])
    speed_up = 4871 / paper_seconds(paper_row("table5", "CFA")["microseconds"]) / 1e6
    header = ["aggregator", "d", "paper, a 3090, us", "here, us", "IQR", "speed-up"]
    return [Table(f"Latency of single modules (the paper's CFA: {speed_up:.2f}x)", header, rows)]


def _latency_cells(row: Content) -> list[str]:
    seconds = row["seconds"]
    return [f"{1e6 * seconds['median']:,.0f}", f"{100 * seconds['iqr'] / seconds['median']:.0f}%"]


def _attention_flops(content: Content) -> list[Table]:
    rows = [
        [
            row["kind"].upper(),
            paper_row("table6", row["kind"].upper())["flops"],
            f"{row['closed_form'] / 1e6:.1f}M",
            f"{row['counted'] / 1e6:.1f}M",
            f"{row['counted']:,}",
        ]
        for row in content["rows"]
    ]
    return [Table("FLOPs of single modules", ["attention", "paper", "closed form", "counted", "exactly"], rows)]


def _attention_latency(content: Content) -> list[Table]:
    rows = [
        [
            row["kind"].upper(),
            f"{row['parameters']:,}",
            paper_row("table6", row["kind"].upper())["microseconds"],
            *_latency_cells(row),
        ]
        for row in content["rows"]
    ]
    return [
        Table("Latency of single modules", ["attention", "parameters", "paper, a 3090, us", "here, us", "IQR"], rows)
    ]


def _contour_tables(content: Content) -> list[Table]:
    made = []
    for name, rows_of, title in (
        ("cfa", "channels", "IFA to CFA, by input channels c and output width d"),
        ("sdca", "tokens", "MHCA to SDCA, by tokens n and width d, t = 3"),
    ):
        points = {(row[rows_of], row["width"]): row["ratio"] for row in content[name]}
        widths = sorted({width for _, width in points})
        rows = [
            [str(first), *(f"{points[first, width]:.2f}" for width in widths)]
            for first in sorted({first for first, _ in points})
        ]
        made.append(Table(title, [rows_of[0] if rows_of == "channels" else "n", *(f"d = {w}" for w in widths)], rows))
    return made


def _contour_note(content: Content) -> str:
    points = content["cfa"] + content["sdca"]
    largest = max(abs(point["counted"] / point["ratio"] - 1) for point in points)
    equal = "are equal to" if largest < 1e-12 else f"differ by at most {largest:.1g} from"
    return f"All {len(points)} ratios counted on our modules {equal} those of the equations."


def _point_table(content: Content) -> list[Table]:
    rows = [
        [
            {"table1": "COCO", "table2": "Cityscapes"}[point["table"]],
            point["method"].replace(OURS, "YOSO"),
            point["scale"],
            percent(point["pq"]),
            f"{point['fps']:.1f}" if point["source"] == "paper" else f"{point['fps']:.2f}",
            point["source"],
        ]
        for point in content["points"]
    ]
    return [Table("FPS and PQ", ["benchmark", "method", "scale", "PQ", "FPS", "source"], rows)]


def _addition_tables(content: Content) -> list[Table]:
    training = [
        [
            row["addition"],
            row["what"].removeprefix("recipe small on "),
            _mean_and_seeds(row["with"]),
            _mean_and_seeds(row["without"]),
        ]
        for row in content["training"]
    ]
    latency = [
        [row["form"], scale_name(tuple(row["size"])), milliseconds(row["seconds"]), milliseconds(row["merge_seconds"])]
        for row in content["latency"]
    ]
    comparison = [
        [
            row["budget"],
            {"yoso": "YOSO", "mask2former": "Mask2Former"}[row["network"]],
            *(percent(100 * row[group]) for group in ("all", "things", "stuff")),
            f"{row['images_seen']:,}",
            f"{row['training_seconds']:,.0f}",
            milliseconds(row["inference_seconds"]),
        ]
        for row in content["mask2former"]
    ]
    header = ["budget", "network", "PQ", "things", "stuff", "images", "training, s", "image, ms"]
    return [
        Table("Training: PQ with and without an addition", ["addition", "on", "PQ with", "PQ without"], training),
        Table("Deployment form and merge, coco_r50", ["form", "size", "end to end, ms", "merge, ms"], latency),
        Table("Mask2Former at equal budget on facades, mobilenetv2_100", header, comparison),
    ]


def _mean_and_seeds(scores: Sequence[float]) -> str:
    mean = percent(100 * statistics.fmean(scores))
    return mean if len(scores) == 1 else f"{mean} ({', '.join(percent(100 * score) for score in scores)})"


def _instance_table(content: Content) -> Table:
    scores = content["instance"]
    names = {
        "ap": "AP",
        "ap50": "AP50",
        "ap75": "AP75",
        "ap_small": "small",
        "ap_medium": "medium",
        "ap_large": "large",
    }
    shown = [name for name in names if scores.get(name) is not None]
    cells = [percent(100 * scores[name]) for name in shown]
    title = f"Mask AP of {content['model']} on {content['data']}, {content['images']} images"
    row = [content["model"], *cells, milliseconds(content["median_seconds"])]
    return Table(title, ["model", *(names[name] for name in shown), "network, ms"], [row])
