"""A recipe that trains in seconds."""

import json
from dataclasses import asdict, replace

import pytest
import yaml

from yoso.data.augmentation import Augmentation
from yoso.loss.config import LossConfig
from yoso.model.config import ModelConfig
from yoso.settings import InferenceConfig
from yoso.training.config import OptimizerConfig, RunConfig, ScheduleConfig, TrainingConfig


def small_recipe(data, output):
    return TrainingConfig(
        data=str(data),
        model=ModelConfig(
            backbone="mobilenetv2_050", num_queries=8, hidden_channels=32, aggregation_channels=16, num_heads=4
        ),
        backbone_weights="none",
        inference=InferenceConfig(0.1, 0.3, None),
        loss=LossConfig(num_points=64),
        augmentation=Augmentation(size=(64, 96), scale=(0.5, 1.5)),
        optimizer=OptimizerConfig(lr=1e-3),
        schedule=ScheduleConfig(kind="poly"),
        run=RunConfig(
            iterations=4,
            batch_size=2,
            accumulate=2,
            ema_decay=0.9,
            workers=0,
            checkpoint_every=2,
            validate_every=3,
            log_every=1,
            accelerator="cpu",
        ),
        output=str(output),
        about={"data": "tiny"},
    )


@pytest.fixture
def recipe(tiny_dataset, tmp_path):
    return small_recipe(tiny_dataset, tmp_path / "run")


@pytest.fixture(scope="module")
def recipe_of_the_module(tiny_dataset, tmp_path_factory):
    return small_recipe(tiny_dataset, tmp_path_factory.mktemp("module") / "run")


@pytest.fixture
def changed(recipe):
    """Return the recipe with other `run` settings: `changed(iterations=2)`."""
    return lambda **settings: replace(recipe, run=replace(recipe.run, **settings))


@pytest.fixture
def as_yaml(tmp_path):
    """Return a function that writes a recipe to a file that `yoso train` takes."""

    def write(config):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
        return str(path)

    return write
