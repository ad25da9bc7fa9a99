"""Compares YOSO with Mask2Former at the same budget of images or time, on a small data set.

    python benchmarks/compare_mask2former.py RUN/model --budget images|time --output runs/mask2former \
        [--data facades] [--backbone_weights mobilenetv2_100_imagenet.safetensors]

Output: benchmarks/results/mask2former_small_images.json or mask2former_small_time.json, and a Markdown table

RUN is a finished `yoso train` run. Both networks share the backbone and its weights, images, augmentation, schedule
and evaluator. Everything else of Mask2Former (transformers) starts with random weights and keeps its own losses. With
`--budget images` it sees as many images as the run did. With `--budget time` it trains for as many steps as fit into
the time of the run's steps.

Steps of both are timed first, in turns; run this part on an idle machine. Later only steps count, so the training may
be interrupted and may share the machine. A training with the same number of steps in the same output folder is neither
repeated nor scored again, so one training can serve both budgets, for a long and a short RUN.

`yoso.evaluation` scores both on `val`, with thresholds chosen there for both. Both use the merge that both papers
publish, YOSO's. Inference is timed with the merge of transformers for Mask2Former: it multiplies masks by scores
before it compares them with 0.5, so a query with a score below 0.5 makes no segment.

Two settings are not those of Mask2Former's paper: 3,136 points per mask in its losses instead of 12,544, because the
maps of these crops have 6,400 positions; and averaged weights, which both have.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

import yoso
from yoso.data.spec import load_spec
from yoso.data.transforms import collate
from yoso.errors import YosoError
from yoso.evaluation.quality import panoptic_quality
from yoso.evaluation.report import as_json
from yoso.files import read_json, write_json
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess import Sizes
from yoso.preprocess import resize, resized_size
from yoso.provenance import provenance
from yoso.scoring.loop import Prediction
from yoso.scoring.tuning import Grid, ThresholdSearch
from yoso.settings import Thresholds
from yoso.speed.protocol import LatencySummary, interleaved, timer
from yoso.structures import Sample
from yoso.training.callbacks import moving_average
from yoso.training.cli import parse
from yoso.training.config import TrainingConfig
from yoso.training.loaders import Loaders
from yoso.training.module import TrainingModule, make_target
from yoso.training.optimizer import build_optimizer, lr_factor
from yoso.training.run import build_network
from yoso.training.sampling import EndlessSampler

POINTS = 3136
LEARNING_RATE, BACKBONE_SHARE, WEIGHT_DECAY, CLIP = 1e-4, 0.1, 0.05, 0.01
"""As in Mask2Former's paper."""

MASK2FORMER_OPTIONS: dict[str, Any] = {}
"""Changes to the default configuration, which is that of the published model."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OVERLAPS = (0.3, 0.5, 0.8)
CHECKPOINT_EVERY = 100

MaskLogits = tuple[Tensor, Tensor, Sizes]
"""Of one image: class logits (N, K+1), mask logits (N, h, w), and the sizes to resize them to."""


class Encoder(nn.Module):
    """YOSO's backbone with the interface that Mask2Former expects."""

    def __init__(self, network: YOSO) -> None:
        """Take the network's backbone."""
        super().__init__()
        self.backbone = network.backbone
        self.channels = list(network.backbone.channels)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        """Return the four maps."""
        return SimpleNamespace(feature_maps=self.backbone(pixel_values))


def build(network: YOSO, num_classes: int) -> nn.Module:
    """Return Mask2Former on the network's backbone."""
    import transformers

    transformers.logging.set_verbosity_error()
    sizes = list(network.backbone.channels)
    stages = [f"stage{number}" for number in range(1, 5)]
    # A ResNet of the right widths, to be replaced by our backbone.
    resnet = {"model_type": "resnet", "hidden_sizes": sizes, "depths": [1] * 4, "layer_type": "basic"}
    config = transformers.Mask2FormerConfig(
        num_labels=num_classes,
        train_num_points=POINTS,
        backbone_config={**resnet, "out_features": stages},
        **MASK2FORMER_OPTIONS,
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config)
    model.model.pixel_level_module.encoder = Encoder(network)
    return model.to(memory_format=torch.channels_last)


def batch_loss(model: nn.Module, network: YOSO, samples: list[Sample]) -> Tensor:
    """Return Mask2Former's loss of a batch."""
    size = padded_size([sample.image.shape[-2:] for sample in samples])
    targets = [make_target(sample, size) for sample in samples]
    images = network.prepare([sample.image for sample in samples])
    return model(
        pixel_values=images.contiguous(memory_format=torch.channels_last),
        pixel_mask=torch.ones(len(samples), *size, dtype=torch.long),
        mask_labels=[target.masks.float() for target in targets],
        class_labels=[target.labels.long() for target in targets],
    ).loss


