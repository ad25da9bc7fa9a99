"""The web page on this server: its files, and the models that browsers may run themselves."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from yoso.inference.exported import ExportedEngine
from yoso.inference.predictor import Predictor
from yoso.serve.api import JSON
from yoso.serve.page import CONTENT_TYPES, PAGE_JSON, PageModel, model_files, page_document, page_files
from yoso.serve.problems import Problem
from yoso.serve.service import Service

INDEX = "index.html"
MAX_MODEL_BYTES = 40_000_000
"""Larger files are not offered to browsers; the server runs them."""

CURRENT = "no-cache"
UNCHANGING = "public, max-age=31536000, immutable"
"""For files whose address changes with their content."""

router = APIRouter(include_in_schema=False)


class Site:
    """What the page is filled with; made on first use, because models must be loaded and compressed."""

    def __init__(self, service: Service) -> None:
        """Remember the models.

        Args:
            service: of the server.
        """
        self._service = service
        self._lock = threading.Lock()
        self._files: dict[str, bytes] | None = None

    def files(self) -> dict[str, bytes]:
        """Return `page.json` and the models that browsers can run, by path.

        Raises:
            Problem: a model is loading.
        """
        with self._lock:
            if self._files is None:
                self._files = self._made()
            return self._files

    def _made(self) -> dict[str, bytes]:
        is_open = self._service.settings.key is None
        loaded = [self._service.models.get(name) for name in self._service.models.names]
        models = [_page_model(name, predictor, is_open) for name, predictor in loaded]
        files = model_files(models)
        document = {**page_document(models, files, server=True), "key": not is_open}
        return {**files, PAGE_JSON: json.dumps(document).encode("utf-8")}


def _page_model(name: str, predictor: Predictor, is_open: bool) -> PageModel:
    """Describe a model; without a key, browsers may download a small one."""
    engine = predictor.engine
    if is_open and isinstance(engine, ExportedEngine) and engine.path.stat().st_size <= MAX_MODEL_BYTES:
        return PageModel.of_engine(name, engine)
    return PageModel(name, predictor.categories, predictor.inference, predictor.about)


@router.get("/page.json")
async def page_json(request: Request) -> Response:
    """Return what fills the page."""
    files = await asyncio.to_thread(_site(request).files)
    return Response(files[PAGE_JSON], headers={"Cache-Control": CURRENT}, media_type=JSON)


@router.get("/models/{file}")
async def model_file(request: Request, file: str) -> Response:
    """Return a model that browsers can run."""
    files = await asyncio.to_thread(_site(request).files)
    path = f"models/{file}"
    if path not in files:
        raise Problem("not-found", "there is no such model file")
    return Response(files[path], headers={"Cache-Control": UNCHANGING}, media_type=CONTENT_TYPES[".gz"])


def _site(request: Request) -> Site:
    return request.app.state.site


def add_page(app: FastAPI, service: Service) -> list[str]:
    """Add the page to an application; return the paths that need no key.

    Args:
        app: to add it to.
        service: of the server.
    """
    app.state.site = Site(service)
    app.include_router(router)
    files = page_files()
    for path, file in {"": files[INDEX], **files}.items():
        app.get(f"/{path}", include_in_schema=False)(_sender(file))
    return ["/", "/page.json", *(f"/{path}" for path in files)]


def _sender(file: Path) -> Callable[[], FileResponse]:
    async def send() -> FileResponse:
        cache = UNCHANGING if file.suffix == ".gz" else CURRENT
        kind = CONTENT_TYPES.get(file.suffix, "text/plain; charset=utf-8")
        return FileResponse(file, headers={"Cache-Control": cache}, media_type=kind)

    return send  # type: ignore[return-value]
