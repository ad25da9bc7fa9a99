"""`yoso serve`: mistakes are one line and status 2; a signal ends it well."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from yoso.apps.cli import main


@pytest.fixture
def serve(capsys, monkeypatch):
    """Run `yoso serve` and return its status and its lines on standard error; nothing is served."""
    monkeypatch.delenv("YOSO_API_KEY", raising=False)

    def run(*words):
        status = main(["serve", *map(str, words)])
        return status, capsys.readouterr().err.splitlines()

    return run


def error_of(result):
    status, lines = result
    errors = [line for line in lines if line.startswith("error: ")]
    assert (status, len(errors)) == (2, 1)
    assert not any("Traceback" in line for line in lines)
    return errors[0]


def test_a_port_in_use(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"--port {port}: another program uses this port" in error_of(serve("--port", port))


def test_an_address_of_another_machine(serve):
    assert "--host 192.0.2.1: is not an address of this machine" in error_of(serve("--host", "192.0.2.1", "--port", 0))
    assert "is not a known name or address" in error_of(serve("--host", "no.such.host.invalid", "--port", 0))


def test_an_unknown_model(serve):
    assert "no model or folder 'facades'. Did you mean 'facades-mnv2'?" in error_of(
        serve("--model", "facades", "--port", 0)
    )


def test_a_damaged_model(serve, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"x")
    assert "x.onnx" in error_of(serve("--model", tmp_path / "x.onnx", "--port", 0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "x"], "--port x: give a number from 0 to 65535"),
        (["--port", "65536"], "--port 65536"),
        (["--threads", "0"], "give a whole number from 1"),
        (["--key-file", "missing"], "missing: no such file"),
        (["--model", "facades-mnv2", "--model", "facades-mnv2"], "two models are called 'facades-mnv2'"),
        (["--model", "a/b=facades-mnv2"], "model name 'a/b'"),
        (["--prot", "5"], "unknown option --prot. Did you mean '--port'?"),
        (["x"], "unexpected argument 'x'"),
    ],
)
def test_options(serve, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(serve(*words))


def test_keys(serve, tmp_path, monkeypatch):
    path = tmp_path / "key"
    path.write_text("short\n")
    assert "at least 16" in error_of(serve("--key-file", path))
    path.write_text("two words of some length")
    assert "no spaces" in error_of(serve("--key-file", path))
    assert "is a folder" in error_of(serve("--key-file", tmp_path))
    monkeypatch.setenv("YOSO_API_KEY", "short")
    assert error_of(serve()).startswith("error: YOSO_API_KEY: the key")


def test_without_the_extra_it_says_what_to_install(serve, monkeypatch):
    import yoso.serve

    monkeypatch.setattr(yoso, "serve", yoso.serve)  # importing it again sets the attribute
    for name in [name for name in sys.modules if name.startswith(("yoso.serve", "fastapi"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    message = error_of(serve("--port", 0))
    assert 'run: pip install "yoso-panoptic[serve]"' in message


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize(("workers", "stop"), [(1, signal.SIGTERM), (1, signal.SIGINT)])
def test_it_serves_and_ends_well(workers, stop):
    check_a_process(workers, stop)


@pytest.mark.slow
def test_several_processes_serve_and_end_well():
    check_a_process(2, signal.SIGTERM)


def check_a_process(workers, stop):
    words = [sys.executable, "-m", "yoso", "serve", "--port", "0", "--workers", str(workers), "--offline"]
    environment = {name: value for name, value in os.environ.items() if name != "YOSO_API_KEY"}
    with subprocess.Popen(words, stderr=subprocess.PIPE, encoding="utf-8", env=environment) as process:
        try:
            line = process.stderr.readline()
            assert line.startswith("serving facades-mnv2 at http://127.0.0.1:")
            address = line.split()[3]
            end = time.monotonic() + 60
            while True:
                try:
                    assert get(f"{address}/v2/health/ready") == {"ready": True}
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.05)
            assert get(f"{address}/v1/models")["models"][0]["runtime"] == "onnxruntime"
            with urllib.request.urlopen(f"{address}/metrics", timeout=10) as response:
                assert b"yoso_requests_total" in response.read()
            process.send_signal(stop)
            output = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 0
    lines = output.splitlines()
    assert "Traceback" not in output
    assert any(json.loads(line)["event"] == "request" for line in lines if line.startswith("{"))
