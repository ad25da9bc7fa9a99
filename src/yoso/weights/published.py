"""The weights that the paper's authors published, by name: fetched once, checked, and cached as model folders.

    <cache>/coco-r50/                     the model folder, with licence, citation and `source.json`
    <cache>/yoso_res50_coco.pth.sha256    checksum of the first file that was fetched, in the format of sha256sum
    <cache>/yoso_res50_coco.pth.part      an interrupted download

The authors publish no checksums. So the first file is trusted if it comes over https and every key and shape fits, and
any later file must be the same.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files as package_files
from pathlib import Path
from typing import NamedTuple

from yoso.errors import CheckpointError, ConfigError, DatasetError, OutputError
from yoso.files import cannot_write, expanded, file_sha256, read_json, read_text, write_json, write_text
from yoso.installation import optional_packages
from yoso.settings import is_offline
from yoso.weights.download import download
from yoso.weights.layout import WEIGHTS
from yoso.weights.listener import current_listener

RELEASE = "https://github.com/hujiecpp/YOSO/releases/download/v0.1"
LICENSE = "MIT"
CITATION = """\
```bibtex
@inproceedings{hu2023yoso,
  title     = {You Only Segment Once: Towards Real-Time Panoptic Segmentation},
  author    = {Hu, Jie and Huang, Linyan and Ren, Tianhe and Zhang, Shengchuan and Ji, Rongrong and Cao, Liujuan},
  booktitle = {CVPR},
  pages     = {17819--17829},
  year      = {2023}
}
```
"""
CARD = """\
---
license: mit
library_name: yoso
pipeline_tag: image-segmentation
tags: [panoptic-segmentation]
---
# {name}

The weights that the authors of *You Only Segment Once: Towards Real-Time Panoptic Segmentation* (CVPR 2023) published
for {benchmark}, converted from {url}. No number was changed.

Licence: MIT, copyright Jie Hu (`LICENSE`), like the authors' repository. The terms of the training data may limit the
use of the weights.

PQ x 100 on `val` according to the paper (table {table}); not measured for this card:

| size | PQ | things | stuff |
|---|---:|---:|---:|
{rows}

Please cite:

