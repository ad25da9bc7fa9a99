"""Mask2Former on the same small data set: same backbone and weights, images, augmentation, schedule, and evaluator.

    python benchmarks/compare_mask2former.py RUN/model --budget images|time --output runs/mask2former \
        [--data facades] [--backbone_weights mobilenetv2_100_imagenet.safetensors]

RUN is a finished `yoso train` run. With `--budget images` Mask2Former (transformers, random weights but for the
backbone, its own losses and post-processing) sees as many images as that run did, with `--budget time` as many as it
could in the time that run's steps take: steps of both are timed first, in turns, on an idle machine (`--steps` of them,
kept in the output folder); from there on only steps are counted, so the training may be stopped and started and share
its machine. A training of as many steps in the same output folder is neither repeated nor scored again, so that one can
serve both budgets, for a long and a short RUN. Both are then scored on `val` by `yoso.evaluation`, thresholds chosen
there for both, and timed in turns. Writes a JSON and prints a Markdown table.

Both are scored with the merge that both papers publish, ours. The one in transformers, which is timed, multiplies masks
by scores before it compares them with 0.5, so that a query with a score below that makes no segment.

What is not its paper's: the points of its losses (the maps of these crops have 6,400 positions, so 3,136 points rather
than 12,544 a mask), and the averaged weights, which both have.
"""

import argparse
import json
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
from yoso.files import write_json
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess import Sizes
from yoso.preprocess import resize, resized_size
from yoso.scoring.loop import Prediction
from yoso.scoring.tuning import Grid, ThresholdSearch
from yoso.settings import Thresholds
from yoso.speed.machine import circumstances
from yoso.speed.protocol import Spread, interleaved, seconds
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
"""Mask2Former's own."""

