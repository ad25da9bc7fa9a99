"""docs/server.md and the files of deploy/ are right: examples run, tables are complete, steps work."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_server import small_image

from yoso.serve.options import NAMES
from yoso.serve.problems import TITLES
from yoso.serve.results import OUTPUTS
from yoso.serve.settings import Limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")


@pytest.fixture
def street(tmp_path, monkeypatch):
    (tmp_path / "street.jpg").write_bytes(small_image(kind="JPEG"))
    monkeypatch.chdir(tmp_path)


def of_server(text, address):
    return text.replace("http://127.0.0.1:8000", address).replace(
        '"127.0.0.1:8000"', repr(address.removeprefix("http://"))
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", [0, 1])
def test_python_examples(server, street, number, capsys):
    code = of_server(re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)[number], server[0])
    exec(compile(code.replace("facades-mnv2", "quick"), "example", "exec"), {})
    assert "square" in capsys.readouterr().out


def test_curl(server, street):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (line,) = re.findall(r"^curl .*", PAGE, re.MULTILINE)
    done = subprocess.run(shlex.split(of_server(line, server[0])), capture_output=True, check=True, timeout=30)
    assert len(json.loads(done.stdout)["segments_info"]) == 4


def test_the_tables_are_complete():
    assert [name for name in re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) if name in NAMES] == list(NAMES)
    assert all(f"`{output}`" in PAGE for output in OUTPUTS)
    statuses = {str(status) for status, _ in TITLES.values()} - {"499", "500"}
    documented = re.findall(r"\d{3}", " ".join(re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)))
    assert set(documented) == statuses
    limits = Limits()
    assert f"{limits.body_bytes // 10**6} MB" in PAGE
    assert f"{limits.pixels // 10**6} million pixels" in PAGE
    assert f"{limits.network_pixels // 10**6} million pixels" in PAGE
    assert f"at most {limits.aspect_ratio:g} times" in PAGE
    assert f"{limits.upload_seconds:g} s" in PAGE


def instructions(name):
    """Return the words after an instruction of the Dockerfile, each time that it occurs."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    return re.findall(rf"^{name} (.*)", text, re.MULTILINE)


def test_the_container_is_confined():
    assert instructions("USER") == ["10001:10001"]
    assert "--read-only" in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    (entry,) = instructions("ENTRYPOINT")
    from yoso.apps.serve import build_parser

    assert build_parser().parse(json.loads(entry)[2:]).host == "0.0.0.0"


def test_the_unit_starts_what_exists():
    unit = (ROOT / "deploy" / "yoso.service").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(.*)", unit, re.MULTILINE)
    from yoso.apps.serve import build_parser

    args = build_parser().parse(shlex.split(command)[2:])
    assert (args.host, args.offline, args.key_file) == ("127.0.0.1", True, "${CREDENTIALS_DIRECTORY}/key")
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "DynamicUser=yes"):
        assert line in unit


@pytest.mark.slow
def test_the_steps_of_the_dockerfile(tmp_path):
    """Each RUN in a clean folder, then the entry point, asked by the health check."""
    source, target = tmp_path / "src", str(tmp_path / "yoso")
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "site")
    shutil.copytree(ROOT, source, ignore=ignored)
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    for step in instructions("RUN"):
        words = step.replace("/opt/yoso", target).replace("python -m venv", f"{sys.executable} -m venv")
        done = subprocess.run(
            words, shell=True, cwd=source, env=environment, capture_output=True, check=False, text=True
        )
        if done.returncode and "pip" in words:
            pytest.skip(f"packages cannot be installed here: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    (entry,), (health,) = instructions("ENTRYPOINT"), instructions("HEALTHCHECK")
    start = [word.replace("/opt/yoso", target) for word in json.loads(entry)]
    start[start.index("0.0.0.0")] = "127.0.0.1"
    start[-1] = "0"
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "YOSO_OFFLINE": "1", "HOME": "/nonexistent"}
    with subprocess.Popen(start, cwd="/", env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            port = process.stderr.readline().split()[3].rpartition(":")[2]
            check = json.loads(health.partition("CMD ")[2].replace("/opt/yoso", target).replace(":8000", f":{port}"))
            for _ in range(60):
                if subprocess.run(check, cwd="/", capture_output=True, check=False).returncode == 0:
                    break
            else:
                pytest.fail("never healthy")
            process.terminate()
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
