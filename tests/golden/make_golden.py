"""Reduce the full official figures to the few megabytes that are committed here.

    python tests/golden/make_golden.py FOLDER_OF_FULL_FIGURES [OUTPUT_FOLDER]

An array of at most `MOST` numbers, and those in `WHOLE`, stay whole under their name. Of a larger one every
`stride`-th number of the flattened array is kept, under `name@stride`; the stride shares no divisor with the array's
size, so that the sample visits all rows, columns and channels. The entry `reduced` is a JSON string with the shape and
the largest absolute value of each array that was reduced. `golden_figures.py` in tests/model reads both forms.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

FILES = ("forward_coco_a", "forward_coco_c", "forward_cityscapes_c", "forward_ade20k_a", "attention")
MOST = 6400
WHOLE = {"cls_s2", "mask_s2", "semantic_0_stride4"}
"""What the tests of the post-processing take as input or compare pixel by pixel, besides all uint8 images."""


def stride_of(size: int) -> int:
    """Return the smallest stride that leaves at most `MOST` numbers and shares no divisor with `size`."""
    stride = math.ceil(size / MOST)
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def reduce(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the entries of the reduced file."""
    entries, reduced = {}, {}
    for name, array in arrays.items():
        if array.size <= MOST or array.dtype == np.uint8 or name in WHOLE:
            entries[name] = array
            continue
        stride = stride_of(array.size)
        entries[f"{name}@{stride}"] = array.reshape(-1)[::stride]
        reduced[name] = {"shape": array.shape, "absmax": float(np.abs(array).max())}
    entries["reduced"] = np.array(json.dumps(reduced))
    return entries


def main() -> None:
    """Reduce all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path, help="folder with the full .npz files")
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).parent, help="default: this folder")
    arguments = parser.parse_args()
    for name in FILES:
        with np.load(arguments.full / f"{name}.npz") as figures:
            entries = reduce(dict(figures))
        target = arguments.output / f"{name}.npz"
        target.unlink(missing_ok=True)
        np.savez_compressed(target, **entries)
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