PEER: dict[str, Any] = {}
"""Options of its configuration, beside the defaults, which are those of the published model."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OVERLAPS = (0.3, 0.5, 0.8)
CHECKPOINT_EVERY = 100

MaskLogits = tuple[Tensor, Tensor, Sizes]
"""Of one image: class logits (N, K+1), mask logits (N, h, w), and what they are resized to."""


class Encoder(nn.Module):
    """Our backbone, as Mask2Former takes one."""

    def __init__(self, network: YOSO) -> None:
        """Take over the network's backbone."""
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
    # A ResNet of the right widths, which holds the place until our backbone takes it.
    resnet = {"model_type": "resnet", "hidden_sizes": sizes, "depths": [1] * 4, "layer_type": "basic"}
    config = transformers.Mask2FormerConfig(
        num_labels=num_classes,
        train_num_points=POINTS,
        backbone_config={**resnet, "out_features": stages},
        **PEER,
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
    """Yield batches in the order in which `yoso train` sees them, from the image `seen` on."""
    sampler = EndlessSampler(len(loaders.training), config.run.seed, seen)
    yield from DataLoader(
        loaders.samples(),
        batch_size=config.run.batch_size,
        sampler=sampler,
        num_workers=config.run.workers,
        collate_fn=collate,
    )


class Training:
    """Mask2Former's training, which can be stopped at any checkpoint.

    Attributes:
        model: Mask2Former.
        averaged: the same with the running mean of its weights.
        network: the YOSO that its backbone and its preparation of images are taken from.
        iterations: how many steps there shall be.
        step: steps taken.
    """

    def __init__(self, config: TrainingConfig, loaders: Loaders, iterations: int, folder: Path) -> None:
        """Begin, or go on from the checkpoint in `folder`."""
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
        """Train to the end."""
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
        """Write the checkpoint aside, then rename it."""
        parts = {part: getattr(self, part).state_dict() for part in ("model", "averaged", "optimizer")}
        aside = self.path.with_suffix(".part")
        torch.save({"parts": parts, "step": self.step}, aside)
        aside.replace(self.path)


def step_seconds(config: TrainingConfig, loaders: Loaders, repeats: int, path: Path) -> dict[str, float]:
    """Return what a step of either takes, the median over batches in turns; from `path` if it was measured before."""
    if path.is_file():
        return json.loads(path.read_text())["seconds"]
    module = TrainingModule(build_network(config, loaders.categories).train(), config, loaders.categories)
    optimizer = build_optimizer(module.network, config.optimizer)
    peer = Training(config, loaders, repeats + 2, path.parent / "timed")
    drawn = batches(loaders, config, 0)
    several = [next(drawn) for _ in range(4)]
    place = {"yoso": 0, "mask2former": 0}

    def batch_of(name: str) -> list[Sample]:
        place[name] += 1
        return several[place[name] % len(several)]

    def ours() -> None:
        torch.stack(list(module.losses(batch_of("yoso")).values())).sum().backward()
        nn.utils.clip_grad_norm_(module.network.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    steps = {"yoso": ours, "mask2former": lambda: peer.take_step(batch_of("mask2former"))}
    taken, errors = interleaved(steps, repeats, 2, seconds(torch.device("cpu")))
    if errors:
        raise YosoError(next(iter(errors.values())))
    medians = {name: Spread.of(values).median for name, values in taken.items()}
    write_json(path, {"seconds": medians, "samples": taken, **circumstances(torch.device("cpu"))}, indent=1)
    return medians


class Peer:
    """A trained Mask2Former that segments photographs, with its own post-processing."""

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
        """Return what our merge takes: class logits (N, K+1), mask logits (N, h, w) and the sizes."""
        outputs = self.outputs(image)
        size = resized_size(image.shape[:2], self.input_size)
        sizes = Sizes(padded_size([size]), size, image.shape[:2])
        return outputs.class_queries_logits[0], outputs.masks_queries_logits[0], sizes

    def merged(self, outputs: Any, image: np.ndarray, threshold: float, overlap: float) -> tuple[np.ndarray, list]:
        """Return ids, 0 for none, and class indices by id."""
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
    """Return the best figures on `val` over the thresholds, and which they were."""
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
    """Train, score, time, print."""
    parser = argparse.ArgumentParser(description="Train Mask2Former as a YOSO was trained, and compare.")
    parser.add_argument("run", type=Path, help="the model folder of a finished run")
    parser.add_argument("--budget", choices=["images", "time"], required=True)
    parser.add_argument("--output", type=Path, required=True, help="for checkpoints")
    parser.add_argument("--steps", type=int, default=12, help="how many steps of either are timed")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/mask2former_small_BUDGET.json")
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
    peer = Peer(training.averaged.module, training.network, config, loaders.categories.is_thing)
    ours = yoso.load(str(options.run), runtime="torch")
    assert loaders.validation is not None
    image = loaders.validation.example(0).image
    runs = {"yoso": lambda: ours(image), "mask2former": lambda: peer.merged(peer.outputs(image), image, 0.5, 0.5)}
    taken, _ = interleaved(runs, 10, 2, seconds(torch.device("cpu")))
    scored = training.path.with_suffix(".json")
    peer_scores = json.loads(scored.read_text()) if scored.is_file() else score(peer.logits, loaders)
    write_json(scored, peer_scores, indent=1)
    steps = {"yoso": config.run.iterations, "mask2former": training.step}
    rows = {
        name: {
            "scores": scores,
            "images_seen": steps[name] * config.run.batch_size,
            "training_seconds": steps[name] * step[name],
            "images_per_second": config.run.batch_size / step[name],
            "inference_seconds": Spread.of(taken[name]).median,
        }
        for name, scores in (("yoso", score(ours.outputs, loaders)), ("mask2former", peer_scores))
    }
    about = f"{config.model.backbone} on {Path(config.data).name}, budget: equal {options.budget}"
    result = {"what": about, "rows": rows, **circumstances(torch.device("cpu"))}
    path = options.json or Path(__file__).parents[1] / f"benchmarks/results/mask2former_small_{options.budget}.json"
    write_json(path, result, indent=1)
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
