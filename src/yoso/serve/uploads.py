"""Images and options out of a request: multipart, raw bytes, or JSON."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import HTTPConnection, Request

from yoso.files import UPLOAD_FORMATS
from yoso.serve.problems import Problem
from yoso.serve.settings import Limits

IMAGE = "image"
"""Name of the form part and of the JSON member that holds the image."""

RAW_TYPES = ("application/octet-stream", *(f"image/{name.lower()}" for name in UPLOAD_FORMATS))
TYPES = ("multipart/form-data", "application/json", *RAW_TYPES)


async def read_request(request: Request, limits: Limits) -> tuple[bytes, dict[str, Any]]:
    """Return the image of a request as bytes, and its options by name, not yet checked.

    Args:
        request: its body is `multipart/form-data` with a part `image`, `application/json` with a member `image` in
            base64, or the bytes of an image. Options are query parameters, form parts, or JSON members.
        limits: on the number of parts and values; `guard` enforces the other ones.

    Raises:
        Problem: the body is of another type or malformed, there is no image, or an option is given twice.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES:
        said = f"the media type is {kind!r}" if kind else "there is no Content-Type header"
        raise Problem("unsupported-media-type", f"{said}; use one of: {', '.join(TYPES)}")
    given = query_options(request)
    if kind in RAW_TYPES:
        return _not_empty(await request.body()), given
    if kind == "application/json":
        members = await read_json_object(request, limits)
        image = from_base64(members.pop(IMAGE, None))
    else:
        members = await _read_form(request, limits)
        image = members.pop(IMAGE, None)
        if not isinstance(image, bytes):
            raise Problem("malformed-request", f"the form has no file {IMAGE!r}; send one part of this name")
    if twice := given.keys() & members.keys():
        raise Problem("invalid-option", f"the option {min(twice)!r} is given twice; give it once")
    return _not_empty(image), given | members


def query_options(request: HTTPConnection) -> dict[str, Any]:
    """Return the options of the query.

    Raises:
        Problem: an option is given twice.
    """
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        raise Problem("invalid-option", "an option is given twice; give each once, with values separated by commas")
    return given


def _not_empty(image: bytes) -> bytes:
    if not image:
        raise Problem("unreadable-image", "the image is empty; send the bytes of a JPEG or PNG file")
    return image


async def read_json_object(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the JSON object of a request's body.

    Raises:
        Problem: the body is not a JSON object, or has too many values.
    """
    return parse_json_object(await request.body(), limits)


def parse_json_object(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Problem: it is not a JSON object in UTF-8, or has too many values.
    """
    # Parsed lists take tens of bytes for each byte of text, so the size of the text alone does not bound memory.
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > limits.json_values:
        raise Problem("too-large", f"the JSON body has more than {limits.json_values:,} values; send binary data")
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise Problem("malformed-request", f"the body is not JSON ({reason})") from error
    if not isinstance(content, dict):
        raise Problem("malformed-request", f"the body is a JSON {type(content).__name__}; an object is needed")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def from_base64(text: Any) -> bytes:
    """Decode an image in base64.

    Raises:
        Problem: there is none, or it is not base64.
    """
    if not isinstance(text, str):
        raise Problem("malformed-request", f"the JSON object has no text {IMAGE!r}; give the image in base64")
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Problem("malformed-request", f"{IMAGE!r} is not base64 ({error}); leave out any prefix") from error


class _Form(MultiPartParser):
    """Keeps all parts in memory, because the body is small, and notices whether the closing boundary arrived."""

    spool_max_size = 2**62
    is_complete = False

    def on_end(self) -> None:
        """See the base class."""
        self.is_complete = True

    def close(self) -> None:
        """Close the files, those of incomplete parts too."""
        for file in self._files_to_close_on_error:
            file.close()


async def _read_form(request: Request, limits: Limits) -> dict[str, Any]:
    async def body() -> AsyncGenerator[bytes, None]:
        yield await request.body()

    parser = _Form(request.headers, body(), max_files=1, max_fields=limits.form_parts)
    members: dict[str, Any] = {}
    try:
        for name, value in (await parser.parse()).multi_items():
            if name in members:
                raise Problem("invalid-option", f"the form has two parts {name!r}; give it once")
            members[name] = await value.read() if isinstance(value, UploadFile) else value
    except MultiPartException as error:
        raise Problem("malformed-request", f"the form cannot be read ({error.message})") from error
    finally:
        parser.close()
    if not parser.is_complete:
        raise Problem("malformed-request", "the form ends before its closing boundary; is the upload truncated?")
    if wrong := [name for name, value in members.items() if isinstance(value, bytes) != (name == IMAGE)]:
        raise Problem("malformed-request", f"part {wrong[0]!r}: only {IMAGE!r} is a file, and it must be one")
    return members
