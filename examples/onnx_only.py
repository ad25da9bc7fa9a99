"""Segment an image with an exported file, NumPy, Pillow and ONNX Runtime, without this package.

yoso export --model facades-mnv2 --format onnx --output model.onnx
python onnx_only.py model.onnx street.jpg street.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

if len(sys.argv) != 4:
    sys.exit(__doc__)
model, source, overlay = sys.argv[1:]
image = np.array(ImageOps.exif_transpose(Image.open(source)).convert("RGB"))

options = onnxruntime.SessionOptions()
options.log_severity_level = 3  # otherwise it warns about the optional inputs
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
categories = json.loads(session.get_modelmeta().custom_metadata_map["yoso"])["categories"]
# The file resizes, normalises, pads, runs the network and merges; sizes and thresholds have defaults.
segmentation, class_indices, scores, areas, _ = session.run(None, {"image": image})

colors = np.zeros((len(class_indices) + 1, 3), np.uint8)
for number, (index, score, area) in enumerate(zip(class_indices, scores, areas, strict=True), 1):
    category = categories[index]
    colors[number] = category["color"]
    print(f"{number:3}  {category['name']:24} {score:.2f}  {area} pixels")
Image.fromarray(image // 2 + colors[segmentation] // 2).save(overlay)
