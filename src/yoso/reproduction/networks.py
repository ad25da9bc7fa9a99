"""Tables 5 to 10: parameters, operations and latency of whole networks with one setting changed."""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yoso.model.config import ModelConfig
from yoso.preprocess import Size
from yoso.reproduction.modules import device_of, timed
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.sweep_file import Variant, table_variants
from yoso.speed.entry import EntrySpec, TimingSettings
from yoso.speed.images import input_image
from yoso.speed.specs import build
from yoso.speed.work import COUNTED_STAGES, count_work
from yoso.speed.yoso_entries import random_model, write_random_model
from yoso.weights.official_recipes import Recipe, read_recipe

RECIPE = "coco_r50"
SIZE: Size = (800, 1333)
"""Of COCO in the paper; ablations do not state theirs."""

REPEATS = 3


def network_costs(table: str, plan: ReproductionPlan) -> dict[str, Any]:
    """Count and time the network of every row of a table, from the decoded image to the segments.

    The network runs as it is trained, because the deployment form would turn IFA into CFA.

    Args:
        table: "table5" to "table10".
        plan: device and repeats.

    Raises:
        YosoError: a network fails on the device.
    """
    variants, device = table_variants(table), device_of(plan)
    settings = TimingSettings(str(device), threads=torch.get_num_threads())
    pixels = input_image(SIZE)
    rows, runs = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, variant in enumerate(variants):
            recipe = variant_recipe(variant)
            folder = write_random_model(Path(scratch) / str(number), random_model(recipe), SIZE, settings)
            entry = build(EntrySpec(variant.row, str(folder), "eager", SIZE, settings), Path(scratch))
            runs[variant.row] = partial(entry.run, pixels)
            rows.append({"row": variant.row, "parameters": entry.parameters, **_operations(recipe)})
        latencies = timed(runs, plan.repeats or REPEATS, device)
    for row, latency in zip(rows, latencies, strict=True):
        row |= {"seconds": latency["seconds"], "samples": latency["samples"]}
    return {"size": list(SIZE), "rows": rows}


def variant_recipe(variant: Variant) -> Recipe:
    """Return COCO's recipe with the network of a row."""
    recipe = read_recipe(RECIPE)
    changed: ModelConfig = dataclasses.replace(recipe.model, **variant.network)
    return recipe._replace(model=changed)


def _operations(recipe: Recipe) -> dict[str, Any]:
    """Return the operations per stage, a multiply-add counted as two, and those of the deformable convolutions."""
    work = count_work(recipe.model, len(recipe.categories), SIZE)
    stages = {stage: work[stage].flops for stage in COUNTED_STAGES}
    return {"flops": stages, "deformable_flops": work["network"].deformable_flops}
