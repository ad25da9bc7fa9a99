"""Fetching one file over HTTP: complete or not at all, and resumed after an interruption.

It uses the standard library's `urllib`, which loads fast, takes proxies from the environment, and does not change with
versions of huggingface_hub, whose own client has been three different libraries.
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
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import cannot_write, read_json, write_json
from yoso.values import fault_in
from yoso.weights.listener import Report

BLOCK = 1 << 18

MAX_BYTES = 8 * 10**9
"""Of a file of unknown size; the largest weights that timm publishes have a little less."""

_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_RANGE_REFUSED = 416
_ADVICE = (
    "check the connection and the proxy, set YOSO_MIRROR to a server that has the file, or fetch it yourself and use "
    "`yoso convert`"
)


@dataclass(frozen=True)
class Patience:
    """How long to wait for slow and failing servers.

    Attributes:
        timeout_seconds: longest time without an answer.
        tries: number of failures in a row, without progress, after which the download fails.
        pause_seconds: between two tries.
    """

    timeout_seconds: float = 30.0
    tries: int = 3
    pause_seconds: float = 1.0


_NOTE = {
    "url": str,
    "validator": lambda value: isinstance(value, str) and re.fullmatch("[ -~]*", value) is not None,
    "total": lambda value: value is None or isinstance(value, int),
}


class _BrokenOffError(Exception):
    """A transfer that ended early and may succeed on another try; says how it ended."""


@dataclass(frozen=True)
class _Part:
    """The bytes of a file fetched so far, `NAME.part`, and beside them a note that says of which version of the file.

    Attributes:
        path: the bytes.
        url: their source; bytes from another source are not used.
        max_bytes: of the whole file; more are not fetched.
    """

    path: Path
    url: str
    max_bytes: int

    @property
    def note(self) -> Path:
        """The file that says where the bytes are from."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Number of bytes fetched so far."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def progress(self) -> tuple[int, str, int | None]:
        """Return the bytes to resume after, the validator of their version, and the total; zero to start over."""
        try:
            note = read_json(self.note)
        except DatasetError:
            note = None
        # Without a valid note, nothing says which file the bytes belong to.
        if fault_in(note, _NOTE) or note["url"] != self.url or not note["validator"]:
            return 0, "", None
        return self.size, note["validator"], note["total"]

    def discard(self) -> None:
        """Remove the bytes and their note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    report: Report | None = None,
    patience: Patience | None = None,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Fetch a file.

    Bytes fetched so far are in `<target>.part` and survive a failure. The next call resumes after them if the server
    still has the same version of the file and supports ranges; otherwise it starts over. Only one process at a time may
    fetch a file.

    Args:
        url: http or https.
        target: appears once it is complete.
        report: called after every block.
        patience: with slow and failing servers.
        max_bytes: of the file; a server that sends more is not heard to the end.

    Raises:
        CheckpointError: the server repeatedly cannot be reached, answers with an error, does not answer, or ends the
            transfer early; or the file is larger than `max_bytes`.
        ConfigError: the URL is invalid.
        OutputError: the file cannot be written.
    """
    if not _is_url(url):
        raise ConfigError(f"{url!r}: is not the URL of a file; it must begin with http:// or https://")
    report, patience = report or (lambda done, total: None), patience or Patience()
    part = _Part(target.with_name(f"{target.name}.part"), url, max_bytes)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    most, left = part.size, patience.tries
    while True:
        try:
            _resume(part, report, patience.timeout_seconds)
            break
        except _BrokenOffError as broken:
            left = patience.tries if part.size > most else left - 1
            most = max(most, part.size)
            if left <= 0:
                kept = f"; the next try resumes after {part.size / 1e6:.1f} MB" if part.size else ""
                raise CheckpointError(f"{url}: cannot be fetched ({broken}){kept}; {_ADVICE}") from broken
            time.sleep(patience.pause_seconds)
    with _writing(target):
        os.replace(part.path, target)
        part.discard()


