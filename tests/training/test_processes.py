"""Several processes train as one: the same losses, weights and panoptic quality."""

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from warm_start import WARM, begin, ended, wait_for
from yoso.apps.cli import main
from yoso.data.coco_panoptic import read_annotations
from yoso.data.spec import load_spec
from yoso.errors import ConfigError
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.training import processes
from yoso.training.checkpoints import newest_checkpoint, saved_checkpoints
from yoso.training.cli import parse
from yoso.training.config import RunConfig
from yoso.training.loaders import Loaders
from yoso.training.module import TrainingModule
from yoso.training.processes import SynchronisedBatchNorm, as_launched, synchronise
from yoso.training.run import build_network, train
from yoso.weights.load import load_model

# Rounding is all that may differ: the sums run in another order. In float32 that is not little here, since BatchNorm
# over few positions enlarges it: one process that sees the same images in another order differs from itself by 1e-3 in
# a term. So both sides compute in float64, but for the criterion, which is in float32 always: 5e-7 was measured in a
# term. AdamW turns a gradient whose very sign is rounding into a whole step, hence the wider bound on the weights, of
# which 1.4e-6 was measured.
LOSS_TOLERANCE = 5e-6
WEIGHT_TOLERANCE = 1e-4  # of the way that the weights went


def train_and_score(recipe, model, threads):
    """Train, and evaluate a model; return its panoptic quality and the number of images, as one of two processes."""
    torch.set_num_threads(threads)
    assert main(["train", recipe, "--batch", "2"]) == 0
    config, _ = parse([recipe])
    found = load_model(model)
    module = TrainingModule(found.network, config, found.categories)
    trainer = Trainer(
        accelerator="cpu", devices=2, logger=False, use_distributed_sampler=False, enable_progress_bar=False
    )
    trainer.validate(module, datamodule=Loaders(config, load_spec(config.data)), verbose=False)
    result, count = module.quality()
    return result.all.pq, count


def launched(target, start_method, **settings):
    """Return the launcher of torchrun, as an object: `launched(...)(*arguments)` returns what each process returned."""
    config = LaunchConfig(rdzv_backend="c10d", max_restarts=0, **settings)
    config.start_method = start_method
    return elastic_launch(config, target)


def in_two_processes(target, *arguments):
    """Call a function in two processes of torchrun's launcher, which begin with the packages loaded."""
    here = {"min_nodes": 1, "max_nodes": 1, "nproc_per_node": 2, "rdzv_endpoint": "localhost:0"}
    return launched(target, WARM.get_start_method(), **here)(*arguments)


def train_on_one_of_two_machines(meeting, recipe):
    """Be the agent of a machine with one process, which is forked from this one, that has the packages loaded."""
    machines = {"min_nodes": 2, "max_nodes": 2, "nproc_per_node": 1, "rdzv_endpoint": meeting, "run_id": "test"}
    launched(main, "fork", **machines)(["train", recipe])


def logged(folder, name):
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [event.value for event in events.Scalars(name)]


