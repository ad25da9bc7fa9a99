"""The paper's four benchmarks in the layout of their archives; Mapillary Vistas in both versions."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from yoso.categories import Categories
from yoso.class_tables import benchmark_categories
from yoso.data.coco_panoptic import read_annotations
from yoso.data.formats.annotations import ImageAnnotation, Size
from yoso.data.formats.archive import SourceFile, Tree
from yoso.data.formats.encodings import decode_ade20k, decode_cityscapes, decode_mapillary
from yoso.data.formats.plan import ConversionPlan, ImagePlan, SplitPlan
from yoso.errors import DatasetError
from yoso.files import read_json, read_labels

Files = dict[str, SourceFile]

CITYSCAPES_IMAGE, CITYSCAPES_LABELS = "_leftImg8bit.png", "_gtFine_instanceIds.png"
"""How file names end."""

CITYSCAPES_VAL = {"frankfurt", "lindau", "munster"}
LONG_NAMES = {"train": "training", "val": "validation"}
"""The names of the splits in ADE20K and Mapillary Vistas."""

UNLABELED_ID = 66
"""Mapillary Vistas 1.2 lists its void label after the 65 classes."""


@dataclass(frozen=True)
class Benchmark:
    """A data set of the paper.

    Attributes:
        title: for people.
        read: finds the files of a split.
        expected: official number of images per split.
        license: of the data.
        attribution: whom to name.
    """

    title: str
    read: Callable[[Tree, str], SplitPlan]
    expected: dict[str, int]
    license: str
    attribution: str


def plan_benchmark(name: str, tree: Tree, splits: list[str]) -> ConversionPlan:
    """Find every file of a benchmark's splits.

    Args:
        name: a key of `BENCHMARKS`.
        tree: the download.
        splits: of "train" and "val".

    Raises:
        DatasetError: a folder, an archive or a file is missing, or belongs to another data set or split.
    """
    benchmark = BENCHMARKS[name]
    return ConversionPlan(
        name=name,
        title=benchmark.title,
        splits=[benchmark.read(tree, split) for split in splits],
        license=benchmark.license,
        attribution=benchmark.attribution,
        expected=benchmark.expected,
        keeps_splits=True,
    )


def read_coco(tree: Tree, split: str) -> SplitPlan:
    """Find COCO 2017: images, panoptic JSON and PNGs, which are COCO panoptic already."""
    year, archive = f"{split}2017", "panoptic_annotations_trainval2017.zip"
    images = _needed(tree, f"{tree.base(year)}{year}", f"{year}.zip")
    base = tree.base("annotations")
    masks = tree.files(f"{tree.base(f'panoptic_{year}')}panoptic_{year}")
    masks = masks or _needed(tree, f"{base}annotations/panoptic_{year}", archive)
    annotations = tree.file(f"{base}annotations/panoptic_{year}.json")
    if annotations is None:
        raise DatasetError(f"{tree.root}: holds no annotations/panoptic_{year}.json; {_put(tree, archive)}")
    other = "val2017" if split == "train" else "train2017"
    elsewhere = partial(tree.files, f"{tree.base(other)}{other}")
    table = benchmark_categories("coco")
    return _ready(tree, _Ready(split, images, masks, annotations, table, elsewhere))


def read_cityscapes(tree: Tree, split: str) -> SplitPlan:
    """Find Cityscapes: `leftImg8bit` and the instance ids of `gtFine`."""
    images = _needed(tree, f"{tree.base('leftImg8bit')}leftImg8bit/{split}", "leftImg8bit_trainvaltest.zip")
    labels = _needed(tree, f"{tree.base('gtFine')}gtFine/{split}", "gtFine_trainvaltest.zip")
    table = benchmark_categories("cityscapes")
    for name, file in (images | labels).items():
        if (name.split("/")[0] in CITYSCAPES_VAL) != (split == "val"):
            raise DatasetError(
                f"{file}: this city does not belong to {split}; the splits are swapped, unpack the archives again"
            )
    plans = []
    named_images, named_labels = with_ending(images, CITYSCAPES_IMAGE), with_ending(labels, CITYSCAPES_LABELS)
    for stem, image, label in _pairs(named_images, named_labels, "gtFine_trainvaltest.zip"):
        image_id = PurePosixPath(stem).name
        mask = f"{image_id}_gtFine_panoptic.png"
        decode = partial(_decode_cityscapes, label, table)
        plans.append(ImagePlan(image_id, stem + CITYSCAPES_IMAGE, mask, image, (label,), decode))
    return SplitPlan(split, table, plans, _folder_of(images))


def _decode_cityscapes(label: SourceFile, table: Categories, size: Size) -> ImageAnnotation:
    return decode_cityscapes(read_labels(str(label), label.content()), table, str(label))


def read_ade20k(tree: Tree, split: str) -> SplitPlan:
    """Find ADE20K: `ADEChallengeData2016` and the `annotations_instance` of the 2017 challenge."""
    folder, archive = LONG_NAMES[split], "ADEChallengeData2016.zip"
    base = tree.base(f"images/{folder}")
    images = with_ending(_needed(tree, f"{base}images/{folder}", archive), ".jpg")
    semantic = with_ending(_needed(tree, f"{base}annotations/{folder}", archive), ".png")
    objects = f"{tree.base(f'annotations_instance/{folder}')}annotations_instance/{folder}"
    instances = with_ending(_needed(tree, objects, "annotations_instance.tar (unpacked)"), ".png")
    for name, file in (images | semantic | instances).items():
        if not name.startswith(f"ADE_{split}_"):
            raise DatasetError(f"{file}: is not a file of {split}; those are ADE_{split}_*; unpack {archive} again")
    table = benchmark_categories("ade20k")
    plans = []
    with_objects = {stem: label for stem, _, label in _pairs(images, instances, "annotations_instance.tar")}
    for stem, image, label in _pairs(images, semantic, archive):
        sources = (label, with_objects[stem])
        decode = partial(_decode_ade20k, sources, table)
        plans.append(ImagePlan(stem, f"{stem}.jpg", f"{stem}.png", image, sources, decode))
    return SplitPlan(split, table, plans, _folder_of(images))


def _decode_ade20k(sources: tuple[SourceFile, SourceFile], table: Categories, size: Size) -> ImageAnnotation:
    semantic, instances = (read_labels(str(file), file.content()) for file in sources)
    return decode_ade20k(semantic, instances, table, (str(sources[0]), str(sources[1])))


def read_mapillary(tree: Tree, split: str) -> SplitPlan:
    """Find Mapillary Vistas 1.2: its panoptic PNGs, or its instances if there are none."""
    table = benchmark_categories("mapillary")
    base = tree.base(f"{LONG_NAMES[split]}/images")
    config = tree.file(f"{base}config_v1.2.json") or tree.file(f"{base}config.json")
    if config and _mapillary_categories(tree, config)[0].names != table.names:
        raise DatasetError(
            f"{config}: does not list the 65 classes of Mapillary Vistas 1.2; the file is of version 2.0"
        )
    return _mapillary(tree, split, ("", "v1.2/"), (table, UNLABELED_ID))


def read_mapillary_v2(tree: Tree, split: str) -> SplitPlan:
    """Find Mapillary Vistas 2.0; its configuration file lists the classes."""
    base = tree.base(f"{LONG_NAMES[split]}/images")
    config = tree.file(f"{base}config_v2.0.json")
    if config is None:
        raise DatasetError(
            f"{tree.root}: holds no config_v2.0.json; {_put(tree, 'the archive of Mapillary Vistas 2.0')}"
        )
    return _mapillary(tree, split, ("v2.0/",), _mapillary_categories(tree, config))


def _mapillary_categories(tree: Tree, config: SourceFile) -> tuple[Categories, int]:
    """Return the evaluated classes of a configuration, and the number of all labels."""
    labels = _json(tree, config).get("labels")
    keys = {"readable": str, "instances": bool, "evaluate": bool}
    if not isinstance(labels, list) or not all(
        isinstance(label, dict) and all(isinstance(label.get(key), kind) for key, kind in keys.items())
        for label in labels
    ):
        raise DatasetError(f"{config}: is not a configuration of Mapillary Vistas; unpack the archive again")
    found = [
        {"id": number, "name": label["readable"], "isthing": label["instances"], "color": label.get("color")}
        for number, label in enumerate(labels, 1)
        if label["evaluate"]
    ]
    return Categories.from_json(found, str(config)), len(labels)


def _mapillary(tree: Tree, split: str, versions: tuple[str, ...], classes: tuple[Categories, int]) -> SplitPlan:
    folder, archive = LONG_NAMES[split], "the archive of Mapillary Vistas"
    table, num_labels = classes
    base = f"{tree.base(f'{folder}/images')}{folder}/"
    images = _needed(tree, f"{base}images", archive)
    is_new = versions == ("v2.0/",)
    for version in versions:
        annotations = tree.file(f"{base}{version}panoptic/panoptic_{2020 if is_new else 2018}.json")
        if annotations:
            masks = tree.files(f"{base}{version}panoptic")
            other = LONG_NAMES["val" if split == "train" else "train"]
            elsewhere = partial(tree.files, f"{base.removesuffix(f'{folder}/')}{other}/images")
            own = None if is_new else table
            return _ready(tree, _Ready(split, images, masks, annotations, own, elsewhere))
    for version in versions:
        if labels := with_ending(tree.files(f"{base}{version}instances"), ".png"):
            plans = []
            for stem, image, label in _pairs(with_ending(images, ".jpg"), labels, archive):
                decode = partial(_decode_mapillary, label, table, num_labels)
                plans.append(ImagePlan(stem, f"{stem}.jpg", f"{stem}.png", image, (label,), decode))
            return SplitPlan(split, table, plans, _folder_of(images))
    raise DatasetError(
        f"{tree.root}: {folder} has neither panoptic/ with its JSON nor instances/; {_put(tree, archive)}"
    )


def _decode_mapillary(label: SourceFile, table: Categories, num_labels: int, size: Size) -> ImageAnnotation:
    return decode_mapillary(read_labels(str(label), label.content()), table, num_labels, str(label))


@dataclass(frozen=True)
class _Ready:
    """A split that is COCO panoptic already; without a table, its JSON lists the classes."""

    split: str
    images: Files
    masks: Files
    annotations: SourceFile
    table: Categories | None
    elsewhere: Callable[[], Files]


def _ready(tree: Tree, found: _Ready) -> SplitPlan:
    """Plan a split that is COCO panoptic already; only files in archives are copied."""
    path = tree.on_disk(found.annotations)
    try:
        annotations = read_annotations(path)
    except DatasetError as error:
        raise DatasetError(str(error).replace(str(path), str(found.annotations))) from error
    table = found.table or annotations.categories
    exact = _compare_classes(annotations.categories, table, found.annotations)
    records = [annotations.record(index) for index in range(len(annotations))]
    _check_names([record.file_name for record in records], found.images, found, "image")
    _check_names([record.mask_name for record in records], found.masks, found, "panoptic PNG")
    plans = [
        ImagePlan(
            image_id=record.image_id,
            file_name=record.file_name,
            mask_name=record.mask_name,
            image=found.images[record.file_name],
            sources=(found.masks[record.mask_name],),
            decode=None,
            json_size=(record.height, record.width) if record.height and record.width else None,
        )
        for record in records
    ]
    return SplitPlan(
        name=found.split,
        categories=table,
        images=plans,
        images_folder=_folder_of(found.images),
        masks_folder=_folder_of(found.masks),
        annotations=path,
        in_place=exact and found.annotations.archive is None,
    )


def _check_names(names: list[str], files: Files, found: _Ready, what: str) -> None:
    """Make sure that every name in a JSON is that of one file, and no name occurs twice."""
    if double := [name for name, number in Counter(names).items() if number > 1]:
        raise DatasetError(f"{found.annotations}: two entries have the {what} {double[0]}; download the file again")
    missing = [name for name in names if name not in files]
    if not missing:
        return
    swapped = "; it is in the other split, the splits are swapped" if missing[0] in found.elsewhere() else ""
    raise DatasetError(
        f"{found.annotations}: {len(missing)} of {len(names)} entries have no {what} (first: {missing[0]}){swapped}; "
        "unpack the archives again"
    )


def _compare_classes(theirs: Categories, table: Categories, where: SourceFile) -> bool:
    """Tell whether a file's classes have the benchmark's names, or are the same classes under other names.

    Raises:
        DatasetError: they are the classes of another data set.
    """
    for category in table:
        there = theirs[theirs.index_of(category.id)] if theirs.has_id(category.id) else None
        # Mapillary Vistas has a readable name and a path of names for each class.
        if (
            there is None
            or there.is_thing != category.is_thing
            or not ("--" in there.name or there.name == category.name)
        ):
            said = f"{there.name!r}, {'thing' if there.is_thing else 'stuff'}" if there else "missing"
            raise DatasetError(
                f"{where}: belongs to another data set: category {category.id} is {said}, not {category.name!r}; use "
                "the file of the official archive"
            )
    known = {category.id for category in table} | {UNLABELED_ID}
    if extra := sorted({category.id for category in theirs} - known):
        raise DatasetError(
            f"{where}: belongs to another data set: the benchmark has no category {extra[0]}; use the file of the "
            "official archive"
        )
    return [(c.id, c.name, c.is_thing) for c in theirs] == [(c.id, c.name, c.is_thing) for c in table]


def _needed(tree: Tree, folder: str, archive: str) -> Files:
    files = tree.files(folder)
    if not files:
        raise DatasetError(f"{tree.root}: holds no files in {folder}; {_put(tree, archive)}")
    return files


def _put(tree: Tree, archive: str) -> str:
    damaged = f" ({'; '.join(tree.damaged)})" if tree.damaged else ""
    return f"put {archive} there{damaged}"


def with_ending(files: Files, suffix: str) -> Files:
    """Return the files with this ending, by their names without it."""
    return {name.removesuffix(suffix): file for name, file in files.items() if name.endswith(suffix)}


def _pairs(images: Files, labels: Files, archive: str) -> list[tuple[str, SourceFile, SourceFile]]:
    """Match images and labels by their names.

    Raises:
        DatasetError: there is none of either kind, or one has no partner.
    """
    for stem, file in images.items():
        if stem not in labels:
            raise DatasetError(f"{file}: this image has no labels; unpack {archive} again")
    for stem, file in labels.items():
        if stem not in images:
            raise DatasetError(f"{file}: these labels have no image; unpack the images again")
    if not images:
        raise DatasetError("there are no images; unpack the images again")
    return [(stem, file, labels[stem]) for stem, file in images.items()]


def _folder_of(files: Files) -> Path | None:
    """Return the folder that names are relative to; None for files in an archive."""
    for name, file in files.items():
        if file.archive is None:
            depth = len(PurePosixPath(name).parts)
            return file.path.parents[depth - 1]
    return None


def _json(tree: Tree, file: SourceFile) -> dict:
    content = read_json(tree.on_disk(file))
    return content if isinstance(content, dict) else {}


BENCHMARKS = {
    "coco": Benchmark(
        title="COCO 2017 panoptic",
        read=read_coco,
        expected={"train": 118_287, "val": 5_000},
        license="annotations CC BY 4.0; photographs under Flickr's terms",
        attribution="COCO Consortium, cocodataset.org",
    ),
    "cityscapes": Benchmark(
        title="Cityscapes, fine annotations",
        read=read_cityscapes,
        expected={"train": 2_975, "val": 500},
        license="Cityscapes terms of use, not for commercial purposes",
        attribution="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
    ),
    "ade20k": Benchmark(
        title="ADE20K panoptic, 150 classes",
        read=read_ade20k,
        expected={"train": 20_210, "val": 2_000},
        license="BSD-3-Clause for the annotations; photographs for research and education only",
        attribution="Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017",
    ),
    "mapillary": Benchmark(
        title="Mapillary Vistas 1.2",
        read=read_mapillary,
        expected={"train": 18_000, "val": 2_000},
        license="CC BY-NC-SA for the research edition",
        attribution="Neuhold et al., The Mapillary Vistas Dataset, ICCV 2017",
    ),
    "mapillary_v2": Benchmark(
        title="Mapillary Vistas 2.0",
        read=read_mapillary_v2,
        expected={"train": 18_000, "val": 2_000},
        license="CC BY-NC-SA for the research edition",
        attribution="Neuhold et al., The Mapillary Vistas Dataset, ICCV 2017",
    ),
}
