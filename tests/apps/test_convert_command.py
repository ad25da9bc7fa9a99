import json
import shutil

import numpy as np
import pytest
import torch

from yoso.apps.cli import main
from yoso.class_tables import benchmark_categories
from yoso.inference.loading import load
from yoso.model.yoso import YOSO
from yoso.weights.official_recipes import convertible, read_recipe

COUNTS = {"coco": (80, 53), "cityscapes": (8, 11), "ade20k": (100, 50), "mapillary": (37, 28)}


@pytest.mark.parametrize(("name", "counts"), COUNTS.items())
def test_the_benchmarks_have_their_classes(name, counts):
    categories = benchmark_categories(name)
    things = sum(categories.is_thing)
    assert (things, len(categories) - things) == counts
    assert all(category.name == category.name.strip() for category in categories)


def test_some_classes_by_index():
    assert benchmark_categories("coco").names[0] == "person"
    assert benchmark_categories("coco")[132].id == 200
    assert benchmark_categories("cityscapes").names[11:19] == (
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    )
    assert benchmark_categories("ade20k")[0].id == 0
    assert benchmark_categories("mapillary").names[0] == "Bird"


@pytest.mark.data
def test_coco_is_the_published_list(shared):
    published = json.loads((shared / "data" / "coco_sample" / "panoptic_coco_categories.json").read_text())
    ours = benchmark_categories("coco").to_json()
    assert ours == [{key: entry[key] for key in ("id", "name", "isthing", "color")} for entry in published]


def test_recipes():
    assert convertible() == ["ade20k_r50", "cityscapes_r50", "coco_r50", "mapillary_r50"]
    recipe = read_recipe("mapillary_r50")
    assert (recipe.model.num_queries, recipe.model.branch_depth, recipe.model.temperature) == (150, 3, 0.1)
    assert recipe.inference.input_size == (2048, 2048)
    assert len(recipe.categories) == 65


@pytest.fixture(scope="module")
def official(tmp_path_factory, golden_shapes):
    """An official checkpoint for COCO in names and shapes, with made-up numbers."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for key, shape, dtype in golden_shapes:
        if "int" in dtype:
            tensors[key] = torch.zeros(shape, dtype=torch.int64)
        else:
            tensors[key] = 0.02 * torch.randn(shape, generator=generator)
            if key.endswith("running_var"):
                tensors[key] = tensors[key].abs() + 1
    path = tmp_path_factory.mktemp("official") / "yoso.pth"
    torch.save({"model": tensors}, path)
    return path


@pytest.fixture(scope="module")
def golden_shapes(golden):
    return json.loads((golden / "state_dict_coco_r50.json").read_text())


def test_an_official_checkpoint_becomes_a_model_folder(official, tmp_path, capsys):
    folder = tmp_path / "model"
    for _ in range(2):  # an earlier output is replaced
        assert main(["convert", str(official), str(folder), "--recipe", "coco_r50"]) == 0
        assert str(folder) in capsys.readouterr().out
    predictor = load(folder, "cpu")
    assert isinstance(predictor.engine.network, YOSO)
    assert len(predictor.categories) == 133
    assert predictor.inference.input_size == (800, 1333)
    assert predictor.about["recipe"] == "coco_r50"
    result = predictor(np.zeros((20, 30, 3), np.uint8), input_size=(32, 64), object_mask_threshold=0)
    assert result["segmentation"].shape == (20, 30)
    given = torch.load(official, weights_only=True)["model"]
    proposals = given["yoso_head.kernels.weight"]
    assert torch.equal(predictor.engine.network.decoder.kernels, proposals.flatten(1))


def test_a_model_of_another_origin_is_not_replaced(official, tmp_path, tiny_model, capsys):
    own = shutil.copytree(tiny_model, tmp_path / "own")
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    assert main(["convert", str(official), str(own), "--recipe", "coco_r50"]) == 2
    message = f"error: {own}: holds a model that was not written by `yoso convert`; choose another folder\n"
    assert capsys.readouterr().err == message
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before


def test_keys_that_do_not_fit_are_named(official, tmp_path, capsys):
    tensors = torch.load(official, weights_only=True)["model"]
    del tensors["yoso_head.kernels.bias"]
    tensors["something.else"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "other.pth")
    status = main(["convert", str(tmp_path / "other.pth"), str(tmp_path / "model"), "--recipe", "coco_r50"])
    err = capsys.readouterr().err
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "missing 1 key " in err
    assert "unexpected 1 key (something.else)" in err
    assert not (tmp_path / "model" / "config.json").exists()


def test_another_benchmarks_checkpoint_does_not_fit(official, tmp_path, capsys):
    assert main(["convert", str(official), str(tmp_path / "model"), "--recipe", "ade20k_r50"]) == 2
    assert "has shape (134, 256), the network needs (151, 256)" in capsys.readouterr().err
