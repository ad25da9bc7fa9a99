"""Miniature downloads of the four benchmarks: true folders, file names and encodings, made from known id maps.

Nothing here is shared with the readers, which is the point: a label is written as its benchmark documents it, and the
truth it was written from is returned beside it. `plant` is the way in; tests elsewhere use the fixture `plant` of
tests/conftest.py.
"""

import json
import shutil
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
COUNTS = {"train": 3, "val": 2}
TABLES = Path(__file__).parents[2] / "src" / "yoso" / "recipes" / "categories"

# Scene parsing numbers (1 to 150) of the instance challenge's classes 1 to 100, as its own list has them.
ADE20K_THINGS = [
    *(8, 9, 11, 13, 15, 16, 19, 20, 21, 23, 24, 25, 28, 31, 32, 33, 34, 36, 37, 38, 39, 40, 42, 43, 44, 45, 46, 48),
    *(50, 51, 54, 56, 57, 58, 59, 63, 65, 66, 67, 68, 70, 71, 72, 73, 74, 75, 76, 77, 79, 81, 82, 83, 84, 86, 87, 88),
    *(89, 90, 91, 93, 94, 96, 98, 99, 103, 104, 105, 108, 109, 111, 112, 113, 116, 117, 119, 120, 121, 122, 124, 125),
    *(126, 127, 128, 130, 131, 133, 134, 135, 136, 137, 138, 139, 140, 143, 144, 145, 147, 148, 149, 150),
]


class Region(NamedTuple):
    """Pixels of one segment: a rectangle, less what later regions cover."""

    label: str
    number: int  # of the object; 0 for stuff; -1 for a group
    box: tuple[int, int, int, int]  # top, left, bottom, right


class Truth(NamedTuple):
    """What a tree says about one photograph: `owner` is the region of each pixel, -1 where there is none."""

    regions: list[Region]
    owner: np.ndarray


class Words(NamedTuple):
    """Classes that a benchmark's scenes are made of, in its own words; the last is void in evaluation."""

    sky: str
    ground: str
    things: tuple[str, str]
    void: str


WORDS = {
    "coco": Words("sky-other-merged", "grass-merged", ("person", "car"), ""),
    "cityscapes": Words("sky", "road", ("person", "car"), "ego vehicle"),
    "ade20k": Words("sky", "grass", ("person", "car"), ""),
    "mapillary": Words("Sky", "Road", ("Person", "Car"), "Unlabeled"),
}


def scene(words, seed, groups):
    """Return sky above ground, a void strip between, three objects, and a group if the benchmark has such."""
    random = np.random.default_rng(seed)
    regions = [Region(words.sky, 0, (0, 0, 18, WIDTH)), Region(words.ground, 0, (20, 0, HEIGHT, WIDTH))]
    if words.void:
        regions.append(Region(words.void, 0, (HEIGHT - 4, 0, HEIGHT, WIDTH)))
    for number, label in enumerate((words.things[0], words.things[0], words.things[1]), 1):
        top, left = int(random.integers(20, 28)), int(random.integers(0, 4)) + 14 * number
        regions.append(Region(label, number, (top, left, top + 14, left + 11)))
    if groups:
        regions.append(Region(words.things[1], -1, (24, 0, 32, 12)))
    owner = np.full((HEIGHT, WIDTH), -1)
    for place, region in enumerate(regions):
        top, left, bottom, right = region.box
        owner[top:bottom, left:right] = place
    return Truth(regions, owner)


