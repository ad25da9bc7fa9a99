"""Official checkpoints for the tests: a very small one, in the official names, and those of the golden figures."""

import json
from pathlib import Path

import torch

from yoso.categories import Categories, Category
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.settings import InferenceConfig
from yoso.weights.official import our_name
from yoso.weights.official_recipes import Recipe

GOLDEN = Path(__file__).parent / "golden"

SMALL = Recipe(
    ModelConfig(
        backbone="resnet18",
        backbone_options={"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)},
        aggregation_channels=8,
        hidden_channels=16,
        num_queries=6,
        num_heads=2,
        feedforward_channels=16,
        temperature=0.5,
    ),
    InferenceConfig(0.0, 0.0, None),
    Categories([Category(3, "car", True, (1, 2, 3)), Category(8, "sky", False, (4, 5, 6))]),
    {"data": "none"},
)
"""What a recipe would say about the small checkpoint."""


def small_tensors(recipe: Recipe = SMALL, benchmark: str = "coco") -> dict[str, torch.Tensor]:
    """Return the tensors of a small checkpoint, by the official names of a benchmark's."""
    torch.manual_seed(0)
    state, depth = YOSO(recipe.model, len(recipe.categories)).state_dict(), recipe.model.branch_depth
    official = [key for key, _, _ in json.loads((GOLDEN / f"state_dict_{benchmark}_r50.json").read_text())]
    return {key: state[our_name(key, depth)] for key in official if our_name(key, depth) in state}


def write_official(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """Write tensors as the authors publish them."""
    torch.save({"model": tensors}, path)
    return path
