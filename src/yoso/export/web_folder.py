"""A folder with the web page and a model, for any static host."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from yoso.errors import DatasetError, OutputError
from yoso.export.check import Parity
from yoso.export.formats import ExportTarget
from yoso.export.writing import write_onnx
from yoso.files import cannot_write, read_json, write_json, write_text
from yoso.serve.page import (
    CONTENT_SECURITY_POLICY,
    ISOLATION_HEADERS,
    PAGE_JSON,
    PageModel,
    model_files,
    open_page_model,
    page_document,
    page_files,
)
from yoso.weights.model_folder import Model

HEADERS = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, **ISOLATION_HEADERS}
"""That a host should send with every file: the page is safer with the first one, and faster with the others."""


def write_web(model: Model, target: ExportTarget, images: Sequence[np.ndarray]) -> Parity | None:
    """Write the web page with a model; see `yoso.export.formats.export`."""
    with folder_written_whole(target.path) as folder, tempfile.TemporaryDirectory() as work:
        file = Path(work, "model.onnx")
        parity = write_onnx(model, replace(target, format="onnx", path=file), images)
        fill_folder(folder, [open_page_model(target.name or "model", file)])
    return parity


def fill_folder(folder: Path, models: Sequence[PageModel]) -> None:
    """Write the page, its models and examples of a host's settings into an empty folder.

    Args:
        folder: that exists.
        models: that browsers can run; at least one.
    """
    for name, source in page_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    files = model_files(models)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_json(folder / PAGE_JSON, page_document(models, files, server=False))
    # The name under which Netlify and Cloudflare Pages look for it.
    write_text(folder / "_headers", "/*\n" + "".join(f"  {name}: {value}\n" for name, value in HEADERS.items()))
    nginx = [f'add_header {name} "{value}" always;\n' for name, value in HEADERS.items()]
    write_text(
        folder / "nginx-headers.conf",
        "# For nginx: include this file in the `location` block of the page.\n" + "".join(nginx),
    )


@contextmanager
def folder_written_whole(path: Path) -> Generator[Path, None, None]:
    """Yield an empty temporary folder beside `path`; rename it to `path` if the block succeeds, remove it if not.

    Raises:
        OutputError: `path` exists and is not an earlier page, or the place cannot be written.
    """
    _refuse_others(path)
    temporary = path.with_name(f".{path.name[:40]}-{secrets.token_hex(6)}")
    old = temporary.with_suffix(".old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _refuse_others(path: Path) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    try:
        is_page = "runtime" in read_json(path / PAGE_JSON)
    except (DatasetError, TypeError):
        is_page = False
    if not is_page:
        raise OutputError(f"{path}: exists and was not written by `yoso export --format web`; choose another --output")
