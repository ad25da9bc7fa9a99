"""The largest batch that fits is found, and one that does not fit is named."""

from dataclasses import replace

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yoso.apps.cli import main
from yoso.data.samples import training_sample
from yoso.data.spec import load_spec
from yoso.errors import ConfigError, OutOfMemoryError
from yoso.training import memory
from yoso.training.loaders import Loaders
from yoso.training.memory import USABLE_SHARE, largest_that_fits, memory_limit
from yoso.training.module import TrainingModule
from yoso.training.resume import resumable
from yoso.training.run import build_network, prepare, train

SIZES = [1, 2, 4, 8, 16]


@given(st.integers(0, 50), st.integers(1, 20), st.integers(0, 400))
def test_the_largest_batch_below_the_limit_is_found(base, per_image, limit):
    tried = []

    def peak(count):
        tried.append(count)
        return base + count * per_image

    found = largest_that_fits(SIZES, peak, limit)
    assert found == max([size for size in SIZES if peak(size) <= limit], default=0)


@given(st.integers(0, 20))
def test_a_batch_that_runs_out_of_memory_does_not_fit(most):
    def peak(count):
        if count > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return 0

    assert largest_that_fits(SIZES, peak, 10) == max([size for size in SIZES if size <= most], default=0)


def test_a_batch_that_cannot_fit_is_not_tried():
    tried = []
    largest_that_fits(SIZES, lambda count: tried.append(count) or 100 + count, 103)
    assert tried == [0, 1, 2]


def test_other_errors_are_not_swallowed():
    def peak(count):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        largest_that_fits(SIZES, peak, 10)


@pytest.fixture
def greedy(monkeypatch):
    """Pretend that a step takes 1 GB and half a GB per image."""
    monkeypatch.setattr(memory.MemoryProbe, "peak", lambda self, count: 10**9 + count * 5 * 10**8)


def test_a_batch_is_split_until_it_fits(changed, greedy):
    config, loaders, _ = prepare(changed(batch_size=12, auto_batch=True, memory_gigabytes=3.2 / USABLE_SHARE))
    assert (config.run.batch_size, config.run.accumulate, config.run.auto_batch) == (4, 6, False)
    assert config.run.images_per_step == 24
    assert loaders.config is config


def test_batch_auto_from_the_command_line(changed, greedy, as_yaml, tmp_path, capsys):
    recipe = changed(iterations=1, batch_size=4, accumulate=1, validate_every=0, memory_gigabytes=2.4)
    assert main(["train", as_yaml(recipe), "--batch", "auto"]) == 0
    recorded = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["run"]
    assert (recorded["batch_size"], recorded["accumulate"]) == (2, 2)
    capsys.readouterr()
    status = main(["train", as_yaml(replace(recipe, output=str(tmp_path / "b"))), "--batch=auto", "--run.devices=2"])
    assert status == 2
    assert "one process" in capsys.readouterr().err


def test_an_error_if_not_even_one_image_fits(changed, greedy):
    with pytest.raises(OutOfMemoryError, match=r"batch of 1 .*\d\.png, 96x64 with \d segments; train with a smaller"):
        prepare(changed(auto_batch=True, memory_gigabytes=0.5))


def test_the_probe_takes_a_whole_step_and_does_not_change_the_network(recipe):
    loaders = Loaders(recipe, load_spec(recipe.data))
    network = build_network(recipe, loaders.categories).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trial = memory.MemoryProbe(network, recipe, loaders, torch.device("cpu"))
    assert 10**8 < trial.peak(0) <= trial.peak(2) < memory_limit(torch.device("cpu"))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    tried = trial.module.network.state_dict()
    assert not torch.equal(tried["aggregator.embed.weight"], before["aggregator.embed.weight"])
    counts = [len(sample.labels) for sample in trial.samples]
    assert counts[0] == max(
        len(training_sample(loaders.training, index).labels) for index in range(len(loaders.training))
    )


def test_out_of_memory_names_the_batch_and_the_options_that_help(recipe, as_yaml, monkeypatch, capsys):
    def losses(self, samples, step_counts=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(TrainingModule, "losses", losses)
    assert main(["train", as_yaml(recipe)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for words in ("at iteration 1", "batch of 2", ".png, 96x64 with", "--batch auto", "--batch 1 --accumulate 4"):
        assert words in line


def test_resuming_takes_the_split_of_the_run(changed, as_yaml):
    train(changed(iterations=1, batch_size=1, accumulate=2, validate_every=0))
    config = resumable(changed(batch_size=2, accumulate=1, auto_batch=True))
    assert (config.run.batch_size, config.run.accumulate) == (1, 2)
    with pytest.raises(ConfigError, match="started with 2 images per step in 2 parts"):
        resumable(changed(batch_size=2, accumulate=2))
