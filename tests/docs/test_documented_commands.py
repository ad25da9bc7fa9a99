"""Every command and every Python example of README and the guides works: it runs, or is at least understood."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from small_clips import write_clip
from yoso.apps import arguments
from yoso.apps.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "src/yoso/assets").glob("*/README.md")),
]
PAGES = [page for page in PAGES if page.name != "log.md"]

NOT_RUN = {
    r"^yoso train ": "takes hours",
    r"^yoso serve\b": "runs until it is stopped",
    r"^yoso benchmark ": "takes minutes",
    r"^yoso reproduce ": "takes minutes",
    r"^yoso data (prepare|convert) ": "needs downloads or an export",
    r"^yoso export ": "takes a minute",
    r"(hf:OWNER|(coco|cityscapes|ade20k|mapillary)[-_]r50)": "needs a download",
    r"--data (coco|cityscapes|ade20k|mapillary|facades|nuclei)\b": "needs a data set",
    r"^yoso pq --video ": "needs a video's ground truth",
    r"^yoso data check (coco|cityscapes|ade20k|mapillary)$": "needs a data set",
}
"""Commands whose words are only checked, as the program reads them before it begins."""


class UnderstoodError(Exception):
    """The command line was read."""


def code_lines(page):
    """Yield the lines of a page's indented and shell blocks, continued lines joined, without comments."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    fence = None
    for line in text.splitlines():
        if line.startswith("```"):
            fence = None if fence is not None else line[3:].strip()
        elif fence in {"", "sh", "bash", "shell"} or (fence is None and line.startswith("    ")):
            yield line.strip().removeprefix("$ ").split("  #")[0].split(" # ")[0].strip()


def commands():
    for page in PAGES:
        for line in dict.fromkeys(code_lines(page)):
            if line.startswith("yoso "):
                yield pytest.param(line, id=f"{page.relative_to(ROOT)}: {line}")


def scripts():
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            yield pytest.param(block, id=f"{page.relative_to(ROOT)}: {block.splitlines()[-1]}")


@pytest.fixture
def folder(readme_folder, tmp_path, monkeypatch):
    """A copy of the folder that the pages talk about, and no data set or model of anybody's own in reach."""
    target = tmp_path / "work"
    shutil.copytree(readme_folder, target)
    write_clip(target / "clip.mp4", 3)
    shutil.copy(target / "street.jpg", target / "slide.png")
    (target / "finetune.yaml").write_text("data: mine.yaml\nstart: facades-mnv2\n", encoding="utf-8")
    monkeypatch.chdir(target)
    return target


@pytest.mark.parametrize("line", list(commands()))
def test_command(line, folder, monkeypatch, capsys):
    # The settings of a model to start from are read, and a published one would be downloaded for that.
    words = shlex.split(line.replace("--start coco-r50", "--start facades-mnv2"))[1:]
    assert not [word for word in words if word.startswith(("[", "...")) and not word.startswith("[3")], (
        "a whole command"
    )
    if any(re.search(pattern, line) for pattern in NOT_RUN):
        read = arguments.Parser.parse

        def stop(parser, given):
            read(parser, given)
            raise UnderstoodError

        monkeypatch.setattr(arguments.Parser, "parse", stop)
        monkeypatch.setattr("yoso.training.run.train", stop_training)
        with pytest.raises(UnderstoodError):
            main(words)
        return
    status = main(words)
    assert status == 0, capsys.readouterr().err


def stop_training(*_):
    raise UnderstoodError


@pytest.mark.parametrize("script", list(scripts()))
def test_python(script, folder):
    if re.search("OWNER|[-_]r50", script):  # needs a network
        compile(script, "example", "exec")
        return
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
