"""A download as one tree of files, whether its archives are unpacked or not.

The files of every zip in the folder count as if they lay there; where both exist, the unpacked ones are taken. Zips
within zips, such as COCO's panoptic PNGs, count as unpacked too.
"""

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from yoso.errors import ConfigError, DatasetError
from yoso.files import PathLike, written_whole

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class Entry(NamedTuple):
    """One file of a download.

    Attributes:
        path: the file, or the archive that holds it.
        archive: open, if it lies in one.
        member: its name in the archive.
    """

    path: Path
    archive: zipfile.ZipFile | None = None
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.archive else str(self.path)

    @property
    def mark(self) -> list[int]:
        """What tells whether the file has changed: its size, and its time or checksum."""
        if self.archive:
            info = self.archive.getinfo(self.member)
            return [info.file_size, info.CRC]
        facts = self.path.stat()
        return [facts.st_size, facts.st_mtime_ns]

    def content(self) -> BytesIO | None:
        """Return what a member of an archive holds; None for a file on disk, which is read from there.

        Raises:
            DatasetError: the archive is damaged.
        """
        if self.archive is None:
            return None
        try:
            return BytesIO(self.archive.read(self.member))
        except _DAMAGE as error:
            raise DatasetError(f"{self}: the archive is damaged ({_reason(error)}); download it again") from error

    def copy_to(self, target: PathLike) -> None:
        """Write the file's content to `target`, whole or not at all.

        Raises:
            DatasetError: it cannot be read.
            OutputError: it cannot be written.
        """
        with written_whole(target) as temporary, temporary.open("wb") as sink:
            for block in self._blocks():
                sink.write(block)

    def _blocks(self) -> Iterator[bytes]:
        """Yield the content piece by piece; an error of reading must not pass for one of writing."""
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self.archive.open(self.member) if self.archive else self.path.open("rb"))
                while block := source.read(2**20):
                    yield block
            except _DAMAGE as error:
                what = "the archive is damaged" if self.archive else "cannot be read"
                raise DatasetError(f"{self}: {what} ({_reason(error)}); download it again") from error


class Tree:
    """The files of a download, by their paths below its root."""

    def __init__(self, root: PathLike, scratch: PathLike) -> None:
        """Look into the zips of a folder.

        Args:
            root: where the downloads are.
            scratch: folder for what has to be unpacked on the way; it is made when it is needed.

        Raises:
            ConfigError: `root` is no folder.
        """
        self.root, self.scratch = Path(root), Path(scratch)
        if not self.root.is_dir():
            raise ConfigError(f"--root {root}: is no folder; give the folder that holds the downloads")
        self._stack = ExitStack()
        self._members: dict[str, Entry] = {}
        self.damaged: list[str] = []
        for path in sorted(self.root.glob("*.zip")):
            self._add(path, path, "")

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add(self, source: Path, path: Path, prefix: str) -> None:
        try:
            archive = self._stack.enter_context(zipfile.ZipFile(source))
        except (*_DAMAGE, ValueError) as error:
            self.damaged.append(f"{path} is damaged ({_reason(error)}); download it again")
            return
        for info in archive.infolist():
            if not info.is_dir() and not _is_litter(info.filename):
                self._members.setdefault(prefix + info.filename, Entry(path, archive, info.filename))

    def base(self, folder: str) -> str:
        """Return what stands before `folder` in this tree: "", or the name of one folder and a slash.

        Unpacked folders come before archives, and the root itself before the folders in it.
        """
        below = sorted(f"{path.name}/" for path in self.root.iterdir() if path.is_dir() and not _is_litter(path.name))
        for prefix in ("", *below):
            if (self.root / prefix / folder).is_dir():
                return prefix
        tops = {name.split("/")[0] + "/" for name in self._members if name.count("/") > 1}
        for prefix in ("", *sorted(tops)):
            if any(name.startswith(f"{prefix}{folder}/") for name in self._members):
                return prefix
        return ""

    def files(self, folder: str) -> dict[str, Entry]:
        """Return the files below a folder by their paths below it, in order; nothing if there is no such folder."""
        if found := files_below(self.root / folder):
            return found
        prefix = f"{folder}/"
        if not any(name.startswith(prefix) for name in self._members):
            self._unpack_inner(f"{folder}.zip", folder.rpartition("/")[0])
        found = {name.removeprefix(prefix): entry for name, entry in self._members.items() if name.startswith(prefix)}
        return {name: found[name] for name in sorted(found)}

    def file(self, name: str) -> Entry | None:
        """Return a file by its path below the root, or None."""
        path = self.root / name
        return Entry(path) if path.is_file() else self._members.get(name)

    def _unpack_inner(self, name: str, parent: str) -> None:
        """Count the files of a zip that lies in a folder or in another zip, as if it were unpacked where it lies."""
        entry = self.file(name)
        if entry is None:
            return
        prefix = f"{parent}/" if parent else ""
        # A compressed member can only be read from its beginning, so the inner archive needs a copy to jump about in.
        self._add(self.on_disk(entry), Path(str(entry)), prefix)

    def on_disk(self, entry: Entry) -> Path:
        """Return where a file can be read from; what lies in an archive is copied to the scratch folder.

        Raises:
            DatasetError: it cannot be read.
            OutputError: it cannot be written.
        """
        if entry.archive is None:
            return entry.path
        target = self.scratch / entry.member.replace("/", "-")
        entry.copy_to(target)
        return target


@contextmanager
def open_tree(root: PathLike, scratch: Path) -> Iterator[Tree]:
    """Yield a download's tree; afterwards what it unpacked on the way is gone."""
    try:
        with Tree(root, scratch) as tree:
            yield tree
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def files_below(folder: Path) -> dict[str, Entry]:
    """Return the files below a folder on disk by their paths below it, in order; nothing if there is no such folder."""
    found = {path.relative_to(folder).as_posix(): Entry(path) for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if not _is_litter(name)}


def _is_litter(name: str) -> bool:
    """Tell what file managers leave behind, such as `.DS_Store` and `__MACOSX`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
