"""Data sets of one's own in the layout of Cityscapes: `leftImg8bit/` and the instance ids of `gtFine/`."""

from functools import partial

from yoso.categories import Categories
from yoso.class_tables import benchmark_categories
from yoso.data.formats.annotations import ImageAnnotation, Size
from yoso.data.formats.archive import SourceFile, files_below
from yoso.data.formats.benchmarks import CITYSCAPES_IMAGE, CITYSCAPES_LABELS, with_ending
from yoso.data.formats.encodings import decode_cityscapes
from yoso.data.formats.image_files import SplitBuilder
from yoso.data.formats.plan import ConversionRequest, ImagePlan, SplitPlan
from yoso.errors import DatasetError
from yoso.files import read_json, read_labels

NO_PARTNER = "image without labels, or labels without an image"


def read_cityscapes_style(request: ConversionRequest) -> tuple[list[SplitPlan], list[str]]:
    """Read `leftImg8bit/` and the instance ids of `gtFine/`, with the classes given or the 19 of Cityscapes.

    Labels that are not among the classes become void.

    Raises:
        DatasetError: the categories are no list of COCO categories, or half of the images have no labels.
    """
    table = benchmark_categories("cityscapes")
    if request.categories:
        content = read_json(request.categories)
        entries = content.get("categories") if isinstance(content, dict) else content
        table = Categories.from_json(entries, str(request.categories))
        if table.has_id(0):
            raise DatasetError(
                f"{request.categories}: a category has id 0, the label of void pixels; give it another id"
            )
    splits = []
    for split in ("train", "val"):
        folder = request.source / "leftImg8bit" / split
        if folder.is_dir():
            builder = SplitBuilder(split, folder)
            images = with_ending(files_below(folder), CITYSCAPES_IMAGE)
            labels = with_ending(files_below(request.source / "gtFine" / split), CITYSCAPES_LABELS)
            for stem in sorted(images.keys() | labels.keys()):
                if stem in images and stem in labels:
                    name, mask_name = stem + CITYSCAPES_IMAGE, f"{stem}_leftImg8bit.png"
                    decode = partial(_decode, labels[stem], table)
                    builder.add(ImagePlan(stem, name, mask_name, images[stem], (labels[stem],), decode))
                else:
                    builder.skip(NO_PARTNER, str(images.get(stem) or labels[stem]))
            splits.append(builder.plan(table, folder))
    return splits, []


def _decode(label: SourceFile, table: Categories, size: Size) -> ImageAnnotation:
    return decode_cityscapes(read_labels(label.path), table, str(label), num_labels=None)
