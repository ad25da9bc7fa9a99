"""Segment a photograph from Python: what is in it, where, and a picture of that.

python examples/predict.py PHOTO [MODEL]
"""

import sys

import numpy as np
from PIL import Image

import yoso


def main(photo: str, model: str = "facades-mnv2") -> None:
    """Print the segments of a photograph and write `overlay.png`."""
    predictor = yoso.load(model)
    result = predictor(photo)

    for info in result["segments_info"]:
        print(f"{info['label']:24} score {info['score']:.2f}  {info['area']:8} pixels  box {info['bbox']}")

    # `segmentation` holds the id of each pixel's segment, 0 where there is none.
    unlabelled = np.mean(result["segmentation"] == 0)
    print(f"{unlabelled:.0%} of the picture is unlabelled")

    Image.fromarray(yoso.render(photo, result)).save("overlay.png")
    print("overlay.png")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:3])
