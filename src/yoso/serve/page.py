"""The web page: which files it consists of, and what they are filled with, on a static host and on our own server."""

import gzip
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from yoso.categories import Categories
from yoso.errors import ConfigError
from yoso.files import read_json
from yoso.inference.exported import ExportedEngine
from yoso.inference.onnx_engine import OnnxEngine
from yoso.installation import installed_version
from yoso.serve.required_inputs import with_required_inputs
from yoso.settings import InferenceConfig

PAGE_JSON = "page.json"
"""Name of the document that fills the page; see `page_document`."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
"""For the header of the page and of its workers; index.html holds it too. WebAssembly needs `wasm-unsafe-eval`."""

ISOLATION_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""With them, browsers let the page use several threads."""

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gz": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""By suffix, of every file of the page. Browsers refuse scripts of other types."""

OPTIONAL_INPUTS = ("input_size", "output_size", "object_mask_threshold", "overlap_threshold")
"""Of a panoptic ONNX file. The page always gives them; see `yoso.serve.required_inputs`."""

_RUNTIME_VERSION = "1.30.0"
_WASM = "runtime/ort-wasm.wasm.gz"


@dataclass(frozen=True)
class PageModel:
    """A model that the page offers.

    Attributes:
        name: shown to users; also in the name of its file.
        categories: what its classes are.
        inference: thresholds and input size.
        about: free facts: licence, data.
        source_sha256: of its weights' file, or empty.
        onnx: content of a panoptic ONNX file for images of any size; None if only a server can run the model.
    """

    name: str
    categories: Categories
    inference: InferenceConfig
    about: dict[str, Any]
    source_sha256: str = ""
    onnx: bytes | None = None

    @classmethod
    def of_engine(cls, name: str, engine: ExportedEngine) -> "PageModel":
        """Describe an exported file; browsers run it if it is a panoptic ONNX file for images of any size."""
        for_browsers = isinstance(engine, OnnxEngine) and engine.form == "panoptic" and engine.size is None
        content = with_required_inputs(engine.path.read_bytes(), OPTIONAL_INPUTS) if for_browsers else None
        return cls(name, engine.categories, engine.inference, engine.about, engine.source_sha256, content)


def open_page_model(name: str, path: Path) -> PageModel:
    """Read an exported file for the page.

    Args:
        name: shown to users.
        path: of the file.

    Raises:
        CheckpointError: the file is missing or damaged, or `yoso export` did not write it.
        ConfigError: browsers cannot run it.
    """
    model = PageModel.of_engine(name, OnnxEngine(path, "cpu"))
    if model.onnx is None:
        raise ConfigError(
            f"{path}: browsers need a panoptic ONNX file for images of any size; export it without --form"
        )
    return model


@cache
def page_files() -> dict[str, Path]:
    """Return the static files by path relative to the page, such as "app.js" and "runtime/ort.js"."""
    root = Path(str(package_files("yoso"))) / "assets" / "web"
    return {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}


def model_files(models: Sequence[PageModel]) -> dict[str, bytes]:
    """Return the models that browsers can run, compressed, by path relative to the page.

    Files are sent as they are, without Content-Encoding: the page decompresses them itself, so that downloads are small
    on any host.
    """
    return {
        _model_file(model): gzip.compress(model.onnx, compresslevel=9, mtime=0)
        for model in models
        if model.onnx is not None
    }


def _model_file(model: PageModel) -> str:
    return f"models/{re.sub(r'[^A-Za-z0-9._-]+', '-', model.name)}.onnx.gz"


def page_document(models: Sequence[PageModel], files: dict[str, bytes], server: bool) -> dict[str, Any]:
    """Return the content of `page.json`.

    Args:
        models: the first one is shown first.
        files: what `model_files` returns for them.
        server: the page comes from our own server, which can segment images too.
    """
    wasm = page_files()[_WASM].read_bytes()
    return {
        "version": installed_version(),
        "server": server,
        "runtime": {
            "version": _RUNTIME_VERSION,
            "script": "runtime/ort.js",
            "factory": "runtime/ort-wasm.js",
            **_download(_WASM, wasm),
        },
        "models": [_described(model, files) for model in models],
        "samples": _samples(models),
    }


def _download(file: str, content: bytes) -> dict[str, Any]:
    """Return where a large file is and how large; the address changes with the content, so that caches never mix."""
    return {"file": f"{file}?v={hashlib.sha256(content).hexdigest()[:12]}", "bytes": len(content)}


def _described(model: PageModel, files: dict[str, bytes]) -> dict[str, Any]:
    content = files.get(_model_file(model))
    return {
        "name": model.name,
        **({"file": None, "bytes": 0} if content is None else _download(_model_file(model), content)),
        "weights_sha256": model.source_sha256,
        "input_size": model.inference.input_size,
        "object_mask_threshold": model.inference.object_mask_threshold,
        "overlap_threshold": model.inference.overlap_threshold,
        "categories": model.categories.to_json(),
        "license": str(model.about.get("license") or model.about.get("licence") or ""),
        "data": str(model.about.get("data") or ""),
    }


def _samples(models: Sequence[PageModel]) -> list[dict[str, str]]:
    """Return the sample images that show classes of the models; the first one if none does."""
    samples = read_json(page_files()["samples/samples.json"])
    names = {name for model in models for name in model.categories.names}
    fitting = [sample for sample in samples if names & set(sample["classes"])] or samples[:1]
    return [
        {
            "title": sample["title"],
            "credit": sample["credit"],
            "source": sample["source"],
            "file": f"samples/{sample['file']}",
        }
        for sample in fitting
    ]
