"""Segment an image from Python: print the segments and draw them.

python examples/predict.py IMAGE [MODEL]
"""

import sys

import numpy as np
from PIL import Image

import yoso


def main(image: str, model: str = "facades-mnv2") -> None:
    """Print the segments of an image and write `overlay.png`."""
    predictor = yoso.load(model)
    result = predictor(image)

    for info in result["segments_info"]:
        print(f"{info['label']:24} score {info['score']:.2f}  {info['area']:8} pixels  box {info['bbox']}")

    # `segmentation` holds the segment id of each pixel, 0 for void.
    void = np.mean(result["segmentation"] == 0)
    print(f"{void:.0%} of the image is void")

    Image.fromarray(yoso.render(image, result)).save("overlay.png")
    print("overlay.png")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:3])
