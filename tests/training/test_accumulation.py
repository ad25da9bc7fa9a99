"""Several small batches give the loss and the update of one large batch."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from yoso import errors
from yoso.data.spec import load_spec
from yoso.data.transforms import collate
from yoso.structures import Sample
from yoso.training.config import OptimizerConfig
from yoso.training.loaders import Batch, Batches, Drawn, Loaders, told
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


@pytest.mark.parametrize("more", [{}, TRAINING_ONLY])
def test_parts_of_a_step_are_the_step(recipe, more):
    """All is equal but for BatchNorm's statistics, which are each part's own; so they are frozen here.

    Of two images in float64, and the criterion in float32.
    """
    config = replace(recipe, loss=replace(recipe.loss, mask_sampling="dense", no_object_weight=0.3, **more))
    loaders = Loaders(config, load_spec(config.data))
    samples = [loaders.first(index) for index in range(4)]
    counts = [len(sample.labels) for sample in samples]
    assert counts[0] + counts[1] != counts[2] + counts[3]
    module = TrainingModule(build_network(config, loaders.categories), config, loaders.categories).double().eval()

    whole = module.losses(samples)
    parts = [module.losses(samples[first : first + 2], counts) for first in (0, 2)]
    mean = {name: (parts[0][name] + parts[1][name]) / 2 for name in whole}
    for name, value in whole.items():
        assert mean[name].item() == pytest.approx(value.item(), rel=1e-5), name
    naive = [module.losses(samples[first : first + 2]) for first in (0, 2)]
    assert abs((naive[0]["stage2/mask"] + naive[1]["stage2/mask"]).item() / 2 / whole["stage2/mask"].item() - 1) > 1e-3

    gradients, update = gradients_and_update(module, whole)
    parts = [module.losses(samples[first : first + 2], counts) for first in (0, 2)]
    others, other_update = gradients_and_update(module, {name: (parts[0][name] + parts[1][name]) / 2 for name in whole})
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


def test_errors_of_loading_processes_come_without_their_traceback():
    text = (
        "Caught ImageError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n"
        "yoso.errors.ImageError: a.png: is empty; replace it\n"
    )
    error = told(errors.ImageError(text))
    assert (type(error), str(error)) == (errors.ImageError, "a.png: is empty; replace it")
    killed = told(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert isinstance(killed, errors.OutOfMemoryError)
    assert "--run.workers" in str(killed)
    other = ValueError("else")
    assert told(other) is other


def test_a_damaged_photograph_is_one_line_with_workers_too(recipe, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(recipe.data, data)
    for path in (data / "train").glob("*.png"):
        path.write_bytes(path.read_bytes()[:200])
    config = replace(recipe, data=str(data), run=replace(recipe.run, workers=1))
    loaders = Loaders(config, load_spec(config.data))
    drawn = Drawn(loaders.training, config)
    loader = DataLoader(drawn, sampler=[(0, 0), (1, 1)], batch_size=2, num_workers=1, collate_fn=collate)
    with pytest.raises(errors.ImageError) as error:
        list(Batches(loader, 2))
    assert "0.png" in str(error.value)
    assert "Traceback" not in str(error.value)
    assert "\n" not in str(error.value)
