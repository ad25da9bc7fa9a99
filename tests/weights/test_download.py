"""Downloads: whole or not there, resumed where they stopped, and errors that say what happened."""

import errno
import socket
import time
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from file_server import FileServer
from yoso.errors import CheckpointError, ConfigError, OutputError
from yoso.weights.download import Patience, _SafeRedirects, download

CONTENT = bytes(range(256)) * 4000
QUICK = Patience(timeout_seconds=0.3, tries=2, pause_seconds=0.0)


@pytest.fixture
def server():
    with FileServer({"weights.pth": CONTENT}) as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights.pth"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def fetch(server, target, patience=QUICK):
    download(f"{server.address}/weights.pth", target, patience=patience)


def refused(server, target, *parts):
    """Assert that fetching fails with one line that holds these parts, and that no file appears."""
    with pytest.raises(CheckpointError) as caught:
        fetch(server, target)
    message = str(caught.value)
    assert message.startswith(f"{server.address}/weights.pth: cannot be fetched (")
    assert "\n" not in message
    for part in (*parts, "YOSO_MIRROR", "yoso convert"):
        assert part in message
    assert not target.exists()
    return message


def test_a_whole_file(server, target):
    heard = []
    download(f"{server.address}/weights.pth", target, lambda done, total: heard.append((done, total)), QUICK)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert heard[0] == (0, len(CONTENT))
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert heard == sorted(heard)


