"""Measures how fast panoptic quality is counted: milliseconds per image on one core, ours against the plain rule.

    python benchmarks/pq_speed.py [--rounds 40] [--json FILE]

Output: benchmarks/results/pq_speed.json; exit status 1 if ours is less than 8 times faster

The plain version is a direct implementation of panopticapi's rule: one 64-bit number per pixel for the pair of ids,
`np.unique` over all of them, then loops over pairs and segments. Both versions start from decoded id maps and take
turns, so that a busy machine slows both. The paper gives no figure for this.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoso.categories import Categories, Category
from yoso.evaluation.matching import MatchCounts, count_matches
from yoso.files import write_json
from yoso.provenance import provenance
from yoso.speed.protocol import LatencySummary, interleaved, timer

VOID = 0
OFFSET = 1 << 24
TARGET = 8.0
CPU, WARMUP = torch.device("cpu"), 2
SIZES = (
    ("640x640, 30 segments", 640, 640, 30),
    ("480x640, 30 segments", 480, 640, 30),
    ("1024x2048, 60 segments", 1024, 2048, 60),
)

Segment = dict[str, int]


def plain_counts(
    gt_id_map: np.ndarray,
    gt_segments: list[Segment],
    pred_id_map: np.ndarray,
    pred_segments: list[Segment],
    categories: Categories,
) -> MatchCounts:
    """Count matches by panopticapi's rule, pair by pair.

    Takes (H, W) id maps, 0 is void. As in `count_matches`, areas come from the id maps.
    """
    counts = MatchCounts.zeros(len(categories))
    gt = {s["id"]: {**s, "area": 0} for s in gt_segments}
    pred = {s["id"]: {**s, "area": 0} for s in pred_segments}
    for segments, id_map in ((gt, gt_id_map), (pred, pred_id_map)):
        for segment_id, area in zip(*np.unique(id_map, return_counts=True), strict=True):
            if segment_id in segments:
                segments[segment_id]["area"] = area
    pairs, areas = np.unique(gt_id_map.astype(np.int64) * OFFSET + pred_id_map, return_counts=True)
    overlap = {(pair // OFFSET, pair % OFFSET): area for pair, area in zip(pairs, areas, strict=True)}

    gt_matched, pred_matched = set(), set()
    for (gt_id, pred_id), shared in overlap.items():
        if gt_id not in gt or pred_id not in pred or gt[gt_id].get("iscrowd", 0):
            continue
        if gt[gt_id]["category_id"] != pred[pred_id]["category_id"]:
            continue
        void = overlap.get((VOID, pred_id), 0)
        iou = shared / (pred[pred_id]["area"] + gt[gt_id]["area"] - shared - void)
        if iou > 0.5:
            index = categories.index_of(gt[gt_id]["category_id"])
            counts.true_positive[index] += 1
            counts.iou_sum[index] += iou
            gt_matched.add(gt_id)
            pred_matched.add(pred_id)
    _count_unmatched(counts, (gt, gt_matched), (pred, pred_matched), overlap, categories)
    return counts


def _count_unmatched(
    counts: MatchCounts,
    gt_side: tuple[dict, set],
    pred_side: tuple[dict, set],
    overlap: dict[tuple[int, int], int],
    categories: Categories,
) -> None:
    """Add false negatives and false positives to `counts`."""
    gt, gt_matched = gt_side
    pred, pred_matched = pred_side
    crowd_of_class = {}
    for gt_id, segment in gt.items():
        if gt_id in gt_matched:
            continue
        if segment.get("iscrowd", 0):
            crowd_of_class[segment["category_id"]] = gt_id
        else:
            counts.false_negative[categories.index_of(segment["category_id"])] += 1
    for pred_id, segment in pred.items():
        if pred_id in pred_matched:
            continue
        ignored = overlap.get((VOID, pred_id), 0)
        if segment["category_id"] in crowd_of_class:
            ignored += overlap.get((crowd_of_class[segment["category_id"]], pred_id), 0)
        if ignored / segment["area"] <= 0.5:
            counts.false_positive[categories.index_of(segment["category_id"])] += 1


def synthetic_pair(height: int, width: int, num_segments: int, seed: int) -> tuple[tuple[Any, ...], Categories]:
    """Make a ground truth and a prediction that resemble panoptic maps, with ids as large as those in PNG colors.

    Segments are Voronoi cells with ragged borders; the prediction shifts the cells a little. In the ground truth a
    tenth of the cells are void, and one is a crowd.

    Returns:
        The first four arguments of `count_matches`, and the categories.
    """
    rng = np.random.default_rng(seed)
    categories = Categories(Category(1 + 2 * i, f"class {i}", is_thing=i < 80, color=(0, 0, 0)) for i in range(133))
    centers = rng.uniform((0, 0), (height, width), (num_segments, 2))
    classes = [categories[i].id for i in rng.integers(0, len(categories), num_segments)]
    args: list[Any] = []
    for moved in (0.0, 0.01):
        seeds = centers + rng.normal(0, moved * height, centers.shape)
        cell = _voronoi(height, width, seeds, rng)
        ids = rng.choice(OFFSET - 1, num_segments, replace=False) + 1
        if not moved:
            ids[: num_segments // 10] = VOID
        present = np.unique(cell)
        segments = [
            {"id": int(ids[i]), "category_id": classes[i], "iscrowd": int(not moved and i == num_segments // 10)}
            for i in present
            if ids[i] != VOID
        ]
        args += [ids.astype(np.int32)[cell], segments]
    return tuple(args), categories


def _voronoi(height: int, width: int, centers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (H, W) indices of the nearest center, with noisy borders."""
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    y += rng.normal(0, 0.7, y.shape).astype(np.float32)
    x += rng.normal(0, 0.7, x.shape).astype(np.float32)
    nearest = np.full((height, width), np.inf, np.float32)
    cell = np.zeros((height, width), np.intp)
    for index, (center_y, center_x) in enumerate(centers.astype(np.float32)):
        distance = (y - center_y) ** 2 + (x - center_x) ** 2
        closer = distance < nearest
        nearest[closer], cell[closer] = distance[closer], index
    return cell


