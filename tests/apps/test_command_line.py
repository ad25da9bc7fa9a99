import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from yoso.apps import cli
from yoso.apps.cli import COMMANDS, main
from yoso.apps.signals import Terminated
from yoso.errors import CheckpointError, ConfigError, OutputError
from yoso.inference.loading import load


def run(capsys, *arguments):
    """Return the exit status, standard output and lines of standard error."""
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


def test_help_is_quick_and_imports_nothing_heavy():
    script = (
        "import sys; from yoso.apps.cli import main; status = main(['--help']); "
        "heavy = {'torch', 'numpy', 'PIL', 'rich', 'scipy', 'yaml'} & set(sys.modules); "
        "print('HEAVY', sorted(heavy)); sys.exit(status)"
    )
    durations = []
    for _ in range(3):
        start = os.times()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        end = os.times()
        # Of the processor, not of the clock, which also runs while other programs do.
        durations.append(end.children_user + end.children_system - start.children_user - start.children_system)
    assert done.returncode == 0
    assert "HEAVY []" in done.stdout
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert min(durations) < 0.5


def test_an_unknown_recipe_is_told_before_anything_heavy_is_loaded():
    script = (
        "import sys; from yoso.apps.cli import main; status = main(['train', 'coco_r51', '--data', 'x']); "
        "print('HEAVY', sorted({'torch', 'lightning'} & set(sys.modules))); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["HEAVY []"]
    assert done.stderr.splitlines() == ["error: no recipe or file 'coco_r51'. Did you mean 'coco_r50'?"]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_every_command_has_help(capsys, name):
    status, out, err = run(capsys, name, "--help")
    assert (status, err) == (0, [])
    assert f"yoso {name}" in out


def test_version(capsys):
    status, out, _ = run(capsys, "--version")
    assert status == 0
    assert out.startswith("yoso 0")


def test_without_a_command_it_says_what_there_is(capsys):
    status, out, _ = run(capsys)
    assert status == 2
    assert "predict" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["predcit", "a.jpg"], "Did you mean 'predict'?"),
        (["--verson"], "Did you mean '--version'?"),
        (["predict", "a.jpg", "--ouput", "x"], "Did you mean '--output'?"),
        (["predict", "a.jpg", "--input-siz=native"], "Did you mean '--input-size'?"),
        (["predict"], "SOURCE"),
        (["predict", "a.jpg", "--input-size", "0"], "SHORTERxLONGEST"),
        (["predict", "a.jpg", "--input-size", "big"], "SHORTERxLONGEST"),
        (["predict", "a.jpg", "--size", "big"], "--input-size big: give SHORTER"),
        (["eval", "--model", "m", "--data", "d", "--size", "big"], "--input-size big: give SHORTER"),
        (["models", "--zzz"], "unknown option --zzz. See `yoso models --help`"),
        (["predict", "a.jpg", "--object-mask-threshold", "2"], "from 0 to 1"),
        (["predict", "a.jpg", "--overlap-threshold", "nan"], "from 0 to 1"),
        (["predict", "a.jpg", "--model"], "expected one argument"),
        (["eval", "--model", "m"], "--data"),
        (["eval", "--model", "m", "--data", "d", "--limit", "0"], "--limit"),
        (["eval", "--model", "m", "--data", "d", "--limit", "few"], "--limit"),
        (["eval", "--model", "m", "--data", "no-such-data"], "no-such-data"),
        (["pq", "gt.json", "gt"], "PRED.json"),
        (["pq", "a", "b", "c", "d", "e"], "unexpected argument 'e'"),
        (["convert", "a.pth", "folder"], "--recipe"),
        (["convert", "a.pth", "folder", "--recipe", "coco_r5"], "Did you mean 'coco_r50'?"),
        (["convert", "no-such.pth", "folder", "--recipe", "coco_r50"], "no-such.pth"),
        (["models", "--jsn"], "Did you mean '--json'?"),
        (["train", "no_such_recipe"], "no_such_recipe"),
        (["train", "coco_r50", "--run.iteration", "3"], "Did you mean 'run.iterations'?"),
    ],
)
def test_a_slip_is_one_line_with_advice(capsys, words, hint):
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert hint in err[0]


