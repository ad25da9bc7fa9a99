"""Sound inputs, small enough to be read in milliseconds, of which the fuzzers make hostile ones."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yoso.categories import Categories, Category
from yoso.data.coco_panoptic import ImageRecord, PanopticWriter

CATEGORIES = Categories([Category(3, "square", True, (220, 40, 40)), Category(7, "sky", False, (80, 140, 240))])
HEIGHT, WIDTH = 24, 32

INFERENCE = {"object_mask_threshold": 0.3, "overlap_threshold": 0.1, "input_size": [24, 64]}
METADATA = {
    "form": "raw",
    "size": None,
    "categories": CATEGORIES.to_json(),
    "inference": INFERENCE,
    "pixel_mean": [1.0, 2.0, 3.0],
    "pixel_std": [58.0, 57.0, 57.0],
    "about": {"data": "none"},
    "source_sha256": "",
}

FORMATS = {
    "PNG": "png",
    "JPEG": "jpg",
    "GIF": "gif",
    "BMP": "bmp",
    "PPM": "ppm",
    "TIFF": "tif",
    "WEBP": "webp",
    "TGA": "tga",
}
MODES = ("RGB", "L", "P", "RGBA", "1", "I;16", "CMYK", "LA", "I", "F")


def write_dataset(folder: Path) -> Path:
    """Write a data set of two images per split, as a folder and as a YAML file beside it; return the YAML."""
    description: dict[str, Any] = {"name": "sound", "root": "."}
    for split in ("train", "val"):
        annotations = folder / "annotations" / f"panoptic_{split}.json"
        writer = PanopticWriter(annotations, annotations.with_suffix(""), CATEGORIES)
        (folder / split).mkdir(parents=True)
        for index in range(2):
            id_map = np.zeros((HEIGHT, WIDTH), np.int32)
            id_map[:8], id_map[10:20, 4 : 20 + index] = 70000, 300
            Image.fromarray(np.uint8(id_map[..., None] % 251 * [1, 0, 1])).save(folder / split / f"{index}.png")
            segments = [{"id": 70000, "category_id": 7}, {"id": 300, "category_id": 3, "iscrowd": index}]
            writer.add(ImageRecord(index, f"{index}.png", f"{index}_m.png", HEIGHT, WIDTH), id_map, segments)
        writer.close()
        masks = f"annotations/panoptic_{split}"
        description[split] = {"images": split, "masks": masks, "annotations": f"{masks}.json"}
    (folder / "set.yaml").write_text(json.dumps(description, indent=1), encoding="utf-8")
    return folder / "set.yaml"


def image_files() -> list[tuple[str, bytes]]:
    """Return sound images of every format and mode that Pillow writes, with their endings."""
    random = np.random.default_rng(0)
    pixels = Image.fromarray(random.integers(0, 255, (16, 20, 3), np.uint8))
    found = []
    for name, suffix in FORMATS.items():
        for mode in MODES:
            buffer = io.BytesIO()
            try:
                pixels.convert("I" if mode == "I;16" else mode).convert(mode).save(buffer, name)
            except (OSError, ValueError, KeyError):
                continue
            found.append((suffix, buffer.getvalue()))
    return found


def write_onnx(path: Path, metadata: str) -> None:
    """Write an exported file of the form "raw": a pooling layer and constants instead of a network."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    logits = np.array([[[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [0.0, 0.0, 3.0]]], np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1),
        helper.make_node("Sub", ["pooled", "middle"], ["mask_logits"]),
        helper.make_node("Identity", ["classes"], ["class_logits"]),
    ]
    outputs = [
        helper.make_tensor_value_info("class_logits", TensorProto.FLOAT, [1, 3, 3]),
        helper.make_tensor_value_info("mask_logits", TensorProto.FLOAT, [1, 3, "h", "w"]),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "H", "W"])]
    constants = [numpy_helper.from_array(logits, "classes"), numpy_helper.from_array(np.float32(100), "middle")]
    model = helper.make_model(
        helper.make_graph(nodes, "sound", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    model.metadata_props.add(key="yoso", value=metadata)
    onnx.save(model, path)