def photograph(truth, seed):
    noise = np.random.default_rng(seed).integers(0, 60, (HEIGHT, WIDTH, 3))
    return (noise + 30 * (truth.owner[..., None] + 1)).clip(0, 255).astype(np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def each(words, groups):
    """Yield (split, number in it, truth, seed) of every photograph of a tree."""
    for split, count in COUNTS.items():
        for number in range(count):
            seed = number + 100 * (split == "val")
            yield split, number, scene(words, seed, groups), seed


def table(name):
    return json.loads((TABLES / f"{name}.json").read_text())["categories"]


def panoptic_files(truth, categories, random):
    """Return RGB pixels and `segments_info` in COCO panoptic format, with ids that fill all three bytes."""
    numbers = {entry["name"]: entry["id"] for entry in categories}
    rgb, infos = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
    for place, region in enumerate(truth.regions):
        mask = truth.owner == place
        if region.label not in numbers or not mask.any():
            continue
        color = [int(value) for value in random.integers(1, 256, 3)]
        rgb[mask] = color
        rows, columns = np.nonzero(mask)
        left, top = int(columns.min()), int(rows.min())
        infos.append(
            {
                "id": color[0] + 256 * color[1] + 65536 * color[2],
                "category_id": numbers[region.label],
                "iscrowd": int(region.number < 0),
                "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
                "area": int(mask.sum()),
            }
        )
    return rgb, infos


def coco(root):
    truths, categories = {}, table("coco")
    documents = {split: {"info": {"year": 2017}, "licenses": [], "images": [], "annotations": []} for split in COUNTS}
    for split, number, truth, seed in each(WORDS["coco"], groups=True):
        image_id = 139 + 7 * number + 1000 * (split == "val")
        stem = f"{image_id:012}"
        save(root / f"{split}2017/{stem}.jpg", photograph(truth, seed), quality=95)
        rgb, infos = panoptic_files(truth, categories, np.random.default_rng(seed))
        save(root / f"annotations/panoptic_{split}2017/{stem}.png", rgb)
        documents[split]["images"].append(
            {
                "license": 3,
                "file_name": f"{stem}.jpg",
                "coco_url": f"http://images.cocodataset.org/{split}2017/{stem}.jpg",
                "height": HEIGHT,
                "width": WIDTH,
                "id": image_id,
            }
        )
        annotation = {"segments_info": infos, "file_name": f"{stem}.png", "image_id": image_id}
        documents[split]["annotations"].append(annotation)
        truths[split, stem] = truth
    for split, document in documents.items():
        listed = [{"supercategory": "thing", **entry} for entry in categories]
        write(root / f"annotations/panoptic_{split}2017.json", document | {"categories": listed})
    write(root / "annotations/instances_val2017.json", {"images": [], "annotations": [], "categories": []})
    return truths


CITYSCAPES_LABELS = {"ego vehicle": 1, "road": 7, "sky": 23, "person": 24, "car": 26}


def cityscapes(root):
    truths, cities = {}, {"train": ("aachen", "zurich"), "val": ("frankfurt", "lindau")}
    for split, number, truth, seed in each(WORDS["cityscapes"], groups=True):
        city = cities[split][number % 2]
        stem = f"{city}/{city}_{number:06}_000019"
        save(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", photograph(truth, seed))
        values, labels = np.zeros((2, HEIGHT, WIDTH), np.uint16)
        for place, region in enumerate(truth.regions):
            label = CITYSCAPES_LABELS[region.label]
            labels[truth.owner == place] = label
            values[truth.owner == place] = 1000 * label + region.number - 1 if region.number > 0 else label
        truth_stem = root / f"gtFine/{split}/{stem}_gtFine"
        save(Path(f"{truth_stem}_instanceIds.png"), values)
        save(Path(f"{truth_stem}_labelIds.png"), labels.astype(np.uint8))
        save(Path(f"{truth_stem}_color.png"), photograph(truth, seed))
        write(Path(f"{truth_stem}_polygons.json"), {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": []})
        truths[split, stem.split("/")[1]] = truth
    save(root / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", np.zeros((4, 4, 3), np.uint8))
    save(root / "gtFine/test/berlin/berlin_000000_000019_gtFine_instanceIds.png", np.zeros((4, 4), np.uint16))
    write(root / "license.txt", "terms of use")
    return truths


def ade20k(root):
    truths, home = {}, root / "ADEChallengeData2016"
    numbers = {entry["name"]: place for place, entry in enumerate(table("ade20k"), 1)}
    long = {"train": "training", "val": "validation"}
    for split, number, truth, seed in each(WORDS["ade20k"], groups=False):
        stem = f"ADE_{split}_{number + 1:08}"
        save(home / f"images/{long[split]}/{stem}.jpg", photograph(truth, seed), quality=95)
        semantic, objects = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for place, region in enumerate(truth.regions):
            mask = truth.owner == place
            semantic[mask] = numbers[region.label]
            if region.number > 0:
                objects[mask] = [ADE20K_THINGS.index(numbers[region.label]) + 1, region.number, 77]
        save(home / f"annotations/{long[split]}/{stem}.png", semantic)
        save(root / f"annotations_instance/{long[split]}/{stem}.png", objects)
        truths[split, stem] = truth
    write(home / "objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    return truths


def mapillary(root, layout="1.2"):
    """Layouts: "1.2" as that version's archive; "2.0" the later one, which holds both versions."""
    truths, categories = {}, table("mapillary")
    readable = [*(entry["name"] for entry in categories), "Unlabeled"]
    long = {"train": "training", "val": "validation"}
    within = "v1.2/" if layout == "2.0" else ""
    documents = {split: {"images": [], "annotations": [], "categories": categories} for split in COUNTS}
    for split, number, truth, seed in each(WORDS["mapillary"], groups=False):
        stem = f"{'abcde'[number]}{seed:03}_-Qx{'y' * 16}"
        save(root / f"{long[split]}/images/{stem}.jpg", photograph(truth, seed), quality=95)
        folder = root / long[split] / within
        values = np.full((HEIGHT, WIDTH), 65 * 256, np.uint16)
        for place, region in enumerate(truth.regions):
            values[truth.owner == place] = 256 * readable.index(region.label) + max(0, region.number - 1)
        save(folder / f"instances/{stem}.png", values)
        save(folder / f"labels/{stem}.png", (values // 256).astype(np.uint8))
        rgb, infos = panoptic_files(truth, categories, np.random.default_rng(seed))
        save(folder / f"panoptic/{stem}.png", rgb)
        documents[split]["images"].append({"id": stem, "file_name": f"{stem}.jpg", "height": HEIGHT, "width": WIDTH})
        annotation = {"image_id": stem, "file_name": f"{stem}.png", "segments_info": infos}
        documents[split]["annotations"].append(annotation)
        truths[split, stem] = truth
    for split, document in documents.items():
        write(root / long[split] / within / "panoptic/panoptic_2018.json", document)
    write(root / ("config_v1.2.json" if within else "config.json"), mapillary_config(readable, categories))
    save(root / "testing/images/t.jpg", np.zeros((4, 4, 3), np.uint8))
    if within:
        second_version(root, truths)
    return truths


def mapillary_config(readable, categories):
    labels = [
        {
            "color": entry["color"],
            "instances": bool(entry["isthing"]),
            "readable": entry["name"],
            "name": f"some--{entry['name'].lower()}",
            "evaluate": True,
        }
        for entry in categories
    ]
    void = {"color": [0, 0, 0], "instances": False, "readable": readable[-1], "name": "void--unlabeled"}
    return {"labels": [*labels, void | {"evaluate": False}], "version": 1.2, "mapping": "public"}


def second_version(root, truths):
    """Add version 2.0 of the labels: 124 of them, 70 things, 46 stuff, 8 that are not evaluated."""
    words = WORDS["mapillary"]
    named = {8: words.things[0], 9: words.things[1], 80: words.sky, 81: words.ground, 123: words.void}
    labels = [
        {
            "color": [place, 2 * place % 256, 255 - place],
            "instances": 8 <= place < 78,
            "readable": named.get(place, f"Label {place}"),
            "name": f"some--label-{place}",
            "evaluate": 8 <= place < 123 or place == 0,
        }
        for place in range(124)
    ]
    labels[122]["evaluate"] = True
    numbers = {label: place for place, label in named.items()}
    for (split, stem), truth in truths.items():
        values = np.full((HEIGHT, WIDTH), 123 * 256, np.uint16)
        for place, region in enumerate(truth.regions):
            values[truth.owner == place] = 256 * numbers[region.label] + max(0, region.number - 1)
        folder = "training" if split == "train" else "validation"
        save(root / folder / f"v2.0/instances/{stem}.png", values)
    write(root / "config_v2.0.json", {"labels": labels, "version": 2.0})


ARCHIVES = {
    "coco": {"train2017.zip": ["train2017"], "val2017.zip": ["val2017"]},
    "cityscapes": {
        "leftImg8bit_trainvaltest.zip": ["leftImg8bit"],
        "gtFine_trainvaltest.zip": ["gtFine", "license.txt"],
    },
    "ade20k": {"ADEChallengeData2016.zip": ["ADEChallengeData2016"]},
    "mapillary": {"vistas.zip": ["training", "validation", "testing", "config.json"]},
}


def pack(root, archive, names, within=None):
    """Move files and folders into a zip, with entries for the folders themselves, as the official ones have."""
    start = within or root
    with zipfile.ZipFile(root / archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            for path in [start / name, *sorted((start / name).rglob("*"))]:
                target.write(path, path.relative_to(start))
    for name in names:
        path = start / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def pack_all(name, root):
    """Turn a tree into the official zips; COCO's panoptic PNGs are zips in a zip."""
    for archive, names in ARCHIVES[name].items():
        pack(root, archive, names)
    if name == "coco":
        folder = root / "annotations"
        (folder / "instances_val2017.json").unlink()
        for split in COUNTS:
            pack(folder, f"panoptic_{split}2017.zip", [f"panoptic_{split}2017"])
        pack(root, "panoptic_annotations_trainval2017.zip", ["annotations"])


PLANTERS = {"coco": coco, "cityscapes": cityscapes, "ade20k": ade20k, "mapillary": mapillary}


def plant(name, root, zipped=False, **options):
    """Make a benchmark's download in the folder `root`, which is made.

    Returns the truth of every photograph, by (split, stem of the file's name).
    """
    root.mkdir(parents=True, exist_ok=True)
    truths = PLANTERS[name](root, **options)
    if zipped:
        pack_all(name, root)
    return truths
