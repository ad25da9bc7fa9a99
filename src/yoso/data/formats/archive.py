"""A download as one tree of files, whether its archives are unpacked or not.

The files of every zip in the folder count as files of the folder; an unpacked file takes precedence. Zips within zips,
such as those of COCO's panoptic PNGs, count as unpacked too.
"""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from yoso.errors import ConfigError, DatasetError
from yoso.files import PathLike, is_hidden, refuse_special, safe_child, written_whole

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)

MAX_RATIO = 100
"""How many times its size an archive may unpack to. Annotations in JSON reach 20, images 1; a bomb reaches 1000."""

SMALL_BYTES = 2**24
"""What any archive may unpack to, whatever its size."""

MAX_MEMBER_BYTES = 2**30
"""Of a file that is read into memory, such as an image; others are copied in blocks."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How files may be packed. Others let a few bytes ask for gigabytes of working memory."""


class SourceFile(NamedTuple):
    """One file of a data set, on disk or in an archive.

    Attributes:
        path: the file, or the archive that holds it.
        archive: the open archive, if any.
        member: name of the file in the archive.
    """

    path: Path
    archive: zipfile.ZipFile | None = None
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.archive else str(self.path)

    @property
    def mark(self) -> list[int]:
        """Size, and time or checksum: what changes when the file changes."""
        if self.archive:
            info = self.archive.getinfo(self.member)
            return [info.file_size, info.CRC]
        facts = self.path.stat()
        return [facts.st_size, facts.st_mtime_ns]

    def content(self) -> BytesIO | None:
        """Return the content of a member of an archive; None for a file on disk, which is read from there.

        Raises:
            DatasetError: the archive is damaged, or the member is a symbolic link, too large, or packed in a rare way.
        """
        if self.archive is None:
            return None
        self._refuse_odd(self.archive)
        size = self.archive.getinfo(self.member).file_size
        if size > MAX_MEMBER_BYTES:
            raise DatasetError(f"{self}: has {size / 2**20:,.0f} MB, too much for an image; unpack the archive")
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
        """Yield the content in blocks; an error of reading must not pass for one of writing."""
        if self.archive:
            self._refuse_odd(self.archive)
        else:
            refuse_special(self.path, "a file of a data set", DatasetError)
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self.archive.open(self.member) if self.archive else self.path.open("rb"))
                while block := source.read(2**20):
                    yield block
            except _DAMAGE as error:
                what = "the archive is damaged" if self.archive else "cannot be read"
                raise DatasetError(f"{self}: {what} ({_reason(error)}); download it again") from error

    def _refuse_odd(self, archive: zipfile.ZipFile) -> None:
        """Refuse a symbolic link, whose content is a path rather than the file, and rare methods of packing."""
        info = archive.getinfo(self.member)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DatasetError(f"{self}: is a symbolic link; put the file itself into the archive, or unpack it")
        if info.compress_type not in _METHODS:
            raise DatasetError(
                f"{self}: is packed with method {info.compress_type}; pack it with deflate, or unpack it"
            )


class Tree:
    """The files of a download, by their paths below its root."""

    def __init__(self, root: PathLike, scratch: PathLike) -> None:
        """Open the zips of a folder.

        Args:
            root: folder with the downloads.
            scratch: folder for files that must be unpacked to be read; it is made when it is needed.

        Raises:
            ConfigError: `root` is not a folder.
        """
        self.root, self.scratch = Path(root), Path(scratch)
        if not self.root.is_dir():
            raise ConfigError(f"--root {root}: is not a folder; give the folder with the downloads")
        self._stack = ExitStack()
        self._members: dict[str, SourceFile] = {}
        self.damaged: list[str] = []
        for path in sorted(self.root.iterdir()):
            if path.suffix.lower() == ".zip" and not is_hidden(path.name) and path.is_file():
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
        unpacked, packed = sum(info.file_size for info in archive.infolist()), source.stat().st_size
        if unpacked > max(SMALL_BYTES, MAX_RATIO * packed):
            self.damaged.append(f"{path} unpacks to {unpacked / packed:,.0f} times its size, as no data set does")
            return
        for info in archive.infolist():
            # Some tools on Windows write backslashes, others begin with "./".
            name = "/".join(part for part in info.filename.replace("\\", "/").split("/") if part not in {"", "."})
            if not info.is_dir() and not is_hidden(name):
                self._members.setdefault(prefix + name, SourceFile(path, archive, info.filename))

    def base(self, folder: str) -> str:
        """Return the prefix of `folder` in this tree: "", or the name of one folder and a slash.

        Unpacked folders take precedence over archives, and the root itself over the folders in it.
        """
        below = sorted(f"{path.name}/" for path in self.root.iterdir() if path.is_dir() and not is_hidden(path.name))
        for prefix in ("", *below):
            if (self.root / prefix / folder).is_dir():
                return prefix
        tops = {name.split("/")[0] + "/" for name in self._members if name.count("/") > 1}
        for prefix in ("", *sorted(tops)):
            if any(name.startswith(f"{prefix}{folder}/") for name in self._members):
                return prefix
        return ""

    def files(self, folder: str) -> dict[str, SourceFile]:
        """Return the files below a folder by their paths below it, in order; {} if there is no such folder."""
        if found := files_below(self.root / folder):
            return found
        prefix = f"{folder}/"
        if not any(name.startswith(prefix) for name in self._members):
            self._unpack_inner(f"{folder}.zip", folder.rpartition("/")[0])
        found = {name.removeprefix(prefix): file for name, file in self._members.items() if name.startswith(prefix)}
        return {name: found[name] for name in sorted(found)}

    def file(self, name: str) -> SourceFile | None:
        """Return a file by its path below the root, or None."""
        path = self.root / name
        return SourceFile(path) if path.is_file() else self._members.get(name)

    def _unpack_inner(self, name: str, parent: str) -> None:
        """Add the files of a zip in a folder or in another zip, as if it were unpacked beside itself."""
        file = self.file(name)
        if file is None:
            return
        prefix = f"{parent}/" if parent else ""
        # A compressed member can only be read from its beginning, but reading an archive needs to jump; so copy it.
        self._add(self.on_disk(file), Path(str(file)), prefix)

    def on_disk(self, file: SourceFile) -> Path:
        """Return the path of a file on disk; a member of an archive is copied to the scratch folder.

        Raises:
            DatasetError: it cannot be read.
            OutputError: the copy cannot be written.
        """
        if file.archive is None:
            return file.path
        target = safe_child(self.scratch, file.member.replace("/", "-").replace("\\", "-"), file)
        file.copy_to(target)
        return target


@contextmanager
def open_tree(root: PathLike, scratch: Path) -> Iterator[Tree]:
    """Yield the tree of a download, and remove the scratch folder afterwards."""
    try:
        with Tree(root, scratch) as tree:
            yield tree
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def files_below(folder: Path) -> dict[str, SourceFile]:
    """Return the files below a folder on disk by their paths below it, in order; {} if there is no such folder."""
    found = {path.relative_to(folder).as_posix(): SourceFile(path) for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if not is_hidden(name)}


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