def _is_url(url: str) -> bool:
    """Tell whether a text is the URL of a file that can be asked for: host, port and path in ASCII."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError:  # a port that is no number, or brackets without an address
        return False
    return has_host and re.fullmatch(r"https?://[!-~]+/[!-~]+", url) is not None


def _resume(part: _Part, report: Report, timeout: float) -> None:
    """Fetch the missing bytes in one request."""
    offset, validator, total = part.progress()
    if offset and offset == total:
        return
    with _opened(part, offset, validator, timeout) as response:
        resumed = offset > 0 and response.status == 206
        if resumed and not str(response.headers["Content-Range"]).startswith(f"bytes {offset}-"):
            part.discard()
            raise _BrokenOffError("the server sends another part than requested")
        done = offset if resumed else 0
        length = response.headers["Content-Length"]
        total = done + int(length) if re.fullmatch("[0-9]{1,18}", str(length)) else None
        if total is not None and total > part.max_bytes:
            raise _too_large(part)
        with _writing(part.path), part.path.open("ab" if resumed else "wb") as stream:
            if not resumed:
                # Only after the old bytes are gone: the note must never describe bytes of another version.
                version = response.headers["ETag"] or response.headers["Last-Modified"] or ""
                validator = "" if version.startswith("W/") else version
                write_json(part.note, {"url": part.url, "validator": validator, "total": total})
            done = _receive(response, stream, part, total, report)
    if done > part.max_bytes:
        raise _too_large(part)
    if total is not None and done != total:
        raise _BrokenOffError(f"the connection ended after {done:,} of {total:,} bytes")


def _too_large(part: _Part) -> CheckpointError:
    part.discard()
    return CheckpointError(
        f"{part.url}: the file is larger than {part.max_bytes / 1e6:,.1f} MB, so it is not what is expected and was "
        "not kept; check the server that YOSO_MIRROR names, if it is set"
    )


def _receive(response: HTTPResponse, stream: BinaryIO, part: _Part, total: int | None, report: Report) -> int:
    """Copy the body, up to the first block beyond `part.max_bytes`; return the number of bytes fetched so far."""
    done = stream.tell()
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
        if done > part.max_bytes:
            return done


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, such as to the storage of a release, only to http or https, and never from https to http."""

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage) -> Any:
        """Follow a redirect; a malformed address is an error of the server."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except URLError:
            fp.close()
            raise
        except ValueError as error:
            fp.close()
            raise URLError(f"the server redirects to a malformed address: {error}") from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Follow a redirect, if it is safe."""
        if not _is_url(newurl) or (req.type == "https" and not newurl.lower().startswith("https:")):
            raise URLError(f"the server redirects from {req.type} to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _opened(part: _Part, offset: int, validator: str, timeout: float) -> Generator[HTTPResponse, None, None]:
    """Request the bytes from `offset` on, or all of them if the file no longer is the version of the validator."""
    headers = {"User-Agent": "yoso", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        # Not `urlopen`, which keeps the proxies that the environment has at its first call.
        response = cast(
            HTTPResponse, build_opener(_SafeRedirects).open(Request(part.url, headers=headers), timeout=timeout)
        )
    except HTTPError as error:
        answer = f"the server answers {error.code} {' '.join(str(error.reason).split())}"
        error.close()
        if error.code == _RANGE_REFUSED:
            part.discard()
        elif error.code not in _TEMPORARY:
            raise CheckpointError(f"{part.url}: cannot be fetched ({answer}); {_ADVICE}") from error
        raise _BrokenOffError(answer) from error
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(_reason(error)) from error
    except ValueError as error:  # addresses that only the parts of urllib find to be wrong, of redirects too
        raise CheckpointError(f"{part.url}: cannot be fetched (malformed address: {error}); {_ADVICE}") from error
    with response:
        yield response


def _reason(error: OSError | HTTPException) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server does not answer"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__


@contextmanager
def _writing(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