{cite}"""
SOURCE = "source.json"


class PaperScore(NamedTuple):
    """Panoptic quality in the paper.

    Attributes:
        input_size: (shorter, longest) side in pixels.
        pq: panoptic quality on the benchmark's validation set, 0 to 1.
        pq_things: of the thing classes, 0 to 1.
        pq_stuff: of the stuff classes, 0 to 1.
    """

    input_size: tuple[int, int]
    pq: float
    pq_things: float
    pq_stuff: float


@dataclass(frozen=True)
class Published:
    """An official checkpoint.

    Attributes:
        benchmark: on which it was trained and evaluated.
        recipe: that describes it.
        file: name in the release.
        megabytes: size of the model folder's weights.
        table: number of the table in the paper with the scores.
        scores: at each test size, the best first.
    """

    benchmark: str
    recipe: str
    file: str
    megabytes: float
    table: int
    scores: tuple[PaperScore, ...]


PUBLISHED = {
    "coco-r50": Published(
        "COCO",
        "coco_r50",
        "yoso_res50_coco.pth",
        168.6,
        1,
        (PaperScore((800, 1333), 0.484, 0.535, 0.408), PaperScore((512, 800), 0.464, 0.507, 0.400)),
    ),
    "cityscapes-r50": Published(
        "Cityscapes",
        "cityscapes_r50",
        "yoso_res50_cityscapes.pth",
        170.5,
        2,
        (PaperScore((1024, 2048), 0.597, 0.510, 0.661), PaperScore((512, 1024), 0.525, 0.435, 0.591)),
    ),
    "ade20k-r50": Published(
        "ADE20K", "ade20k_r50", "yoso_res50_ade20k.pth", 168.6, 3, (PaperScore((640, 2560), 0.380, 0.373, 0.394),)
    ),
    "mapillary-r50": Published(
        "Mapillary Vistas",
        "mapillary_r50",
        "yoso_res50_mapillary.pth",
        170.8,
        4,
        (PaperScore((2048, 2048), 0.341, 0.243, 0.472),),
    ),
}


def cache_folder() -> Path:
    """Return the cache of fetched models: `YOSO_CACHE`, or `yoso` in the user's cache folder.

    Raises:
        ConfigError: the home folder is needed and not known.
    """
    if own := os.environ.get("YOSO_CACHE"):
        return expanded(own)
    try:
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "yoso"
    except ConfigError as error:
        raise ConfigError("the home folder, which holds the cache of models, is not known; set YOSO_CACHE") from error


def is_cached(name: str) -> bool:
    """Return whether a published model is in the cache."""
    try:
        return (cache_folder() / name / SOURCE).is_file()
    except ConfigError:  # without a home folder there is no cache
        return False


def published_folder(name: str, offline: bool = False) -> Path:
    """Return the model folder of a published model; fetch and convert the official file if it is not in the cache.

    `YOSO_MIRROR` is the URL of a folder with the files of the release, under the same names.

    Args:
        name: one of `PUBLISHED`.
        offline: fetch nothing; `YOSO_OFFLINE` has the same effect.

    Raises:
        CheckpointError: it is not in the cache and may not or cannot be fetched; the fetched file is not a checkpoint
            of this network, or not the same as the first one; the weights in the cache are damaged.
        OutputError: the cache cannot be written.
    """
    folder = cache_folder() / name
    if not is_cached(name):
        if offline or is_offline():
            raise CheckpointError(
                f"{name} is not in the cache ({folder}), and nothing is fetched offline; run once without --offline or "
                "YOSO_OFFLINE, or set YOSO_CACHE to a cache that has it"
            )
        try:
            with _alone(name):
                if not is_cached(name):  # another process may have fetched it in the meantime
                    _fetch(name, folder)
        except OutputError as error:
            raise OutputError(f"{error}; set YOSO_CACHE to another folder") from error
    _check_weights(folder)
    return folder


@contextmanager
def _alone(name: str) -> Generator[None, None, None]:
    """Wait until no other process fetches the same model, and make others wait."""
    with optional_packages(name):
        from filelock import FileLock, Timeout

    lock = FileLock(cache_folder() / f".{name}.lock")
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            current_listener().say(f"another process fetches {name}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise cannot_write(cache_folder(), error) from error
    try:
        yield
    finally:
        lock.release()


def _fetch(name: str, folder: Path) -> None:
    """Bring a complete model folder into the cache."""
    with optional_packages(name):
        from yoso.weights.conversion import convert

    if folder.exists():
        raise CheckpointError(f"{folder}: exists, but is not a fetched model; move or delete it")
    published = PUBLISHED[name]
    url = f"{os.environ.get('YOSO_MIRROR', '').strip().rstrip('/') or RELEASE}/{published.file}"
    checkpoint, making = cache_folder() / published.file, cache_folder() / f".{name}.making"
    if not checkpoint.is_file():
        current_listener().say(f"fetching {name} from {url} into {cache_folder()}")
        with current_listener().bar(published.file) as report:
            download(url, checkpoint, report, max_bytes=int(2e6 * published.megabytes))
    try:
        shutil.rmtree(making, ignore_errors=True)
        sha256 = _same_as_first(checkpoint)
        convert(checkpoint, making, published.recipe, {"license": LICENSE, "source": url, "sha256": sha256})
        _add_papers(making, name, url)
        source = {
            "url": url,
            "sha256": sha256,
            "bytes": checkpoint.stat().st_size,
            "fetched": f"{datetime.now(UTC):%F}",
        }
        write_json(making / SOURCE, {**source, "weights_sha256": file_sha256(making / WEIGHTS)}, indent=1)
        write_text(_record(checkpoint), f"{sha256}  {checkpoint.name}\n")
        os.replace(making, folder)
        checkpoint.unlink()
    except CheckpointError as error:
        checkpoint.unlink()
        raise CheckpointError(f"{url}: the fetched file was deleted, because it cannot be used: {error}") from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _same_as_first(checkpoint: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        CheckpointError: another one was recorded when the file was first fetched.
    """
    found, record = file_sha256(checkpoint), _record(checkpoint)
    recorded = read_text(record).split()[:1] if record.is_file() else []
    if recorded and recorded != [found]:
        raise CheckpointError(
            f"its sha256 is {found}, but {recorded[0]} is recorded in {record}; delete that file only if you know why "
            "the weights changed"
        )
    return found


def _check_weights(folder: Path) -> None:
    """Check that the weights are as they were after the conversion.

    Raises:
        CheckpointError: they are not.
    """
    try:
        intact = read_json(folder / SOURCE)["weights_sha256"] == file_sha256(folder / WEIGHTS)
    except (DatasetError, KeyError, TypeError, OSError):
        intact = False
    if not intact:
        raise CheckpointError(f"{folder}: is damaged; delete the folder to fetch the model again")


def _record(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.sha256")


def _add_papers(folder: Path, name: str, url: str) -> None:
    """Add the licence, and a model card with citation and scores, in the format of the Hugging Face hub."""
    published = PUBLISHED[name]
    shutil.copyfile(Path(str(package_files("yoso"))) / "assets" / "official" / "LICENSE", folder / "LICENSE")
    rows = (
        f"| {shorter}/{longest} | {100 * pq:.1f} | {100 * things:.1f} | {100 * stuff:.1f} |"
        for (shorter, longest), pq, things, stuff in published.scores
    )
    values = {"name": name, "url": url, "benchmark": published.benchmark, "table": published.table}
    write_text(folder / "README.md", CARD.format(**values, rows="\n".join(rows), cite=CITATION))
