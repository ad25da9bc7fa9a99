"""Fetching one file over HTTP: whole or not there, and resumed where it stopped.

The standard library's `urllib` does it: it loads in a moment, takes proxies from the environment, and does not change
with the versions of huggingface_hub, whose own client has been three different libraries.
"""

import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import cannot_write, read_json, write_json
from yoso.weights.listener import Report

BLOCK = 1 << 18
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_RANGE_REFUSED = 416
_ADVICE = (
    "check the connection and the proxy, set YOSO_MIRROR to a server that has the file, or fetch it by hand and use "
    "`yoso convert`"
)


@dataclass(frozen=True)
class Patience:
    """How long a download may disappoint.

    Attributes:
        timeout_seconds: longest silence of the server.
        tries: failures in a row, without a byte more, after which it is given up.
        pause_seconds: between two tries.
    """

    timeout_seconds: float = 30.0
    tries: int = 3
    pause_seconds: float = 1.0


class _BrokenOffError(Exception):
    """A transfer that ended early and may succeed when it is tried again; says how it ended."""


@dataclass(frozen=True)
class _Part:
    """What has arrived of a file, `NAME.part`, and beside it a note that says of which version of the file.

    Attributes:
        path: the bytes.
        url: where they come from; bytes from elsewhere are not gone on with.
    """

    path: Path
    url: str

    @property
    def note(self) -> Path:
        """The file beside it that says where it is from."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that are there already."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def standing(self) -> tuple[int, str, int | None]:
        """Return the bytes to go on from, the version's validator, and the bytes in all; zeros to begin anew."""
        try:
            note = read_json(self.note)
            if note["url"] == self.url and note["validator"]:
                return self.size, note["validator"], note["total"]
        except (DatasetError, KeyError, TypeError):
            pass  # without a note that can be trusted, nothing tells which file the bytes belong to
        return 0, "", None

    def discard(self) -> None:
        """Remove it and its note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(url: str, target: Path, report: Report | None = None, patience: Patience | None = None) -> None:
    """Fetch a file.

    What has arrived is in `<target>.part` and survives a failure; the next call goes on from there if the server still
    has the same version of the file and knows ranges, and begins anew if not. One process at a time may do this.

    Args:
        url: http or https.
        target: appears once it is whole.
        report: hears of every block.
        patience: with slow and failing servers.

    Raises:
        CheckpointError: the server cannot be reached, answers with an error, is silent, or breaks off, again and again.
        ConfigError: the URL is none.
        OutputError: the file cannot be written.
    """
    if not re.match(r"https?://[^/\s]+/\S+$", url):
        raise ConfigError(f"{url!r}: is not the address of a file; it must begin with http:// or https://")
    report, patience = report or (lambda done, total: None), patience or Patience()
    part = _Part(target.with_name(f"{target.name}.part"), url)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    most, left = part.size, patience.tries
    while True:
        try:
            _go_on(part, report, patience.timeout_seconds)
            break
        except _BrokenOffError as broken:
            left = patience.tries if part.size > most else left - 1
            most = max(most, part.size)
            if left <= 0:
                kept = f"; {part.size / 1e6:.1f} MB are kept to go on from" if part.size else ""
                raise CheckpointError(f"{url}: cannot be fetched ({broken}){kept}; {_ADVICE}") from broken
            time.sleep(patience.pause_seconds)
    with _writing(target):
        os.replace(part.path, target)
        part.discard()


def _go_on(part: _Part, report: Report, timeout: float) -> None:
    """Fetch what is missing, in one request."""
    offset, validator, total = part.standing()
    if offset and offset == total:
        return
    with _opened(part, offset, validator, timeout) as response:
        resumed = offset > 0 and response.status == 206
        if resumed and not str(response.headers["Content-Range"]).startswith(f"bytes {offset}-"):
            part.discard()
            raise _BrokenOffError("the server sends another part than it was asked for")
        done = offset if resumed else 0
        length = response.headers["Content-Length"]
        total = done + int(length) if str(length).isdigit() else None
        with _writing(part.path), part.path.open("ab" if resumed else "wb") as stream:
            if not resumed:
                # Only now that the old bytes are gone: a note must never stand beside another version's bytes.
                version = response.headers["ETag"] or response.headers["Last-Modified"] or ""
                validator = "" if version.startswith("W/") else version
                write_json(part.note, {"url": part.url, "validator": validator, "total": total})
            done = _receive(response, stream, done, total, report)
    if total is not None and done != total:
        raise _BrokenOffError(f"the connection ended after {done:,} of {total:,} bytes")


def _receive(response: HTTPResponse, stream: BinaryIO, done: int, total: int | None, report: Report) -> int:
    """Copy the body; return how many bytes are there then."""
    report(done, total)
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, HTTPException) as error:
            raise _BrokenOffError(_reason(error)) from error
        if not block:
            return done
        stream.write(block)
        done += len(block)
        report(done, total)


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, as to the storage behind a release, but not from https to anything that can be listened to."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Follow a redirection, but never from https to http."""
        if req.type == "https" and not newurl.startswith("https:"):
            raise URLError(f"the server redirects from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _opened(part: _Part, offset: int, validator: str, timeout: float) -> Generator[HTTPResponse, None, None]:
    """Ask for the bytes from `offset` on, or for all of them if the file is no longer the version of the validator."""
    headers = {"User-Agent": "yoso", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        # Not `urlopen`, which keeps the proxies that the environment named at its first call.
        response = cast(
            HTTPResponse, build_opener(_SafeRedirects).open(Request(part.url, headers=headers), timeout=timeout)
        )
    except HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        error.close()
        if error.code == _RANGE_REFUSED:
            part.discard()
        elif error.code not in _PASSING:
            raise CheckpointError(f"{part.url}: cannot be fetched ({answer}); {_ADVICE}") from error
        raise _BrokenOffError(answer) from error
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(_reason(error)) from error
    with response:
        yield response


def _reason(error: OSError | HTTPException) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server is silent"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__


@contextmanager
def _writing(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
