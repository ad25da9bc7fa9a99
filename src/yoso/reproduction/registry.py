"""All tables and figures of the paper, what this project adds, and the parts that are measured for each."""

from functools import partial
from typing import Any

from yoso.errors import ConfigError, did_you_mean
from yoso.preprocess import Size
from yoso.reproduction import benchmarks, collected, modules
from yoso.reproduction.networks import network_costs
from yoso.reproduction.plan import SCALES, ItemPart, PaperItem, ReproductionPlan, Scale, public, public_setting
from yoso.reproduction.sweep import iterations, missing_data, sweep_scores
from yoso.reproduction.sweep_file import budget_of, table_variants

GPU = "a GPU"


def _timing(default: int) -> Any:
    """Return a function that gives the conditions of a timed part."""
    return lambda plan: {"device": modules.device_of(plan).type, "repeats": plan.repeats or default}


def _lacks_gpu(plan: ReproductionPlan) -> list[str]:
    return [] if modules.device_of(plan).type == "cuda" else [GPU]


def _sweep(table: str, scale: Scale, data: str) -> ItemPart:
    budget = budget_of(scale)
    num_trainings = len(table_variants(table)) * len(budget.seeds)
    needs = [f"the data set {data}", *([GPU] if scale == "paper" else [])]

    def missing(plan: ReproductionPlan) -> list[str]:
        return missing_data(plan.data or data) + (_lacks_gpu(plan) if scale == "paper" else [])

    def conditions(plan: ReproductionPlan) -> dict[str, Any]:
        settings = [public_setting(setting) for setting in plan.settings]
        return {"data": public(plan.data or data), "iterations": iterations(budget, plan), "settings": settings}

    return ItemPart(
        f"pq_{scale}_{data}",
        f"PQ of {num_trainings} trainings of {budget.iterations:,} iterations, recipe {budget.recipe} on {data}",
        partial(sweep_scores, table, scale, data),
        " and ".join(needs),
        missing,
        f"--scale {scale}" if scale == "paper" else "",
        conditions,
        scale,
        "days" if scale == "paper" else f"{num_trainings} trainings",
    )


def _ablation(table: str, title: str, *more: ItemPart) -> PaperItem:
    network = ItemPart(
        "network",
        "parameters, FLOPs and latency of the whole network, R50 at 800x1333",
        partial(network_costs, table),
        conditions=_timing(3),
    )
    sweeps = [_sweep(table, scale, data) for scale in SCALES[::-1] for data in budget_of(scale).data]
    return PaperItem(table, title, (*more, network, *sweeps))


def _benchmark(table: str, title: str) -> PaperItem:
    which = benchmarks.TABLES[table]
    fps = ItemPart(
        "fps",
        "FPS with random weights, network alone and end to end",
        partial(benchmarks.speed_rows, table),
        conditions=_timing(benchmarks.REPEATS),
    )
    return PaperItem(table, title, (fps, *(_quality(table, which, size) for size in which.scales)))


def _quality(table: str, which: benchmarks.BenchmarkTable, size: Size) -> ItemPart:
    def missing(plan: ReproductionPlan) -> list[str]:
        data = benchmarks.missing_validation(plan.data or which.benchmark)
        return data + benchmarks.missing_weights(which, plan)

    def conditions(plan: ReproductionPlan) -> dict[str, Any]:
        return {"data": public(plan.data or which.benchmark), "model": public(plan.model or which.model)}

    return ItemPart(
        f"pq_{benchmarks.scale_name(size)}",
        f"PQ on validation images at {size[0]}/{size[1]}",
        partial(benchmarks.panoptic_scores, table, size),
        f"the data set {which.benchmark} and the weights {which.model}",
        missing,
        f"--data {which.benchmark} --model {which.model}",
        conditions,
        time="hours on a CPU",
    )


