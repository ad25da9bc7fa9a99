"""What is collected from other results: figure 4, and what this project adds to the paper."""

from pathlib import Path
from typing import Any

from yoso.files import read_json
from yoso.reproduction.benchmarks import scale_name
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.published import OURS, paper_rows
from yoso.reproduction.result_file import ItemResult, read_item_result
from yoso.speed.results import read_result

FIGURE4_TABLES = ("table1", "table2")

ADDITIONS = {
    "waves beside the coordinates": ("former recipe", "former, without waves"),
    "forced stages": ("former recipe", "former, without forced stages"),
    "per-pixel classes": ("former recipe", "former, without classes of positions"),
    "calibrated start": ("former recipe", "former, without the calibrated start"),
    "kernels at places": ("former, kernels that point at places", "former recipe"),
    "kernels at places and learning rate 1e-3": ("the recipe", "former recipe"),
    "waves, forced stages and per-pixel classes": ("former recipe", "former, without any of the three"),
}
"""Per addition, the variant of `benchmarks/small_recipe.py` with it and the one without it."""

SEARCHES = ("small_recipe.json", "small_recipe_shapes.json")
LATENCIES = ("cpu_r50_512x800.json", "cpu_r50_800x1333.json")
COMPARISONS = {"equal images": "mask2former_small_images.json", "equal time": "mask2former_small_time.json"}


def saved_result(plan: ReproductionPlan, item: str) -> ItemResult | None:
    """Return the result file of an item, None if there is none.

    Raises:
        YosoError: see `read_item_result`.
    """
    path = plan.output / f"{item}.json"
    return read_item_result(path) if path.is_file() else None


def missing_speeds(plan: ReproductionPlan) -> list[str]:
    """Return which tables of figure 4 have no FPS yet."""
    results = {table: saved_result(plan, table) for table in FIGURE4_TABLES}
    return [f"the FPS of {table}" for table, result in results.items() if not result or "fps" not in result.parts]


def speed_accuracy_points(plan: ReproductionPlan) -> dict[str, Any]:
    """Return the points of figure 4: the paper's, and ours with the PQ that was measured, None if it was not."""
    points = []
    for table in FIGURE4_TABLES:
        for row in paper_rows(table):
            if row["fps"] is not None:
                points.append(
                    {"table": table, "source": "paper", **{k: row[k] for k in ("method", "scale", "pq", "fps")}}
                )
        points += _our_points(plan, table)
    return {"points": points}


def _our_points(plan: ReproductionPlan, table: str) -> list[dict[str, Any]]:
    result = saved_result(plan, table)
    if result is None or "fps" not in result.parts:
        return []
    points = []
    for row in result.parts["fps"].content["rows"]:
        scored = result.parts.get(f"pq_{scale_name(row['size'])}")
        pq = None if scored is None else 100 * scored.content["all"]["pq"]
        scale = f"{row['size'][0]},{row['size'][1]}"
        fps = 1 / row["end_to_end"]["median"]
        points.append({"table": table, "source": "here", "method": OURS, "scale": scale, "pq": pq, "fps": fps})
    return points


def missing_results(plan: ReproductionPlan) -> list[str]:
    """Return which results of `benchmarks/` are not there."""
    names = (*SEARCHES, *LATENCIES, *COMPARISONS.values())
    return [f"{plan.results / name}" for name in names if not (plan.results / name).is_file()]


def additions(plan: ReproductionPlan) -> dict[str, Any]:
    """Return what each addition of this project gives, from the results of `benchmarks/`."""
    return {
        "training": [row for name in SEARCHES for row in _training_rows(plan.results / name)],
        "latency": [row for name in LATENCIES for row in _latency_rows(plan.results / name)],
        "mask2former": [
            {"budget": budget, **row}
            for budget, name in COMPARISONS.items()
            for row in _comparison_rows(plan.results / name)
        ],
    }


def _training_rows(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    scores: dict[str, list[float]] = {}
    for row in content["rows"]:
        scores.setdefault(row["variant"], []).append(row["all"])
    return [
        {
            "addition": addition,
            "what": content["what"],
            "with": scores[with_it],
            "without": scores[without],
            "source": path.name,
        }
        for addition, (with_it, without) in ADDITIONS.items()
        if with_it in scores and without in scores
    ]


def _latency_rows(path: Path) -> list[dict[str, Any]]:
    """Return, for the forms that run in PyTorch, medians end to end and of the merge."""
    entries = {entry.mode.runtime: entry for entry in read_result(path).entries if entry.name.startswith("coco_r50")}
    rows = []
    for runtime in ("official", "eager", "torch", "onnxruntime"):
        entry = entries[runtime]
        assert entry.end_to_end is not None
        rows.append(
            {
                "form": runtime,
                "size": list(entry.size),
                "seconds": entry.end_to_end.median,
                "merge_seconds": entry.stages.get("merge"),
                "source": path.name,
            }
        )
    return rows


def _comparison_rows(path: Path) -> list[dict[str, Any]]:
    keys = ("images_seen", "training_seconds", "inference_seconds")
    return [
        {
            "network": name,
            **{group: row["scores"][group]["pq"] for group in ("all", "things", "stuff")},
            **{key: row[key] for key in keys},
            "source": path.name,
        }
        for name, row in read_json(path)["rows"].items()
    ]