@pytest.mark.parametrize(
    "words",
    [
        [""],
        ["predict", ""],
        ["predict", "--", ""],
        ["predict", "a.jpg", ""],
        ["predict", "a.jpg", "--output", ""],
        ["predict", "a.jpg", "--output="],
        ["predict", "a.jpg", "--model", ""],
        ["predict", "--data", ""],
        ["eval", "--model", "", "--data", "d"],
        ["eval", "--model=m", "--data="],
        ["pq", "a", "", "c", "d"],
        ["convert", "a.pth", "", "--recipe", "coco_r50"],
        ["export", "--model", "", "--format", "onnx"],
        ["benchmark", "--models", ""],
        ["data", "check", ""],
        ["data", "convert", "yolo", "", "out"],
        ["train", "coco_r50", "--data", ""],
        ["train", "coco_r50", "--data=d", "--start="],
        ["train", ""],
    ],
    ids=" ".join,
)
def test_an_empty_argument_is_never_the_current_folder(capsys, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert err[0].endswith(" is empty; is a shell variable not set?")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_model_name_is_refused_in_python(tmp_path, monkeypatch, tiny_model):
    monkeypatch.chdir(tiny_model)
    for runtime in ("auto", "torch", "onnxruntime"):
        with pytest.raises(CheckpointError, match="the name of the model is empty"):
            load("", "cpu", runtime)


def test_size_is_the_old_name_of_input_size(capsys, tiny_model, tiny_dataset, tmp_path):
    images = []
    for option in ("--input-size", "--size"):
        words = ("--model", tiny_model, "--output", tmp_path / "out", option, "32x64", "--json", "--no-overlay")
        status, out, err = run(capsys, "predict", tiny_dataset / "val" / "0.png", *words)
        assert status == 0
        images.append(json.loads(out)["images"][0]["segments_info"])
    assert images[0] == images[1]
    if not sys.warnoptions:
        assert err == ["warning: --size is deprecated and will be removed in the next release; use --input-size"]
    run(capsys, "predict", "--help")
    assert "--size" not in run(capsys, "predict", "--help")[1]


def test_help_keeps_its_examples_and_breaks_no_word(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(capsys, "predict", "--help")
    assert status == 0
    assert "  yoso predict photos/ --output out --resume      # continue after Ctrl-C\n" in out
    assert "(default: facades-mnv2)" in " ".join(out.split())
    assert "-\n" not in out
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[2:] == [
        *("model:", "settings (default: those of the model):", "data set:", "output:"),
        *("frames of a video:", "output of a video:", "examples:"),
    ]


@pytest.fixture
def broken_model(tiny_model, tmp_path):
    """Return a copy of a model folder, to be broken."""
    return shutil.copytree(tiny_model, tmp_path / "broken")


def _wrong_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("proposals.weight"))
    save_file({**tensors, name: torch.zeros(1, 2, 3)}, folder / "model.safetensors")


def _missing_key(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors[next(name for name in tensors if name.endswith("proposals.weight"))]
    save_file(tensors, folder / "model.safetensors")


def _not_finite(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("proposals.weight"))
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


def _truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def _emptied(folder):
    (folder / "model.safetensors").write_bytes(b"")


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _config_not_json(folder):
    (folder / "config.json").write_text("{")


def _config_of_something_else(folder):
    (folder / "config.json").write_text("[]")


def _config_with_unknown_key(folder):
    content = json.loads((folder / "config.json").read_text())
    content["model"]["num_querys"] = 3
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("breaks", "hint"),
    [
        (_wrong_shape, "shape"),
        (_missing_key, "missing"),
        (_not_finite, "not finite"),
        (_truncated, "damaged"),
        (_emptied, "damaged"),
        (_without_weights, "model.safetensors"),
        (_config_not_json, "config.json"),
        (_config_of_something_else, "config.json"),
        (_config_with_unknown_key, "Did you mean 'num_queries'?"),
    ],
)
def test_a_broken_model_is_one_line(capsys, broken_model, tiny_dataset, tmp_path, breaks, hint):
    breaks(broken_model)
    photo = tiny_dataset / "val" / "0.png"
    status, out, err = run(capsys, "predict", photo, "--model", broken_model, "--output", tmp_path / "out")
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert str(broken_model) in err[0]
    assert hint in err[0]


def test_an_unknown_model(capsys, tiny_dataset, tmp_path):
    status, _, err = run(
        capsys, "predict", tiny_dataset / "val" / "0.png", "--model", "facade-mnv3", "--output", tmp_path
    )
    assert status == 2
    assert "'facade-mnv3'" in err[0]


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize("kind", ["code", "text", "truncated", "list", "not tensors"])
def test_an_official_checkpoint_that_is_none(capsys, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "official.pth"
    if kind == "code":
        path.write_bytes(pickle.dumps({"model": Payload()}))
    elif kind == "text":
        path.write_text("hello")
    else:
        content = {"truncated": {"a": torch.zeros(9)}, "list": [torch.zeros(9)], "not tensors": {"model": {"a": 1}}}
        torch.save(content[kind], path)
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:300])
    status, out, err = run(capsys, "convert", path, tmp_path / "model", "--recipe", "coco_r50")
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert str(path) in err[0]
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images": []}', '{"annotations": [{"bbox": [1, 2, 3, 4]}]}'])
def test_scoring_what_is_not_coco_panoptic(capsys, tmp_path, content):
    (tmp_path / "gt.json").write_text(content)
    (tmp_path / "masks").mkdir()
    status, out, err = run(capsys, "pq", tmp_path / "gt.json", tmp_path / "masks", tmp_path / "gt.json", tmp_path)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert str(tmp_path / "gt.json") in err[0]


