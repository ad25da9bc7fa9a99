import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from yoso.postprocess import Sizes
from yoso.settings import Thresholds

CONFIGS = ("coco", "cityscapes", "ade20k", "mapillary")


@dataclass(frozen=True)
class Case:
    """What goes into the post-processing and what the official implementation makes of it."""

    class_logits: Tensor
    mask_logits: Tensor
    sizes: Sizes
    is_thing: list[bool]
    thresholds: Thresholds
    segmentation: np.ndarray
    segments: list[tuple[int, int]]
    areas: list[int]

    @property
    def arguments(self):
        return (self.class_logits, self.mask_logits, self.sizes, self.is_thing, self.thresholds)

    @property
    def numpy_arguments(self):
        return (self.class_logits.numpy(), self.mask_logits.numpy(), *self.arguments[2:])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors of these tests are too small to share among threads, which then mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def official_case(golden):
    arrays = np.load(golden / "postprocess.npz")
    configs = json.loads((golden / "postprocess.json").read_text())

    def load(config: str, index: int) -> Case:
        about = configs[config]
        expected = about["cases"][index]
        class_logits = torch.from_numpy(arrays[f"{config}_cls"])
        if index == 3:
            class_logits[:, -1] += 50
        return Case(
            class_logits,
            torch.from_numpy(arrays[f"{config}_mask"]),
            Sizes((64, 96), tuple(expected["image_size"]), tuple(expected["out_size"])),
            [i in about["thing_ids"] for i in range(about["num_classes"])],
            Thresholds(about["object_mask_threshold"], about["overlap_threshold"]),
            arrays[f"{config}_case{index}"],
            [(s["id"], s["category_id"]) for s in expected["segments_info"]],
            expected["areas"],
        )

    return load


@pytest.fixture(scope="session")
def is_thing(golden):
    configs = json.loads((golden / "postprocess.json").read_text())
    return {name: [i in about["thing_ids"] for i in range(about["num_classes"])] for name, about in configs.items()}
