"""Fixtures that several rooms' tests share."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from yoso.categories import Categories, Category
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter

if TYPE_CHECKING:
    from file_server import FileServer

# pytest-xdist sets it to the terminal's width; what is tested is output into a file, which is never wrapped.
os.environ.pop("COLUMNS", None)

# A bug of ours is one line for users, and a traceback here.
os.environ["YOSO_TRACEBACK"] = "1"

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Figures made with the official implementation; see tests/golden/README.md."""
    return GOLDEN


@pytest.fixture(scope="session")
def shared() -> Path:
    """The test data folder: YOSO_SHARED, or `shared` beside the checkout. Tests that use it are marked `data`."""
    folder = Path(os.environ.get("YOSO_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"test data not found in {folder}; set YOSO_SHARED")
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """A data set of eight drawn photographs of 96x128: squares (things), ground and sky (stuff), void, a crowd."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    categories = Categories(
        [
            Category(3, "square", True, (220, 40, 40)),
            Category(7, "sky", False, (80, 140, 240)),
            Category(9, "ground", False, (90, 160, 60)),
        ]
    )
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        writer = PanopticWriter(
            folder / "annotations" / f"panoptic_{split}.json", folder / "annotations" / f"panoptic_{split}", categories
        )
        for index in range(8):
            id_map, segments = np.zeros((96, 128), np.int32), []
            id_map[:40], id_map[44:] = 70000, 300
            segments += [{"id": 70000, "category_id": 7}, {"id": 300, "category_id": 9}]
            for number in range(int(random.integers(1, 5))):
                top, left = int(random.integers(40, 70)), int(random.integers(0, 100))
                id_map[top : top + 24, left : left + 24] = 1000 + number
                segments.append({"id": 1000 + number, "category_id": 3, "iscrowd": int(number == 3)})
            present = set(np.unique(id_map).tolist())
            segments = [segment for segment in segments if segment["id"] in present]
            image = np.zeros((96, 128, 3), np.uint8)
            for segment in segments:
                color = categories[categories.index_of(segment["category_id"])].color
                image[id_map == segment["id"]] = color
            image = (image + random.integers(0, 30, image.shape)).clip(0, 255).astype(np.uint8)
            (folder / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / split / f"{index}.png")
            writer.add(ImageRecord(index, f"{index}.png", f"{index}_mask.png", 96, 128), id_map, segments)
        writer.close()
    return folder


@pytest.fixture(scope="session")
def plant():
    """Make a miniature download of a benchmark: `plant(name, folder)`; see tests/data/miniature_trees.py."""
    from data.miniature_trees import plant

    return plant


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tiny_dataset) -> Path:
    """A model folder: a very small network with random weights, for the classes of `tiny_dataset`."""
    import torch

    from yoso.data.coco_panoptic import read_annotations
    from yoso.model.config import ModelConfig
    from yoso.model.yoso import YOSO
    from yoso.settings import InferenceConfig
    from yoso.weights.model_folder import Model, save_model

    config = ModelConfig(
        backbone="mobilenetv2_100",
        pyramid_channels=(8, 8, 8, 8),
        aggregation_channels=16,
        hidden_channels=16,
        num_stages=1,
        num_queries=12,
        num_heads=2,
        feedforward_channels=16,
        temperature=0.5,
    )
    categories = read_annotations(tiny_dataset / "annotations" / "panoptic_val.json").categories
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = YOSO(config, len(categories)).eval()
    # Thresholds of 0, because random weights are sure of nothing, yet the tests need segments to look at.
    model = Model(network, categories, InferenceConfig(0.0, 0.0, (64, 128)), {"data": "none, random weights"})
    return save_model(tmp_path_factory.mktemp("model") / "tiny", model)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tensors too small to share among threads, which would mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def official_network():
    """The official networks by name, built once; not to be changed."""
    from golden_figures import network_of

    return cache(network_of)


@pytest.fixture(params=["sample", pytest.param("full", marks=pytest.mark.data)], scope="session")
def figures(request):
    """Official figures by file name: the committed sample, and the full ones where the test data is."""
    from golden_figures import Figures

    folder = request.getfixturevalue("shared") / "golden" if request.param == "full" else GOLDEN
    return cache(lambda name: Figures.read(folder / f"{name}.npz"))


@pytest.fixture(scope="session")
def readme_folder(tmp_path_factory, tiny_dataset, tiny_model) -> Path:
    """A folder with the files that README and the guides name; not to be changed."""
    import re
    import shutil

    folder = tmp_path_factory.mktemp("readme")
    (folder / "holiday").mkdir()
    for name in ("street.jpg", "holiday/1.jpg"):
        shutil.copyfile(ROOT / "examples" / "building.jpg", folder / name)
    for split in ("train", "val"):
        shutil.copytree(tiny_dataset / split, folder / split)
        shutil.copytree(tiny_dataset / "annotations" / f"panoptic_{split}", folder / f"panoptic_{split}")
        shutil.copyfile(tiny_dataset / "annotations" / f"panoptic_{split}.json", folder / f"panoptic_{split}.json")
    for name in ("truth", "predictions"):
        shutil.copytree(folder / "panoptic_val", folder / name)
        shutil.copyfile(folder / "panoptic_val.json", folder / f"{name}.json")
    shutil.copytree(tiny_model, folder / "runs" / "mine" / "model")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    described = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert described
    (folder / "mine.yaml").write_text(described[1], encoding="utf-8")
    return folder


@pytest.fixture
def model_cache(tmp_path, monkeypatch) -> Path:
    """The place of an empty cache of fetched models; nothing in the environment forbids or redirects fetching."""
    for name in ("YOSO_OFFLINE", "YOSO_MIRROR", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("YOSO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory) -> Path:
    """A very small official checkpoint, named as the one for COCO."""
    from official_file import small_tensors, write_official

    return write_official(tmp_path_factory.mktemp("official") / "yoso_res50_coco.pth", small_tensors())


@pytest.fixture
def mirror(model_cache, small_checkpoint, monkeypatch) -> Iterator["FileServer"]:
    """A server that models are fetched from; all it has is the small checkpoint, which recipes are made to fit."""
    from file_server import FileServer
    from official_file import SMALL
    from yoso.weights.download import Patience

    monkeypatch.setattr("yoso.weights.conversion.read_recipe", lambda _: SMALL)
    monkeypatch.setattr("yoso.weights.download.Patience", lambda: Patience(0.3, 2, 0.0))
    with FileServer({small_checkpoint.name: small_checkpoint.read_bytes()}) as server:
        monkeypatch.setenv("YOSO_MIRROR", f"{server.address}/")
        yield server
