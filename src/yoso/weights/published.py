"""The weights that the paper's authors published, by name: fetched once, checked, kept as model folders in a cache.

    <cache>/coco-r50/                     the model folder, with licence, citation and `source.json`
    <cache>/yoso_res50_coco.pth.sha256    the file as it was when it was fetched first, as sha256sum writes it
    <cache>/yoso_res50_coco.pth.part      an interrupted download

The authors publish no checksums. So the first file is trusted, as far as https and the check of every key and shape
carry, and any later one must be the same.
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

from yoso.errors import CheckpointError, DatasetError, OutputError
from yoso.files import cannot_write, file_sha256, read_json, write_json, written_whole
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
for {benchmark}, converted from {url}; no number was changed.

Licence: MIT, copyright Jie Hu (`LICENSE`), as the authors' repository. The terms of the data that they were trained on
may limit their use.

PQ x 100 on `val` as the paper gives it (table {table}); not measured here:

| size | PQ | things | stuff |
|---|---:|---:|---:|
{rows}

Please cite:

{cite}"""
SOURCE = "source.json"


class Score(NamedTuple):
    """A figure that the paper gives.

    Attributes:
        input_size: (shorter, longest) side in pixels.
        pq: panoptic quality on the benchmark's validation set, 0 to 1.
        pq_things: of the things alone.
        pq_stuff: of the stuff alone.
    """

    input_size: tuple[int, int]
    pq: float
    pq_things: float
    pq_stuff: float


@dataclass(frozen=True)
class Published:
    """An official checkpoint.

    Attributes:
        benchmark: that it was trained and evaluated on.
        recipe: that it belongs to.
        file: its name in the release.
        megabytes: of the model folder's weights.
        table: of the paper, with the scores.
        scores: at each test size, the best first.
    """

    benchmark: str
    recipe: str
    file: str
    megabytes: float
    table: int
    scores: tuple[Score, ...]


PUBLISHED = {
    "coco-r50": Published(
        "COCO",
        "coco_r50",
        "yoso_res50_coco.pth",
        168.6,
        1,
        (Score((800, 1333), 0.484, 0.535, 0.408), Score((512, 800), 0.464, 0.507, 0.400)),
    ),
    "cityscapes-r50": Published(
        "Cityscapes",
        "cityscapes_r50",
        "yoso_res50_cityscapes.pth",
        170.5,
        2,
        (Score((1024, 2048), 0.597, 0.510, 0.661), Score((512, 1024), 0.525, 0.435, 0.591)),
    ),
    "ade20k-r50": Published(
        "ADE20K", "ade20k_r50", "yoso_res50_ade20k.pth", 168.6, 3, (Score((640, 2560), 0.380, 0.373, 0.394),)
    ),
    "mapillary-r50": Published(
        "Mapillary Vistas",
        "mapillary_r50",
        "yoso_res50_mapillary.pth",
        170.8,
        4,
        (Score((2048, 2048), 0.341, 0.243, 0.472),),
    ),
}


