"""Small data sets in the formats that `yoso data convert` reads, and a way to convert them and look at the result.

Each builder writes train and val with two images of a cow, its calf on top of it, and the sky, and returns the options
that its conversion needs.
"""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from yoso.apps.cli import main
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec

HEIGHT, WIDTH = 40, 60
SKY, COW, CALF = (0, 0, 10, 60), (12, 4, 36, 40), (20, 8, 30, 20)  # top, left, bottom, right
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
"""Corners x, y of a square of 400 pixels."""


def corners(box):
    top, left, bottom, right = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def image(path, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def yolo(root):
    for split in ("train", "val"):
        for number in range(2):
            image(root / f"images/{split}/{number}.jpg")
            lines = []
            for index, box in ((1, SKY), (0, COW), (0, CALF)):
                numbers = [f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in corners(box)]
                lines.append(f"{index} {' '.join(numbers)}")
            write(root / f"labels/{split}/{number}.txt", "\n".join(lines) + "\n")
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": {0: "cow", 1: "sky"}}
    write(root / "data.yaml", yaml.safe_dump(content))
    return ["--stuff", "sky"]


def coco(root):
    for split in ("train", "val"):
        images = [{"id": 7 + n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in range(2)]
        annotations, stuff = [], []
        for entry in images:
            image(root / f"{split}2020" / entry["file_name"])
            for box in (COW, CALF):
                annotations.append(coco_annotation(len(annotations), entry["id"], [np.ravel(corners(box)).tolist()], 4))
            runs = [0, *[10, 30] * 59, 10, 30]  # ten rows of sky at the top of each of sixty columns
            for category_id in (157, 183):
                segmentation = {"size": [HEIGHT, WIDTH], "counts": runs}
                stuff.append(coco_annotation(len(stuff), entry["id"], segmentation, category_id))
        names = [{"id": 4, "name": "cow", "supercategory": "animal"}]
        write(root / f"annotations/instances_{split}2020.json", coco_document(images, annotations, names))
        names = [{"id": 157, "name": "sky"}, {"id": 183, "name": "other"}]
        write(root / f"annotations/stuff_{split}2020.json", coco_document(images, stuff, names))
    return []


def coco_annotation(annotation_id, image_id, segmentation, category_id=1):
    annotation = {"id": annotation_id, "image_id": image_id, "category_id": category_id, "iscrowd": 0}
    return annotation | {"segmentation": segmentation}


def coco_document(images, annotations, categories):
    return {"images": images, "annotations": annotations, "categories": categories}


def cityscapes(root):
    for split in ("train", "val"):
        for number in range(2):
            stem = f"{split}/farm/farm_{number}"
            image(root / f"leftImg8bit/{stem}_leftImg8bit.png")
            values = np.zeros((HEIGHT, WIDTH), np.uint16)
            for value, (top, left, bottom, right) in ((90, SKY), (60001, COW), (60002, CALF)):
                values[top:bottom, left:right] = value
            path = root / f"gtFine/{stem}_gtFine_instanceIds.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    write(root / "classes.json", [{"id": 60, "name": "cow", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}])
    return ["--categories", str(root / "classes.json")]


def labelme(root):
    for split in ("train", "val"):
        for number in range(2):
            image(root / f"{split}/{number}.jpg")
            (top, left, bottom, right), middle = COW, 20
            parts = [(top, left, middle, right), (middle, left, bottom, right)]
            shapes = [{"label": "sky", "points": [[0, 0], [WIDTH, 10]], "shape_type": "rectangle", "group_id": None}]
            shapes += [
                {"label": "cow", "points": corners(part), "shape_type": "polygon", "group_id": 3} for part in parts
            ]
            shapes += [{"label": "cow", "points": corners(CALF), "group_id": None}]
            shapes += [{"label": "__ignore__", "points": corners(COW), "shape_type": "polygon"}]
            write(root / f"{split}/{number}.json", labelme_document(f"{number}.jpg", shapes))
    return ["--stuff", "sky"]


def labelme_document(image_path, shapes):
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    return {"version": "5.4.1", "imagePath": image_path, "imageData": None, "shapes": shapes} | size


BUILDERS = {"yolo": yolo, "coco": coco, "cityscapes": cityscapes, "labelme": labelme}


class Conversion:
    """What a conversion printed and wrote.

    Attributes:
        status: the exit status.
        error: the lines on standard error that begin with "error".
        warnings: the other ones.
        splits: what `--json` says of each split; {} after an error.
        output: the folder.
    """

    def __init__(self, kind, source, output, options, capsys):
        arguments = ["data", "convert", kind, str(source), str(output), "--threads", "1", "--json"]
        self.status = main([*arguments, *map(str, options)])
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        self.error = "\n".join(line for line in lines if line.startswith("error"))
        self.warnings = [line.removeprefix("warning: ") for line in lines if not line.startswith("error")]
        self.splits = json.loads(captured.out)["splits"] if captured.out else {}
        self.output = Path(output)

    def counts(self, split="train"):
        """Return the numbers of annotations read, written, merged and dropped; their balance is checked."""
        counts = self.splits[split]["counts"]
        merged, dropped = sum(counts["merged"].values()), sum(loss["count"] for loss in counts["dropped"])
        assert counts["read"] == counts["written"] + merged + dropped
        return counts["read"], counts["written"], merged, dropped

    def reasons(self, split="train"):
        """Return how many annotations were dropped for each reason."""
        return {loss["reason"]: loss["count"] for loss in self.splits[split]["counts"]["dropped"]}

    def dataset(self, split="train"):
        return PanopticDataset(load_spec(self.output / "dataset.yaml").split(split))

    def segments(self, split="train"):
        """Return class name, area and crowd of every segment of every image, by the image's file name."""
        dataset, found = self.dataset(split), {}
        for index in range(len(dataset)):
            example = dataset.example(index)
            found[example.record.file_name] = sorted(
                (
                    dataset.categories[dataset.categories.index_of(segment["category_id"])].name,
                    int((example.id_map == segment["id"]).sum()),
                    segment["iscrowd"],
                )
                for segment in example.segments
            )
        return found
