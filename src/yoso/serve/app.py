"""The application: all routes, behind the middleware that protects and records them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from yoso.errors import YosoError
from yoso.installation import installed_version
from yoso.serve import api, frames, inference_protocol, label_studio, monitoring
from yoso.serve.guard import Guard
from yoso.serve.openapi import describe
from yoso.serve.problems import Problem, as_problem, http_problem
from yoso.serve.records import REQUEST_ID, Records, problem_response, unexpected
from yoso.serve.service import Service
from yoso.serve.settings import ServerSettings
from yoso.serve.site import add_page

HEALTH = ("/v2/health/live", "/v2/health/ready")
"""Paths that need no key, as those of the page."""


@dataclass(frozen=True)
class Application:
    """A server's application, wrapped, and what it uses.

    Attributes:
        asgi: to run.
        service: that its routes share.
    """

    asgi: ASGIApp
    service: Service


def create(settings: ServerSettings, on_failure: Callable[[Exception], None] | None = None) -> Application:
    """Return the application of a server; its models are loaded when it starts.

    Args:
        settings: of the server.
        on_failure: called in another thread if a model cannot be loaded.
    """
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        service.models.start(on_failure)
        service.queue.start()
        yield
        service.queue.drain()
        await asyncio.to_thread(service.queue.join, settings.limits.drain_seconds)

    app = FastAPI(
        title="YOSO",
        version=installed_version(),
        description="Real-time panoptic segmentation",
        lifespan=lifespan,
        # The pages of FastAPI load scripts from other servers.
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.service = service
    for router in (api.router, frames.router, inference_protocol.router, label_studio.router, monitoring.router):
        app.include_router(router)
    public = [*HEALTH, *add_page(app, service)]
    _handle_errors(app, service)
    describe(app, settings.key is not None)
    return Application(_wrapped(app, service, public), service)


def _wrapped(app: FastAPI, service: Service, public: Collection[str]) -> ASGIApp:
    settings = service.settings
    wrapped: ASGIApp = Guard(app, settings, service.metrics, public)
    if settings.origins:
        wrapped = CORSMiddleware(
            wrapped,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    return Records(wrapped, service.metrics)


def _handle_errors(app: FastAPI, service: Service) -> None:
    """Answer every error with a problem document."""

    async def explained(request: Request, error: Exception) -> Response:
        return problem_response(request, as_problem(error), service.metrics)

    async def of_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_response(request, http_problem(error.status_code, error.detail, error.headers), service.metrics)

    async def invalid(request: Request, error: Exception) -> Response:
        return problem_response(request, Problem("invalid-option", str(error)[:300]), service.metrics)

    app.add_exception_handler(Problem, explained)
    app.add_exception_handler(YosoError, explained)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)