def _supplement() -> PaperItem:
    coco = benchmarks.TABLES["table1"]

    def missing_coco(plan: ReproductionPlan) -> list[str]:
        return benchmarks.missing_validation(plan.data or "coco") + benchmarks.missing_weights(coco, plan)

    paper = ItemPart(
        "mask_ap_paper",
        "mask AP of coco-r50 on COCO",
        partial(benchmarks.mask_ap_scores, "coco-r50", "coco", benchmark="coco"),
        "the data set coco and the weights coco-r50",
        missing_coco,
        "--scale paper --data coco --model coco-r50",
        scale="paper",
        time="hours on a CPU",
    )
    small = ItemPart(
        "mask_ap_small",
        "mask AP of the bundled model on facades",
        partial(benchmarks.mask_ap_scores, "facades-mnv2", "facades"),
        "the data set facades",
        lambda plan: benchmarks.missing_validation(plan.data or "facades"),
        scale="small",
    )
    return PaperItem("supplement", "real-time instance segmentation with the same network", (small, paper))


_AGGREGATION = (
    ItemPart("flops", "FLOPs of single modules, closed form and counted", modules.aggregation_flops, time="seconds"),
    ItemPart(
        "modules",
        "latency and equal outputs of single modules",
        modules.aggregation_latency,
        conditions=_timing(modules.AGGREGATION_REPEATS),
    ),
)
_ATTENTION = (
    ItemPart("flops", "FLOPs of single modules, closed form and counted", modules.attention_flops, time="seconds"),
    ItemPart(
        "modules",
        "latency of single modules",
        modules.attention_latency,
        conditions=_timing(modules.ATTENTION_REPEATS),
    ),
)
_CONTOURS = ItemPart(
    "contours", "ratios by equations 2 and 10, and counted on our modules", modules.contours, time="seconds"
)
_POINTS = ItemPart(
    "points",
    "FPS and PQ, published and ours",
    collected.speed_accuracy_points,
    "the FPS of table1 and table2",
    collected.missing_speeds,
    time="seconds",
)
_ADDITIONS = ItemPart(
    "additions",
    "collected from benchmarks/results",
    collected.additions,
    "the results of benchmarks/",
    collected.missing_results,
    time="seconds",
)

ITEMS = {
    item.id: item
    for item in (
        PaperItem("figure1", "panoptic pipelines compared", drawing="a drawing; its part (d) is `yoso.model.yoso`"),
        PaperItem("figure2", "feature pyramid aggregator", drawing="a drawing of `yoso.model.aggregator`"),
        PaperItem("figure3", "separable dynamic decoder", drawing="a drawing of `yoso.model.decoder`"),
        _benchmark("table1", "panoptic segmentation on COCO"),
        _benchmark("table2", "panoptic segmentation on Cityscapes"),
        _benchmark("table3", "panoptic segmentation on ADE20K"),
        _benchmark("table4", "panoptic segmentation on Mapillary Vistas"),
        PaperItem("figure4", "FPS against PQ on COCO and Cityscapes", (_POINTS,)),
        _ablation("table5", "aggregators", *_AGGREGATION),
        _ablation("table6", "attention modules", *_ATTENTION),
        PaperItem("figure5", "contours of the FLOPs reduction ratio", (_CONTOURS,)),
        _ablation("table7", "number of attention blocks"),
        _ablation("table8", "kernel size of the dynamic convolution"),
        _ablation("table9", "number of stages"),
        _ablation("table10", "number of proposal kernels"),
        _supplement(),
        PaperItem("beyond", "what this project adds to the paper", (_ADDITIONS,)),
    )
}
"""In the order of the paper."""

ALL = "all"


def find_items(names: list[str]) -> list[PaperItem]:
    """Return items by their ids, each once; "all" stands for all.

    Raises:
        ConfigError: there is no such table or figure.
    """
    for name in names:
        if name not in ITEMS and name != ALL:
            raise ConfigError(f"no table or figure {name!r}.{did_you_mean(name, [*ITEMS, ALL])}")
    return [item for item in ITEMS.values() if item.id in names or ALL in names]