def batches(loaders: Loaders, config: TrainingConfig, seen: int) -> Iterator[list[Sample]]:
    """Yield batches in the order of `yoso train`, starting after `seen` images."""
    sampler = EndlessSampler(len(loaders.training), config.run.seed, seen)
    yield from DataLoader(
        loaders.samples(),
        batch_size=config.run.batch_size,
        sampler=sampler,
        num_workers=config.run.workers,
        collate_fn=collate,
    )


class Training:
    """Mask2Former's training, which can resume from a checkpoint.

    Attributes:
        model: Mask2Former.
        averaged: the same network with averaged weights.
        network: the YOSO that provides the backbone and the preparation of images.
        iterations: how many steps to take.
        step: how many steps have been taken.
    """

    def __init__(self, config: TrainingConfig, loaders: Loaders, iterations: int, folder: Path) -> None:
        """Start, or resume from the checkpoint in `folder`."""
        self.config, self.loaders, self.iterations = config, loaders, iterations
        self.path, self.step = folder / f"{iterations}_steps.pt", 0
        self.network = build_network(config, loaders.categories)
        torch.manual_seed(config.run.seed)
        self.model = build(self.network, len(loaders.categories)).train()
        self.averaged = AveragedModel(self.model, avg_fn=moving_average(config.run.ema_decay))
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups[".encoder.backbone." in name].append(parameter)
        rates = [{"params": groups[True], "lr": LEARNING_RATE * BACKBONE_SHARE}, {"params": groups[False]}]
        self.optimizer = torch.optim.AdamW(rates, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.bases = [group["lr"] for group in self.optimizer.param_groups]
        if self.path.is_file():
            saved = torch.load(self.path, weights_only=True)
            for part, state in saved["parts"].items():
                getattr(self, part).load_state_dict(state)
            self.step = saved["step"]

    def take_step(self, samples: list[Sample]) -> float:
        """Take one step and return the loss."""
        factor = lr_factor(self.config.schedule, self.iterations)(self.step)
        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = base * factor
        torch.manual_seed(self.step)
        loss = batch_loss(self.model, self.network, samples)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        self.step += 1
        return loss.item()

    def run(self) -> None:
        """Train until all steps are taken."""
        if self.step >= self.iterations:
            return
        for samples in batches(self.loaders, self.config, self.step * self.config.run.batch_size):
            loss = self.take_step(samples)
            if self.step % 20 == 0:
                print(f"step {self.step}/{self.iterations} loss {loss:.3f}", flush=True)
            if self.step >= self.iterations or self.step % CHECKPOINT_EVERY == 0:
                self.save()
            if self.step >= self.iterations:
                return

    def save(self) -> None:
        """Write the checkpoint under another name, then rename it."""
        parts = {part: getattr(self, part).state_dict() for part in ("model", "averaged", "optimizer")}
        temporary = self.path.with_suffix(".part")
        torch.save({"parts": parts, "step": self.step}, temporary)
        temporary.replace(self.path)


def step_seconds(config: TrainingConfig, loaders: Loaders, repeats: int, path: Path) -> dict[str, float]:
    """Return the median seconds of a step of each network, timed in turns; from `path` if they were measured before."""
    if path.is_file():
        return read_json(path)["seconds"]
    module = TrainingModule(build_network(config, loaders.categories).train(), config, loaders.categories)
    optimizer = build_optimizer(module.network, config.optimizer)
    mask2former = Training(config, loaders, repeats + 2, path.parent / "timed")
    source = batches(loaders, config, 0)
    samples = [next(source) for _ in range(4)]
    position = {"yoso": 0, "mask2former": 0}

    def batch_of(name: str) -> list[Sample]:
        position[name] += 1
        return samples[position[name] % len(samples)]

    def yoso_step() -> None:
        torch.stack(list(module.losses(batch_of("yoso")).values())).sum().backward()
        nn.utils.clip_grad_norm_(module.network.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    steps = {"yoso": yoso_step, "mask2former": lambda: mask2former.take_step(batch_of("mask2former"))}
    taken, errors = interleaved(steps, repeats, 2, timer(torch.device("cpu")))
    if errors:
        raise YosoError(next(iter(errors.values())))
    medians = {name: LatencySummary.of(values).median for name, values in taken.items()}
    write_json(path, {"seconds": medians, "samples": taken, **provenance(torch.device("cpu"))}, indent=1)
    return medians


class TrainedMask2Former:
    """A trained Mask2Former that segments images, with its own post-processing."""

    def __init__(self, model: nn.Module, network: YOSO, config: TrainingConfig, is_thing: tuple[bool, ...]) -> None:
        """Take the model."""
        import transformers

        self.model, self.network, self.input_size = model.eval(), network.eval(), config.inference.input_size
        self.stuff = {index for index, thing in enumerate(is_thing) if not thing}
        self.processor = transformers.Mask2FormerImageProcessor(size={"shortest_edge": 320, "longest_edge": 640})

    @torch.inference_mode()
    def outputs(self, image: np.ndarray) -> Any:
        """Run the network."""
        size = resized_size(image.shape[:2], self.input_size)
        tensor = torch.from_numpy(resize(image, size).copy()).permute(2, 0, 1)
        images = self.network.prepare([tensor]).contiguous(memory_format=torch.channels_last)
        return self.model(pixel_values=images)

    def logits(self, image: np.ndarray) -> MaskLogits:
        """Return the inputs of YOSO's merge: class logits (N, K+1), mask logits (N, h, w) and the sizes."""
        outputs = self.outputs(image)
        size = resized_size(image.shape[:2], self.input_size)
        sizes = Sizes(padded_size([size]), size, image.shape[:2])
        return outputs.class_queries_logits[0], outputs.masks_queries_logits[0], sizes

    def merged(self, outputs: Any, image: np.ndarray, threshold: float, overlap: float) -> tuple[np.ndarray, list]:
        """Return the id map, 0 is void, and a pair of id and class index per segment."""
        result = self.processor.post_process_panoptic_segmentation(
            outputs,
            threshold=threshold,
            overlap_mask_area_threshold=overlap,
            label_ids_to_fuse=self.stuff,
            target_sizes=[image.shape[:2]],
        )[0]
        ids = result["segmentation"].numpy().astype(np.int32)
        return np.where(ids < 0, 0, ids), [(info["id"], info["label_id"]) for info in result["segments_info"]]


def score(outputs: Callable[[np.ndarray], MaskLogits], loaders: Loaders) -> dict[str, Any]:
    """Return the scores on `val` with the best thresholds, and these thresholds."""
    categories, dataset = loaders.categories, loaders.validation
    assert dataset is not None
    search = ThresholdSearch(Grid(THRESHOLDS, OVERLAPS), categories, categories)
    for example in (dataset.example(index) for index in range(len(dataset))):
        search.add(example, Prediction(0.0, logits=outputs(example.image)))
    best = search.best(Thresholds(THRESHOLDS[0], OVERLAPS[0]))
    assert best is not None
    counts = search.counts[THRESHOLDS.index(best.object_mask)][OVERLAPS.index(best.overlap)]
    return {**as_json(panoptic_quality(counts, categories), categories), "thresholds": (best.object_mask, best.overlap)}


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Print the rows as Markdown."""
    print("| | PQ | things | stuff | images seen | images/s in training | inference, ms |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        shares = " | ".join(f"{100 * (row['scores'][group]['pq'] or 0):.1f}" for group in ("all", "things", "stuff"))
        speed, wait = row["images_per_second"], 1e3 * row["inference_seconds"]
        print(f"| {name} | {shares} | {row['images_seen']} | {speed:.2f} | {wait:.0f} |")


def main() -> int:
    """Train, score and time; print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description="Train Mask2Former as a YOSO was trained, and compare both.")
    parser.add_argument("run", type=Path, help="model folder of a finished run")
    parser.add_argument("--budget", choices=["images", "time"], required=True, help="what both get equally much of")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints and step times")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each network (default: 12)")
    parser.add_argument("--json", type=Path, help="output file (default: mask2former_small_BUDGET.json)")
    options, more = parser.parse_known_args()
    try:
        config, _ = parse([str(options.run.parent / "recipe.yaml"), *more])
        config = replace(config, start=None)
        loaders = Loaders(config, load_spec(config.data))
        options.output.mkdir(parents=True, exist_ok=True)
        step = step_seconds(config, loaders, options.steps, options.output / "steps.json")
    except YosoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    share = 1 if options.budget == "images" else step["yoso"] / step["mask2former"]
    training = Training(config, loaders, max(1, round(share * config.run.iterations)), options.output)
    training.run()
    mask2former = TrainedMask2Former(training.averaged.module, training.network, config, loaders.categories.is_thing)
    predictor = yoso.load(str(options.run), runtime="torch")
    assert loaders.validation is not None
    image = loaders.validation.example(0).image
    runs = {
        "yoso": lambda: predictor(image),
        "mask2former": lambda: mask2former.merged(mask2former.outputs(image), image, 0.5, 0.5),
    }
    taken, _ = interleaved(runs, 10, 2, timer(torch.device("cpu")))
    cached = training.path.with_suffix(".json")
    scores = read_json(cached) if cached.is_file() else score(mask2former.logits, loaders)
    write_json(cached, scores, indent=1)
    steps = {"yoso": config.run.iterations, "mask2former": training.step}
    rows = {
        name: {
            "scores": its_scores,
            "images_seen": steps[name] * config.run.batch_size,
            "training_seconds": steps[name] * step[name],
            "images_per_second": config.run.batch_size / step[name],
            "inference_seconds": LatencySummary.of(taken[name]).median,
        }
        for name, its_scores in (("yoso", score(predictor.outputs, loaders)), ("mask2former", scores))
    }
    about = f"{config.model.backbone} on {Path(config.data).name}, budget: equal {options.budget}"
    result = {"what": about, "rows": rows, **provenance(torch.device("cpu"))}
    path = options.json or Path(__file__).parents[1] / f"benchmarks/results/mask2former_small_{options.budget}.json"
    write_json(path, result, indent=1)
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