def measure(label: str, height: int, width: int, num_segments: int, rounds: int) -> dict[str, Any]:
    """Time both versions on one synthetic image, after checking that their counts are equal."""
    args, categories = synthetic_pair(height, width, num_segments, seed=height + width)
    plain, ours = plain_counts(*args, categories), count_matches(*args, categories)
    for field in vars(plain):
        np.testing.assert_allclose(getattr(ours, field), getattr(plain, field), rtol=1e-12, err_msg=field)
    runs = {"plain": lambda: plain_counts(*args, categories), "ours": lambda: count_matches(*args, categories)}
    taken, _ = interleaved(runs, rounds, WARMUP, timer(CPU))
    plain_ms, ours_ms = (1000 * LatencySummary.of(taken[name]).median for name in runs)
    return {
        "case": label,
        "plain_milliseconds": round(plain_ms, 3),
        "ours_milliseconds": round(ours_ms, 3),
        "times_faster": round(plain_ms / ours_ms, 1),
        "aim": TARGET,
    }


def main() -> int:
    """Measure, print a line per size and write the JSON file; return 1 if a size misses the target."""
    parser = argparse.ArgumentParser(description="Time the counting of panoptic quality against the plain rule.")
    default = Path(__file__).parents[1] / "benchmarks" / "results" / "pq_speed.json"
    parser.add_argument("--json", type=Path, default=default, help="output file")
    parser.add_argument("--rounds", type=int, default=40, help="timed calls per version and size (default: 40)")
    options = parser.parse_args()
    results = []
    for size in SIZES:
        row = measure(*size, rounds=options.rounds)
        results.append(row)
        print(
            f"{row['case']:>24}  plain {row['plain_milliseconds']:8.2f} ms   ours {row['ours_milliseconds']:6.2f} ms"
            f"   {row['times_faster']:5.1f} times faster"
        )
    protocol = f"one thread, decoded id maps, median of {options.rounds} calls in turns after {WARMUP} of warm-up"
    write_json(options.json, {"protocol": protocol, "results": results, **provenance(CPU)}, indent=1)
    print(f"written: {options.json}")
    return 0 if all(row["times_faster"] >= TARGET for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
