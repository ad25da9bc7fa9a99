import json
from pathlib import Path

import pytest

from yoso.apps.cli import main
from yoso.errors import ConfigError


@pytest.fixture
def benchmark(tiny_model, capsys):
    """Run `yoso benchmark` and return (exit status, standard output, lines of standard error)."""

    def run(*arguments, model=str(tiny_model)):
        models = [] if model is None else ["--models", model]
        words = [str(word) for word in arguments]
        status = main(["benchmark", *models, "--device", "cpu", *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


QUICK = ("--sizes", "64x96", "--repeats", "2", "--warmup", "1", "--no-memory")


def test_a_whole_run(benchmark, tmp_path):
    status, out, err = benchmark(
        *QUICK, "--runtimes", "torch", "official", "--json", tmp_path / "a.json", "--chart", tmp_path / "a.svg"
    )
    assert (status, err) == (0, [])
    assert "64x96, milliseconds" in out
    assert "than tiny official at 64x96" in out
    content = json.loads((tmp_path / "a.json").read_text())
    assert [one["name"] for one in content["contestants"]] == ["tiny torch", "tiny official"]
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.svg"]

    status, out, err = benchmark("--render", tmp_path / "a.json", "--chart", tmp_path / "b.svg", model=None)
    assert (status, err) == (0, [])
    assert out.startswith("**64x96, milliseconds**")
    assert (tmp_path / "b.svg").read_text() == (tmp_path / "a.svg").read_text()


def test_random_weights_are_named(benchmark, monkeypatch):
    import dataclasses

    from yoso.speed import lineup

    real = lineup.ours.build
    monkeypatch.setattr(lineup.ours, "build", lambda *given: dataclasses.replace(real(*given), random_weights=True))
    status, out, _ = benchmark(*QUICK)
    assert status == 0
    assert "random weights: built from a configuration" in out


def test_a_failed_contestant_gives_status_2(benchmark, monkeypatch):
    from yoso.speed import lineup

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(lineup.ours, "build", fails)
    status, out, _ = benchmark(*QUICK)
    assert status == 2
    assert "not enough memory" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtimes", "tourch"), "unknown runtime 'tourch'. Did you mean 'torch'?"),
        (("--against", "mask2fromer"), "unknown peer 'mask2fromer'. Did you mean 'mask2former'?"),
        (("--models", "coco_r5"), "no model, recipe or model folder 'coco_r5'. Did you mean 'coco_r50'?"),
        (("--sizes", "512by800"), "size '512by800': give HEIGHTxWIDTH in pixels, as 512x800"),
        (("--sizes", "8x8"), "size '8x8': is too small; both sides must be at least 64 pixels"),
        (("--precision", "fp8"), "unknown precision 'fp8'. Did you mean"),
        (("--repeats", "0"), "repeats is 0; it must be at least 1"),
        (("--threads", "0"), "--threads 0: it must be at least 1"),
        (("--device", "gpu"), "unknown device 'gpu'; use auto, cpu, cuda or cuda:1"),
        (("--baseline", "tiny"), "no contestant 'tiny' to be the baseline."),
        (("--image", "none.jpg"), "none.jpg: no such file; check the name"),
        (("--models",), "nothing to time; name --models with --runtimes, or --against"),
        (("--render", "none.json"), "none.json: no such file; check the name"),
        (("--render", "a.json", "b.json", "--chart", "c.svg"), "--chart draws one result"),
        (("--speed",), "unknown option --speed."),
    ],
)
def test_one_line_before_anything_is_timed(benchmark, arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = benchmark(*arguments)
    assert (status, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"error: {message}") or f": {message}" in err[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "memory", "compile_seconds"),
    [
        ((), True, 300),
        (("--no-memory",), False, 300),
        (("--no-compile",), True, 0),
        (("--no-compile", "--no-memory"), False, 0),
    ],
)
def test_memory_and_compiling_are_chosen_apart(benchmark, monkeypatch, words, memory, compile_seconds):
    from yoso.speed import session

    plans = []

    def measure(entries, plan, report):
        plans.append(plan)
        raise ConfigError("enough")

    monkeypatch.setattr(session, "measure", measure)
    benchmark(*words)
    assert [(plan.memory, plan.compile_seconds) for plan in plans] == [(memory, compile_seconds)]


@pytest.mark.parametrize("option", ["--json", "--chart"])
def test_an_output_that_cannot_be_written_is_known_at_once(benchmark, option, tmp_path, monkeypatch):
    from yoso.speed import session

    monkeypatch.setattr(session, "measure", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").touch()
    status, _, (line,) = benchmark(option, tmp_path / "file" / "a.json")
    assert (status, "a part of its path is a file" in line) == (2, True)
    status, _, (line,) = benchmark(option, tmp_path)
    assert (status, "is a folder" in line) == (2, True)


def test_a_missing_package_names_the_extra(benchmark, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    status, _, (line,) = benchmark("--against", "maskformer")
    assert (status, line) == (2, 'error: --against needs transformers; run: pip install "yoso-panoptic[benchmark]"')


def test_the_documentation_names_every_option(capsys):
    assert main(["benchmark", "--help"]) == 0
    offered = {word.strip(",[]") for word in capsys.readouterr().out.split() if word.strip("[").startswith("--")}
    text = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text()
    assert {option for option in offered if option not in text} == set()
