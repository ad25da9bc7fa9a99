"""Several small batches have the loss and the update of one large batch."""

import multiprocessing
import shutil
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from yoso import errors
from yoso.data.spec import load_spec
from yoso.data.transforms import collate
from yoso.loss.config import LossConfig
from yoso.structures import Sample
from yoso.training.cli import parse
from yoso.training.config import OptimizerConfig, RunConfig
from yoso.training.loaders import Batch, Batches, Loaders, original_error
from yoso.training.module import TrainingModule
from yoso.training.optimizer import build_optimizer
from yoso.training.run import build_network


def gradients_and_update(module, terms):
    module.zero_grad()
    sum(terms.values()).backward()
    gradients = {key: value.grad.clone() for key, value in module.named_parameters() if value.grad is not None}
    before = {key: value.detach().clone() for key, value in module.named_parameters()}
    build_optimizer(module.network, OptimizerConfig(lr=1e-3), module.head).step()
    update = {key: value.detach() - before[key] for key, value in module.named_parameters()}
    with torch.no_grad():
        for key, value in module.named_parameters():
            value.copy_(before[key])
    return gradients, update


def norm(tensors):
    return sum(float(value.square().sum()) for value in tensors.values()) ** 0.5


TRAINING_ONLY = {"forced_weight": 0.5, "semantic_weight": 1.0}


def in_parts(module, samples, run):
    """Return the mean of the losses of a step's parts, as the loader deals them out."""
    whole = run.batch_size * run.accumulate
    loader = DataLoader(samples, batch_size=whole, collate_fn=collate)
    parts = [module.losses(*batch) for batch in Batches(loader, run.batch_size)]
    assert len(parts) == run.accumulate
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


ONE_GPU = parse(["coco_r50_1gpu"])[0]


@pytest.mark.parametrize(
    ("loss", "run"),
    [
        (LossConfig(no_object_weight=0.3), RunConfig(batch_size=2, accumulate=2)),
        (LossConfig(no_object_weight=0.3, **TRAINING_ONLY), RunConfig(batch_size=2, accumulate=2)),
        (ONE_GPU.loss, ONE_GPU.run),
    ],
    ids=["two parts", "training only", "coco_r50_1gpu"],
)
def test_the_parts_of_a_step_equal_the_whole_step(recipe, loss, run):
    """All is equal but for BatchNorm's statistics, which are each part's own; so they are frozen here.

    In float64, and the criterion in float32. Points are drawn anew for each part, so that their loss is the same in
    expectation only; compared everywhere it is the same.
    """
    config = replace(recipe, loss=replace(loss, mask_sampling="dense"))
    loaders = Loaders(config, load_spec(config.data))
    samples = [loaders.first(index) for index in range(run.batch_size * run.accumulate)]
    counts = [len(sample.labels) for sample in samples]
    firsts = range(0, len(samples), run.batch_size)
    assert len({sum(counts[first : first + run.batch_size]) for first in firsts}) > 1
    module = TrainingModule(build_network(config, loaders.categories), config, loaders.categories).double().eval()

    whole, mean = module.losses(samples), in_parts(module, samples, run)
    for name, value in whole.items():
        assert mean[name].item() == pytest.approx(value.item(), rel=1e-5), name
    with torch.no_grad():
        naive = [module.losses(samples[first : first + run.batch_size])["stage2/mask"].item() for first in firsts]
    assert abs(sum(naive) / len(naive) / whole["stage2/mask"].item() - 1) > 1e-3

    gradients, update = gradients_and_update(module, whole)
    others, other_update = gradients_and_update(module, in_parts(module, samples, run))
    assert norm({key: gradients[key] - others[key] for key in gradients}) < 1e-5 * norm(gradients)
    assert norm({key: update[key] - other_update[key] for key in update}) < 1e-2 * norm(update)


def sample(count):
    return Sample(
        torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.int32), torch.zeros(count), f"{count}"
    )


def test_every_part_knows_the_targets_of_the_whole_step():
    loader = DataLoader([sample(count) for count in (3, 1, 4, 1, 5, 9, 2, 6)], batch_size=4, collate_fn=collate)
    batches = Batches(loader, 2)
    found = list(batches)
    assert all(isinstance(batch, Batch) for batch in found)
    assert [[len(each.labels) for each in batch.samples] for batch in found] == [[3, 1], [4, 1], [5, 9], [2, 6]]
    assert [batch.step_counts for batch in found] == [[3, 1, 4, 1]] * 2 + [[5, 9, 2, 6]] * 2
    assert batches.waited_seconds > 0


def test_errors_of_loading_processes_have_no_traceback():
    text = (
        "Caught ImageError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n"
        "yoso.errors.ImageError: a.png: is empty; replace it\n"
    )
    error = original_error(errors.ImageError(text))
    assert (type(error), str(error)) == (errors.ImageError, "a.png: is empty; replace it")
    killed = original_error(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert isinstance(killed, errors.OutOfMemoryError)
    assert "--run.workers" in str(killed)
    other = ValueError("else")
    assert original_error(other) is other


def test_a_damaged_image_is_a_one_line_error_with_workers_too(recipe, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(recipe.data, data)
    for path in (data / "train").glob("*.png"):
        path.write_bytes(path.read_bytes()[:200])
    config = replace(recipe, data=str(data), run=replace(recipe.run, workers=1))
    loaders = Loaders(config, load_spec(config.data))
    loader = DataLoader(loaders.samples(), sampler=[(0, 0), (1, 1)], batch_size=2, num_workers=1, collate_fn=collate)
    before = set(multiprocessing.active_children())
    with pytest.raises(errors.ImageError) as error:
        list(Batches(loader, 2))
    assert "0.png" in str(error.value)
    assert "Traceback" not in str(error.value)
    assert "\n" not in str(error.value)
    assert set(multiprocessing.active_children()) <= before  # although the error is held here