def failing(monkeypatch, error):
    """Let every command fail so."""

    def dispatch(arguments):
        raise error

    monkeypatch.setattr(cli, "_dispatch", dispatch)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OutputError("out.png: two\nlines"), 2, "error: out.png: two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (MemoryError(), 2, "error: not enough memory"),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), 2, "error: /x/y: the disk is full"),
    ],
)
def test_failures_have_their_line_and_status(capsys, monkeypatch, error, status, line):
    failing(monkeypatch, error)
    assert main(["models"]) == status
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith(line)


def test_an_error_of_the_system_that_no_command_expects_is_one_line(monkeypatch, capsys):
    failing(monkeypatch, OSError(errno.EACCES, "Permission denied", "/root/x"))
    assert main(["models"]) == 2
    assert capsys.readouterr().err.startswith("error: /root/x: permission denied; make the file or folder accessible")


def test_a_bug_is_one_line_with_a_status_of_its_own(monkeypatch, capsys):
    monkeypatch.delenv("YOSO_TRACEBACK")
    failing(monkeypatch, ZeroDivisionError("division\nby zero"))
    assert main(["models"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("error: internal error, ZeroDivisionError: division by zero; please report it")
    assert err.count("\n") == 1
    monkeypatch.setenv("YOSO_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["models"])


def test_long_messages_are_shortened(monkeypatch, capsys):
    failing(monkeypatch, ConfigError(f"begins {'x' * 10**6} ends"))
    assert main(["models"]) == 2
    err = capsys.readouterr().err
    assert len(err) < 5000
    assert err.startswith("error: begins x")
    assert err.endswith("x ends\n")


def test_max_pixels_holds_for_one_command(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("YOSO_MAX_PIXELS", raising=False)
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    words = ["predict", str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--max-pixels"]
    assert main([*words, "199"]) == 2
    assert "more than 0.000199 megapixels" in capsys.readouterr().err
    assert "YOSO_MAX_PIXELS" not in os.environ
    assert main([*words, "many"]) == 2
    assert "--max-pixels many: give a number of pixels" in capsys.readouterr().err


def test_warnings_of_others_stay_away_and_ours_are_one_line(capsys):
    with cli._own_warnings_only():
        warnings.warn_explicit("theirs", UserWarning, "other.py", 1, module="timm.models")
        warnings.warn_explicit("ours", UserWarning, "score.py", 1, module="yoso.evaluation.folders")
    if sys.warnoptions:
        pytest.skip("Python was started with -W, which is respected")
    assert capsys.readouterr().err == "warning: ours\n"


def test_a_closed_pipe_is_no_error():
    script = "import sys; from yoso.apps.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run(
        f'"{sys.executable}" -c "{script}" | true', shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr


def test_models(capsys):
    status, out, err = run(capsys, "models", "--json")
    assert (status, err) == (0, [])
    for model in json.loads(out):
        assert model["name"]
        assert model["things"] or model["stuff"]
    status, out, _ = run(capsys, "models")
    assert status == 0
    assert out.strip()


def test_a_model_folder_described(tiny_model):
    from yoso.apps.models import describe

    facts = describe("tiny", tiny_model)
    assert (facts["things"], facts["stuff"]) == (["square"], ["sky", "ground"])
    assert facts["backbone"] == "mobilenetv2_100"
    assert facts["val"]["all"] is None
    assert facts["megabytes"] > 1


@pytest.mark.data
def test_scoring_the_published_fixture(capsys, shared):
    folder = shared / "data" / "pq_fixture"
    files = (folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred")
    status, out, err = run(capsys, "pq", *files, "--json")
    assert (status, err) == (0, [])
    figures = json.loads(out)
    assert figures["all"]["n"] == 17
    status, out, _ = run(capsys, "pq", *files)
    assert status == 0
    assert f"{100 * figures['all']['pq']:.1f}" in out