def weights(folder):
    (path,) = folder.glob("checkpoints/*3.ckpt")
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this build of torch lacks gloo")
def test_two_processes_equal_one_with_twice_the_batch(recipe, as_yaml, tmp_path, tiny_model):
    model = replace(recipe.model, backbone_norm="trainable")
    run = replace(recipe.run, iterations=3, batch_size=4, accumulate=1, ema_decay=0.0, precision="64-true")
    alone = replace(recipe, model=model, loss=replace(recipe.loss, mask_sampling="dense"), run=run)
    both = replace(alone, output=str(tmp_path / "both"), inference=load_model(tiny_model).inference)
    scored = in_two_processes(train_and_score, as_yaml(both), str(tiny_model), torch.get_num_threads())
    start = fresh_parameters(alone)
    train(alone)

    for name in ("loss", "stage0/mask", "stage1/class", "stage2/class", "stage2/dice"):
        one, two = logged(tmp_path / "run", f"train/{name}"), logged(tmp_path / "both", f"train/{name}")
        assert len(one) == len(two) == 3
        assert two == pytest.approx(one, rel=LOSS_TOLERANCE), name
    one, two = weights(tmp_path / "run"), weights(tmp_path / "both")
    assert one.keys() == two.keys()
    moved = sum(float((one[key] - start[key]).square().sum()) for key in one if key in start)
    apart = sum(float((one[key] - two[key]).square().sum()) for key in one if key in start)
    assert apart**0.5 < WEIGHT_TOLERANCE * moved**0.5

    # Exactly the same panoptic quality, for the same weights.
    found, loaders = load_model(tiny_model), Loaders(both, load_spec(both.data))
    module = TrainingModule(found.network, both, found.categories)
    with torch.inference_mode():
        for index in range(len(loaders.validation)):
            module.validation_step([loaders.validation.example(index)], index)
    result, count = module.quality()
    assert scored == {0: (result.all.pq, count), 1: (result.all.pq, count)}
    assert count == 8
    assert result.all.pq > 0


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this build of torch lacks gloo")
def test_a_run_of_two_machines_is_resumed_on_one(recipe, as_yaml, tmp_path, capsys):
    """Two agents of torchrun find each other; SIGTERM to both leaves a whole checkpoint, and `--resume` takes it."""
    run = replace(recipe.run, iterations=1000, accumulate=1, checkpoint_every=1000, validate_every=0)
    path, log = as_yaml(replace(recipe, run=run)), tmp_path / "run/train.log"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = f"localhost:{free.getsockname()[1]}"
    outputs = [tmp_path / f"output{number}" for number in range(2)]
    agents = [begin(output, train_on_one_of_two_machines, meeting, path) for output in outputs]
    wait_for(lambda: log.is_file() and "iteration 2/" in log.read_text(), agents[0])
    for agent in agents:
        agent.terminate()
    # Of torchrun itself; its processes have ended well.
    assert 0 not in [ended(agent) for agent in agents]
    said = "".join(output.read_text() for output in outputs)
    (checkpoint,) = saved_checkpoints(tmp_path / "run/checkpoints")
    step = int(checkpoint.stem)
    assert 2 <= step < 1000
    assert f"stopped by SIGTERM after iteration {step}" in said

    # One machine that takes both parts of a step goes on; two parts with one would be another step.
    capsys.readouterr()
    options = ["--resume", "--run.iterations", str(step + 2)]
    assert main(["train", path, *options]) == 2
    assert "the run was started with 4 images per step" in capsys.readouterr().err
    assert main(["train", path, *options, "--batch", "4"]) == 0
    assert newest_checkpoint(tmp_path / "run").stem == f"{step + 2:08d}"
    lines = [line for line in log.read_text().splitlines() if f"/{step + 2} " in line]
    assert len(lines) == 2


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this build of torch lacks gloo")
def test_the_command_of_the_documentation(changed, as_yaml, tmp_path):
    """What the tests above call is what torchrun calls; here is torchrun, whose processes load their packages."""
    path = as_yaml(changed(iterations=2, accumulate=1, validate_every=0))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, "-m", "yoso", "train", path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert newest_checkpoint(tmp_path / "run").stem == "00000002"


def fresh_parameters(config):
    categories = read_annotations(Path(config.data) / "annotations" / "panoptic_train.json").categories
    return {f"network.{key}": value.detach() for key, value in build_network(config, categories).named_parameters()}


@pytest.fixture
def twin(monkeypatch):
    """Pretend that a second process does the same with the same data."""
    monkeypatch.setattr(processes, "num_processes", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value, *_: value.mul_(2))


def test_statistics_are_those_of_all_images_together(twin):
    torch.manual_seed(0)
    one = nn.BatchNorm2d(3)
    nn.init.uniform_(one.weight)
    both = SynchronisedBatchNorm(one)
    whole = nn.BatchNorm2d(3)
    whole.load_state_dict(one.state_dict())
    images = torch.randn(2, 3, 4, 5, requires_grad=True)
    doubled = torch.cat([images.detach()] * 2).requires_grad_()
    pull = torch.randn(2, 3, 4, 5)
    result, expected = both(images), whole(doubled)
    torch.testing.assert_close(result, expected[:2])
    (result * pull).sum().backward()
    (expected * torch.cat([pull] * 2)).sum().backward()
    torch.testing.assert_close(images.grad, doubled.grad[:2], rtol=1e-4, atol=1e-6)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(both, name), getattr(whole, name))
    torch.testing.assert_close(both.eval()(images), whole.eval()(images))


@pytest.mark.parametrize("on_gpu", [False, True])
def test_layers_keep_their_activation_and_frozen_ones_do_not_change(on_gpu):
    config = ModelConfig(backbone="mobilenetv2_050", backbone_norm="trainable", num_queries=4)
    network = YOSO(config, 3)
    acting = [module.act for module in network.modules() if isinstance(module, BatchNormAct2d)]
    image = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        before = network.eval()(image).mask_logits
        synchronise(network.train(), on_gpu)
        after = network.eval()(image).mask_logits
    torch.testing.assert_close(before, after)
    kind = nn.SyncBatchNorm if on_gpu else SynchronisedBatchNorm
    changed = [module for module in network.modules() if isinstance(module, kind)]
    assert len(changed) > len(acting) > 10
    assert not any(type(module) in {nn.BatchNorm2d, BatchNormAct2d} for module in network.modules())

    frozen = YOSO(replace(config, backbone_norm="frozen"), 3).train()
    synchronise(frozen, on_gpu)
    assert not any(isinstance(module, kind) for module in frozen.backbone.modules())
    assert any(isinstance(module, kind) for module in frozen.aggregator.modules())


def test_torchrun_sets_the_number_of_processes(monkeypatch):
    run = RunConfig()
    assert as_launched(run) == run
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert (as_launched(run).devices, as_launched(run).nodes, as_launched(run).images_per_step) == (4, 2, 128)
    with pytest.raises(ConfigError, match=r"run.devices is 3, but torchrun started 4"):
        as_launched(replace(run, devices=3))
