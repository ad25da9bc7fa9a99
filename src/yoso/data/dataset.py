"""One split of a data set, as training and evaluation read it. Loads no torch."""

import numpy as np

from yoso.data.coco_panoptic import DOCTOR, ImageRecord, PanopticExample, read_annotations
from yoso.data.spec import Split
from yoso.errors import DatasetError
from yoso.files import read_id_map, read_image


class PanopticDataset:
    """One split of a data set."""

    def __init__(self, split: Split, filter_empty: bool = False) -> None:
        """Read the split's annotations.

        Args:
            split: where its files are.
            filter_empty: leave out images without a segment to learn (no segment, or only crowds), as training does.

        Raises:
            DatasetError: see `read_annotations`; or no image is left.
        """
        self.split = split
        self.annotations = read_annotations(split.annotations)
        self.categories = self.annotations.categories
        keep = range(len(self.annotations))
        if filter_empty:
            keep = [index for index in keep if (self.annotations.segments_of(index)[:, 2] == 0).any()]
        self.indices = np.array(keep, np.int32)
        if len(self.indices) == 0:
            lacks = "a segment to learn" if filter_empty else "an annotation"
            raise DatasetError(f"{split.annotations}: has no image with {lacks}; is it the right file?")

    def __len__(self) -> int:
        return len(self.indices)

    def record(self, index: int) -> ImageRecord:
        """Return the record of an image."""
        return self.annotations.record(int(self.indices[index]))

    def example(self, index: int) -> PanopticExample:
        """Read an image and its ground truth.

        Raises:
            ImageError: the image cannot be read.
            DatasetError: the PNG cannot be read, or is of another size.
        """
        record = self.record(index)
        image = read_image(self.split.images / record.file_name)
        id_map = read_id_map(self.split.masks / record.mask_name)
        if image.shape[:2] != id_map.shape:
            raise DatasetError(
                f"{self.split.masks / record.mask_name}: is {id_map.shape[1]}x{id_map.shape[0]}, its image "
                f"{self.split.images / record.file_name} is {image.shape[1]}x{image.shape[0]}; {DOCTOR}"
            )
        rows = self.annotations.segments_of(int(self.indices[index])).tolist()
        segments = [{"id": i, "category_id": category, "iscrowd": crowd} for i, category, crowd in rows]
        return PanopticExample(image, id_map, segments, record)
