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
    assert "64x96: latency in ms" in out
    assert "64x96: stages in ms" in out
    assert "speed-up: relative to tiny torch" in out
    content = json.loads((tmp_path / "a.json").read_text())
    assert [entry["name"] for entry in content["entries"]] == ["tiny torch", "tiny official"]
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.svg"]

    status, out, err = benchmark("--render", tmp_path / "a.json", "--chart", tmp_path / "b.svg", model=None)
    assert (status, err) == (0, [])
    assert out.startswith("**64x96: latency in ms**")
    assert (tmp_path / "b.svg").read_text() == (tmp_path / "a.svg").read_text()


def test_random_weights_are_named(benchmark, monkeypatch):
    import dataclasses

    from yoso.speed import specs

    real = specs.yoso_entries.build
    monkeypatch.setattr(
        specs.yoso_entries, "build", lambda *given: dataclasses.replace(real(*given), random_weights=True)
    )
    status, out, _ = benchmark(*QUICK)
    assert status == 0
    assert "Random weights say nothing about accuracy" in out


def test_a_failed_entry_gives_status_2(benchmark, monkeypatch):
    from yoso.speed import specs

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(specs.yoso_entries, "build", fails)
    status, out, _ = benchmark(*QUICK)
    assert status == 2
    assert "tiny torch failed: not enough memory" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtimes", "tourch"), "unknown runtime 'tourch'. Did you mean 'torch'?"),
        (("--against", "mask2fromer"), "unknown baseline 'mask2fromer'. Did you mean 'mask2former'?"),
        (("--models", "coco_r5"), "no model, recipe or model folder 'coco_r5'. Did you mean 'coco_r50'?"),
        (("--sizes", "512by800"), "--sizes 512by800: give HEIGHTxWIDTH in pixels, such as 512x800"),
        (("--sizes", "8x8"), "--sizes 8x8: is too small; both sides must be at least 64 pixels"),
        (("--precision", "fp8"), "unknown precision 'fp8'. Did you mean"),
        (("--repeats", "0"), "--repeats 0: must be at least 1"),
        (("--threads", "0"), "--threads 0: must be at least 1"),
        (("--device", "gpu"), "unknown device 'gpu'; use auto, cpu, cuda or cuda:1"),
        (("--kept-queries", "0"), "--kept-queries 0: must be at least 1"),
        (("--reference", "tiny"), "--reference: no entry 'tiny'."),
        (("--image", "none.jpg"), "none.jpg: no such file; check the name"),
        (("--models",), "nothing to time; give --models with --runtimes, or --against"),
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
    text = (Path(__file__).parents[2] / "docs" / "speed.md").read_text()
    assert {option for option in offered if option not in text} == set()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_help_fits_the_terminal_and_breaks_no_word(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["benchmark", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    words = {word.strip("().,:;") for line in lines for word in line.split()}
    assert {"onnxruntime-int8", "mask2former", "eomt-s", "docs/speed.md"} <= words


def long_result():
    """Return a result with every column, and names as long as a folder's and a runtime's can be."""
    from yoso.speed.protocol import LatencySummary
    from yoso.speed.results import FORMAT, Measurement, Mode, Result, TimingProtocol, ratios

    stages = dict.fromkeys(("prepare", "backbone", "aggregator", "decoder", "network", "merge"), 0.1234)
    latency = LatencySummary(12.345, 23.456, 3.456, 11.234)
    names = ("street-scenes-of-2026 onnxruntime-int8", "street-scenes-of-2026 official", "mask2former")
    entries = [
        Measurement(
            name,
            (800, 1333),
            Mode("baseline" if name == "mask2former" else "torch", "fp32", True, True),
            latency,
            stages,
            peak_memory_bytes=2 * 10**9,
            energy_joules=12.3,
        )
        for name in names
    ]
    entries.append(Measurement("eomt-l", (800, 1333), entries[-1].mode, error="took longer than 300 s"))
    machine, protocol = {"cpu": "a processor, 2 cores"}, TimingProtocol(20, 3, 10, 12, "synthetic")
    return Result(
        FORMAT, "2026-01-02", machine, {"torch": "2.15.0"}, 2, protocol, entries, names[0], ratios(entries, names[0])
    )


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_tables_fit_the_terminal_and_break_no_word(capsys, monkeypatch, width):
    from yoso.apps.benchmark import show_result
    from yoso.speed.table import tables

    monkeypatch.setenv("COLUMNS", str(width))
    result = long_result()
    show_result(result)
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= width
    printed = set(out.split())
    latencies = tables(result)[0]
    for column in ("entry", "median", "IQR", "speed-up"):
        place = latencies.header.index(column)
        cells = [column, *(row[place] for row in latencies.rows)]
        assert {word for cell in cells for word in cell.split()} <= printed
    assert ("not shown here: min" in out) == (width < 100)
    assert "eomt-l failed: took longer than 300 s" in " ".join(out.split())


def test_a_name_that_no_terminal_holds_is_shortened_and_its_figures_are_whole(capsys, monkeypatch):
    import dataclasses

    from yoso.apps.benchmark import show_result

    monkeypatch.setenv("COLUMNS", "80")
    result = long_result()
    first = dataclasses.replace(result.entries[0], name=f"{90 * 'x'} torch")
    show_result(dataclasses.replace(result, entries=[first, *result.entries[1:]], ratios=[], reference="mask2former"))
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("xxxx"))
    assert "…" in row
    assert "12345" in row
    table = lines[: lines.index("")]
    assert max(len(line.rstrip()) for line in table) <= 80


@pytest.mark.parametrize(
    ("former", "present"),
    [
        (("--survivors", "3"), ("--kept-queries", "3")),
        (("--floors",), ("--rooflines",)),
        (("--baseline", "tiny eager"), ("--reference", "tiny eager")),
    ],
)
def test_former_names_of_options_still_work_and_are_not_in_the_help(former, present, capsys):
    from yoso.apps.benchmark import build_parser

    parser = build_parser()
    assert parser.parse(list(former)) == parser.parse(list(present))
    assert former[0] not in parser.format_help()
