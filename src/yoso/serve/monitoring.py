"""`GET /metrics`, for Prometheus."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from yoso.serve.api import service_of
from yoso.serve.metrics import MEDIA_TYPE
from yoso.serve.openapi import responses

router = APIRouter()


@router.get("/metrics", responses=responses({"text/plain": {"schema": {"type": "string"}}}), tags=["monitoring"])
async def metrics(request: Request) -> Response:
    """Return requests, duration of each stage, depth of the queue and rejections in Prometheus' text format."""
    return Response(service_of(request).metrics.text(), media_type=MEDIA_TYPE)
