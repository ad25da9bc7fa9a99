"""Made-up ground truths and predictions, and the two other counters that ours is compared with."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from hotcoco.panoptic import PanopticEval
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yoso.categories import Categories, Category
from yoso.files import write_id_map, write_json

ROOT = Path(__file__).parents[1]
CATEGORIES = Categories(
    [
        Category(7, "person", True, (255, 0, 0)),
        Category(2, "sky", False, (0, 0, 255)),
        Category(90, "car", True, (0, 255, 0)),
        Category(91, "road", False, (9, 9, 9)),
    ]
)
FIELDS = ("iou_sum", "true_positive", "false_positive", "false_negative")


def load_script() -> ModuleType:
    """Return `benchmarks/pq_speed.py`, which holds the rule written plainly."""
    spec = importlib.util.spec_from_file_location("pq_speed", ROOT / "benchmarks" / "pq_speed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def segment(segment_id: int, category_id: int, iscrowd: int = 0) -> dict[str, int]:
    return {"id": segment_id, "category_id": category_id, "iscrowd": iscrowd}


@st.composite
def pairs(draw: st.DrawFn) -> tuple:
    """Draw a pair of small maps: void, crowds (several of a class too), unlisted and pixel-less ids, id gaps."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 9)))
    gt_index = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 5)))
    other = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 5)))
    keep = draw(hnp.arrays(np.bool_, shape, elements=st.booleans() | st.just(True)))
    pred_index = np.where(keep, gt_index, other)
    category_ids = st.sampled_from([category.id for category in CATEGORIES])
    classes = draw(st.lists(category_ids, min_size=5, max_size=5))
    ids = st.lists(st.integers(1, 2**24 - 1) | st.integers(1, 20), min_size=5, max_size=5, unique=True)
    gt_ids, pred_ids = draw(ids), draw(ids)
    listed = draw(st.lists(st.booleans() | st.just(True), min_size=5, max_size=5))
    crowd = draw(st.lists(st.sampled_from([0, 0, 1]), min_size=5, max_size=5))
    same_class = draw(st.lists(st.booleans() | st.just(True), min_size=5, max_size=5))
    gt_segments = [segment(gt_ids[i], classes[i], crowd[i]) for i in range(5) if listed[i]]
    pred_segments = [
        segment(pred_ids[i], classes[i] if same_class[i] else classes[0])
        for i in range(5)
        if (pred_index == i + 1).any()
    ]
    return (
        np.array([0, *gt_ids], np.int32)[gt_index],
        gt_segments,
        np.array([0, *pred_ids], np.int32)[pred_index],
        pred_segments,
    )


def random_pair(rng: np.random.Generator, height: int = 48, width: int = 64, num_segments: int = 14) -> tuple:
    """Return a pair whose segments are blocks of 8 x 8 that the prediction gets partly wrong."""
    blocks = rng.integers(0, num_segments + 1, (height // 8, width // 8))
    classes = rng.choice([category.id for category in CATEGORIES], num_segments)
    gt_index = np.kron(blocks, np.ones((8, 8), int))
    pred_index = np.roll(gt_index, rng.integers(0, 3, 2), (0, 1))
    wrong = np.kron(rng.random(blocks.shape) < 0.15, np.ones((8, 8), bool))
    pred_index = np.where(wrong, rng.integers(0, num_segments + 1), pred_index)
    gt_ids, pred_ids = (rng.choice(2**24 - 1, num_segments, replace=False) + 1 for _ in range(2))
    gt_segments = [
        segment(int(gt_ids[i]), int(classes[i]), int(rng.random() < 0.15))
        for i in range(num_segments)
        if rng.random() < 0.95
    ]
    pred_segments = [
        segment(int(pred_ids[i]), int(classes[i] if rng.random() < 0.9 else CATEGORIES[0].id))
        for i in range(num_segments)
        if (pred_index == i + 1).any()
    ]
    gt_map, pred_map = np.append(0, gt_ids)[gt_index], np.append(0, pred_ids)[pred_index]
    return gt_map.astype(np.int32), gt_segments, pred_map.astype(np.int32), pred_segments


def write_folder(folder: Path, stem: str, images: dict[Any, tuple[np.ndarray, list]]) -> tuple[Path, Path]:
    """Write (map, segments) per image id in COCO panoptic format, with areas; return JSON and folder."""
    annotations = []
    for image_id, (id_map, segments) in images.items():
        write_id_map(folder / stem / f"{image_id}.png", id_map)
        rows = [{**s, "area": int((id_map == s["id"]).sum()), "bbox": [0, 0, 1, 1]} for s in segments]
        annotations.append({"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": rows})
    sizes = [
        {"id": image_id, "file_name": f"{image_id}.jpg", "height": id_map.shape[0], "width": id_map.shape[1]}
        for image_id, (id_map, _) in images.items()
    ]
    content = {"images": sizes, "annotations": annotations, "categories": CATEGORIES.to_json()}
    write_json(folder / f"{stem}.json", content)
    (folder / stem).mkdir(exist_ok=True)
    return folder / f"{stem}.json", folder / stem


def hotcoco_results(gt: tuple[Path, Path], pred: tuple[Path, Path]) -> dict[str, Any]:
    """Score two (JSON, folder) with hotcoco."""
    evaluation = PanopticEval(str(gt[0]), str(pred[0]), gt_folder=str(gt[1]), pred_folder=str(pred[1]))
    evaluation.evaluate()
    return evaluation.results()


def edit_json(path: Path, change: Any) -> None:
    """Apply `change` to the content of a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