def test_without_a_length(server, target):
    server.faults = ["no length"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_slow_server_is_waited_for(server, target):
    """However long the whole takes: only the time without an answer is limited, and every block is reported."""
    server.faults, server.pause_seconds = ["slow"], 0.3
    heard = []
    begun = time.monotonic()
    patience = Patience(timeout_seconds=2.0, tries=1, pause_seconds=0.0)
    download(f"{server.address}/weights.pth", target, lambda done, _: heard.append(done), patience)
    assert time.monotonic() - begun > patience.timeout_seconds
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/weights.pth", None)]
    assert len(set(heard)) > 10


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_permanent_error_is_not_retried(status, server, target):
    server.faults = [status] * 5
    refused(server, target, f"the server answers {status}")
    assert len(server.requests) == 1
    assert list(target.parent.glob("*")) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_temporary_error_is_retried(status, server, target):
    server.faults = [status]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    server.faults = [status] * 5
    target.unlink()
    refused(server, target, f"the server answers {status}")
    assert len(server.requests) == 2 + QUICK.tries


@pytest.mark.parametrize("fault", ["truncate", "reset", "silence"])
def test_an_interrupted_transfer_is_resumed(fault, server, target):
    server.faults = [fault, fault, fault]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    offsets = [int(asked.removeprefix("bytes=").rstrip("-")) for _, asked in server.requests[1:]]
    assert offsets[0] >= (0 if fault == "reset" else len(CONTENT) // 2)  # a reset may overtake what was sent before it
    assert offsets == sorted(offsets)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("fault", "words"),
    [("truncate", "the connection ended after"), ("silence", "the server does not answer"), ("reset", "reset by peer")],
)
def test_a_transfer_that_is_interrupted_repeatedly_fails(fault, words, server, target):
    server.ranges = False
    server.faults = [fault] * 5
    message = refused(server, target, words)
    part = target.with_name("weights.pth.part")
    assert (f"resumes after {part.stat().st_size / 1e6:.1f} MB" in message) == (part.stat().st_size > 0)
    server.faults, server.ranges, server.requests = [], True, []
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1


def interrupted(server, target):
    """Leave the first half of the file as `.part`."""
    server.faults = ["truncate", 404]
    refused(server, target)
    server.requests.clear()
    part = target.with_name("weights.pth.part")
    assert part.read_bytes() == CONTENT[: len(CONTENT) // 2]
    return part


def test_a_later_call_goes_on(server, target):
    interrupted(server, target)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/weights.pth", f"bytes={len(CONTENT) // 2}-")]


def test_a_server_without_ranges_sends_all(server, target):
    interrupted(server, target)
    server.ranges = False
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_another_version_is_not_mixed_with_the_first(server, target):
    interrupted(server, target)
    server.files["weights.pth"], server.validator = bytes(len(CONTENT)), '"2"'
    fetch(server, target)
    assert target.read_bytes() == bytes(len(CONTENT))


def test_another_server_is_not_mixed_with_the_first(server, target):
    interrupted(server, target)
    with FileServer({"weights.pth": bytes(len(CONTENT))}) as other:
        fetch(other, target)
        assert other.requests == [("/weights.pth", None)]
    assert target.read_bytes() == bytes(len(CONTENT))


@pytest.mark.parametrize("validator", [None, 'W/"1"'])
def test_nothing_is_gone_on_with_if_its_version_is_not_known(validator, server, target):
    server.validator = validator
    server.faults = ["truncate"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/weights.pth", None)] * 2


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 3}'])
def test_nothing_is_gone_on_with_if_its_note_is_damaged(note, server, target):
    part = interrupted(server, target)
    part.with_name("weights.pth.part.json").write_text(note)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/weights.pth", None)]


def test_another_part_than_asked_for(server, target):
    interrupted(server, target)
    server.faults = ["other range"]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [f"bytes={len(CONTENT) // 2}-", None]


def test_a_range_that_the_server_does_not_have(server, target):
    interrupted(server, target)
    server.files["weights.pth"] = CONTENT[:100]
    fetch(server, target)
    assert target.read_bytes() == CONTENT[:100]


def test_whole_but_not_yet_renamed(server, target):
    part = interrupted(server, target)
    part.write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.requests == []


def test_no_server(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/weights.pth"
    with pytest.raises(CheckpointError, match="Connection refused"):
        download(url, target, patience=QUICK)


def test_redirects_keep_the_range(server, target):
    server.redirects["latest/weights.pth"] = "/weights.pth"
    server.faults = ["truncate"]
    download(f"{server.address}/latest/weights.pth", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    half = f"bytes={len(CONTENT) // 2}-"
    assert [asked for _, asked in server.requests] == [None, None, half, half]


@pytest.mark.parametrize(
    ("source", "target"),
    [("https", "http://c/d"), ("http", "ftp://c/d"), ("https", "ftp://c/d"), ("http", "file:///etc/passwd")],
)
def test_unsafe_redirects_are_refused(source, target):
    with pytest.raises(URLError, match=f"redirects from {source} to {target}"):
        _SafeRedirects().redirect_request(Request(f"{source}://a/b"), BytesIO(), 302, "Found", HTTPMessage(), target)


def test_safe_redirects_are_followed():
    handler, request = _SafeRedirects(), Request("https://a/b")
    followed = handler.redirect_request(request, BytesIO(), 302, "Found", HTTPMessage(), "https://c/d")
    assert followed.full_url == "https://c/d"


@pytest.mark.parametrize("url", ["weights.pth", "file:///etc/passwd", "ftp://x/y", "https://", "http://x/a b"])
def test_no_url(url, target):
    with pytest.raises(ConfigError, match="must begin with http:// or https://"):
        download(url, target)


def test_the_proxy_of_the_environment_is_asked(server, target, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    download("http://weights.invalid/weights.pth", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("http://weights.invalid/weights.pth", None)]


def test_hosts_without_a_proxy(server, target, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(server, target)
    assert server.requests == [("/weights.pth", None)]


def test_a_full_disk(server, target):
    target.parent.mkdir()
    target.with_name("weights.pth.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"weights\.pth\.part: cannot be written \(the disk is full"):
        fetch(server, target)
    assert not target.exists()


def test_a_disk_that_is_read_only(server, target, monkeypatch):
    def refuse(path, mode="r", *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match="the disk is read-only"):
        fetch(server, target)


def test_a_file_in_the_place_of_the_folder(server, target):
    target.parent.write_text("")
    with pytest.raises(OutputError, match="a part of its path is a file"):
        fetch(server, target)


@settings(max_examples=30, deadline=None)
@given(
    content=st.binary(max_size=2000),
    faults=st.lists(st.sampled_from(["truncate", 500, "other range", "no length"]), max_size=4),
    ranges=st.booleans(),
    validator=st.sampled_from(['"1"', None]),
)
def test_whatever_happens_on_the_way_the_file_is_the_servers(tmp_path_factory, content, faults, ranges, validator):
    target = tmp_path_factory.mktemp("any") / "weights.pth"
    with FileServer({"weights.pth": content}) as server:
        server.ranges, server.validator, server.faults = ranges, validator, list(faults)
        # None of these is silence, so waiting long costs nothing, and a busy machine is not one.
        fetch(server, target, Patience(20.0, len(faults) + 1, 0.0))
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == [target.name]


class TestSizes:
    def test_a_file_that_says_it_is_too_large_is_not_fetched(self, server, target):
        with pytest.raises(CheckpointError, match=r"the file is larger than 0\.9 MB"):
            download(f"{server.address}/weights.pth", target, patience=QUICK, max_bytes=900_000)
        assert not list(target.parent.glob("weights*"))

    def test_a_body_without_length_is_cut_off(self, server, target):
        server.faults = ["no length"]
        heard = []
        with pytest.raises(CheckpointError, match=r"the file is larger than 0\.3 MB"):
            download(f"{server.address}/weights.pth", target, lambda done, _: heard.append(done), QUICK, 300_000)
        assert 300_000 < max(heard) < 600_000
        assert not list(target.parent.glob("weights*"))

    def test_a_file_of_exactly_the_maximum(self, server, target):
        download(f"{server.address}/weights.pth", target, patience=QUICK, max_bytes=len(CONTENT))
        assert target.read_bytes() == CONTENT


ODD_URLS = [
    "http://[::1/a",
    "http://h:port/a",
    "http://h:99999/a",
    "http://h/ü",
    "http://ü/a",
    "http:///a",
    "http://h/a b",
    "http://h/a\nb",
    "http://" + "a" * 70 + "/x",
    "http://a..b/x",
]


@pytest.mark.parametrize("url", ODD_URLS)
def test_malformed_addresses_are_errors_of_one_line(url, target):
    with pytest.raises((ConfigError, CheckpointError)) as caught:
        download(url, target, patience=QUICK)
    assert "\n" not in str(caught.value).replace(repr(url), "")


PLACES = ["http://[::1", "http://h:port/a", "//[", "ftp://h/a", "file:///etc/passwd"]


@pytest.mark.parametrize("place", PLACES)
def test_malformed_redirects_are_errors_of_one_line(place, server, target):
    server.redirects["weights.pth"] = place
    refused(server, target)


@pytest.mark.parametrize("length", ["many", "-1", "1e3", "\xb2", "0x10", "9" * 40])
def test_a_length_that_is_no_number_counts_as_none(length, server, target):
    server.length = length
    fetch(server, target)
    assert target.read_bytes() == CONTENT