def cache_folder() -> Path:
    """Return the folder for what is fetched: `YOSO_CACHE`, or `yoso` in the user's cache folder."""
    if own := os.environ.get("YOSO_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "yoso"


def is_cached(name: str) -> bool:
    """Tell whether a published model needs no fetching."""
    return (cache_folder() / name / SOURCE).is_file()


def published_folder(name: str, offline: bool = False) -> Path:
    """Return the model folder of a published model; fetch and convert the official file if it is not in the cache.

    `YOSO_MIRROR` is the address of a folder that has the files of the release under the same names.

    Args:
        name: one of `PUBLISHED`.
        offline: fetch nothing; `YOSO_OFFLINE` says the same.

    Raises:
        CheckpointError: it is not in the cache and may not or cannot be fetched; what was fetched is no checkpoint of
            this network, or not the file that was fetched first; the weights in the cache are damaged.
        OutputError: the cache cannot be written.
    """
    folder = cache_folder() / name
    if not is_cached(name):
        if offline or is_offline():
            raise CheckpointError(
                f"{name} is not in the cache ({folder}), and offline nothing is fetched; run once without --offline or "
                "YOSO_OFFLINE, or set YOSO_CACHE to a cache that has it"
            )
        try:
            with _alone(name):
                if not is_cached(name):  # another process may have fetched it while this one waited
                    _fetch(name, folder)
        except OutputError as error:
            raise OutputError(f"{error}; YOSO_CACHE can name another folder for what is fetched") from error
    _check_weights(folder)
    return folder


@contextmanager
def _alone(name: str) -> Generator[None, None, None]:
    """Wait until no other process fetches the same model, and keep others waiting."""
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
    """Bring a model folder into the cache, whole."""
    with optional_packages(name):
        from yoso.weights.conversion import convert

    if folder.exists():
        raise CheckpointError(f"{folder}: is in the way, and is not a model that was fetched; move or delete it")
    published = PUBLISHED[name]
    url = f"{os.environ.get('YOSO_MIRROR', '').strip().rstrip('/') or RELEASE}/{published.file}"
    checkpoint, making = cache_folder() / published.file, cache_folder() / f".{name}.making"
    if not checkpoint.is_file():
        current_listener().say(f"fetching {name} from {url} into {cache_folder()}")
        with current_listener().bar(published.file) as report:
            download(url, checkpoint, report)
    try:
        shutil.rmtree(making, ignore_errors=True)
        sha256 = _same_as_first(checkpoint)
        convert(checkpoint, making, published.recipe, {"license": LICENSE, "source": url, "sha256": sha256})
        _add_papers(making, name, url)
        facts = {"url": url, "sha256": sha256, "bytes": checkpoint.stat().st_size, "fetched": f"{datetime.now(UTC):%F}"}
        write_json(making / SOURCE, {**facts, "weights_sha256": file_sha256(making / WEIGHTS)}, indent=1)
        with written_whole(_record(checkpoint)) as temporary:
            temporary.write_text(f"{sha256}  {checkpoint.name}\n")
        os.replace(making, folder)
        checkpoint.unlink()
    except CheckpointError as error:
        checkpoint.unlink()
        raise CheckpointError(f"{url}: what was fetched is not used and was deleted: {error}") from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _same_as_first(checkpoint: Path) -> str:
    """Return a file's sha256.

    Raises:
        CheckpointError: another one was recorded when the file was fetched first.
    """
    found, record = file_sha256(checkpoint), _record(checkpoint)
    recorded = record.read_text().split()[:1] if record.is_file() else []
    if recorded and recorded != [found]:
        raise CheckpointError(
            f"its sha256 is {found}, but {recorded[0]} is recorded in {record}; delete that file only if you know why "
            "the weights changed"
        )
    return found


def _check_weights(folder: Path) -> None:
    """Check that the weights are those that were converted.

    Raises:
        CheckpointError: they are not.
    """
    try:
        intact = read_json(folder / SOURCE)["weights_sha256"] == file_sha256(folder / WEIGHTS)
    except (DatasetError, KeyError, TypeError, OSError):
        intact = False
    if not intact:
        raise CheckpointError(f"{folder}: is damaged; delete the folder, and the model is fetched again")


def _record(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.sha256")


def _add_papers(folder: Path, name: str, url: str) -> None:
    """Add the licence, and a card with citation and figures, in the form that the hub reads."""
    published = PUBLISHED[name]
    shutil.copyfile(Path(str(package_files("yoso"))) / "assets" / "official" / "LICENSE", folder / "LICENSE")
    rows = (
        f"| {shorter}/{longest} | {100 * pq:.1f} | {100 * things:.1f} | {100 * stuff:.1f} |"
        for (shorter, longest), pq, things, stuff in published.scores
    )
    facts = {"name": name, "url": url, "benchmark": published.benchmark, "table": published.table}
    (folder / "README.md").write_text(CARD.format(**facts, rows="\n".join(rows), cite=CITATION))
