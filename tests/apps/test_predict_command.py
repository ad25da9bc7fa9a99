import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broken_disks import fills_up
from yoso.apps.cli import main
from yoso.files import read_id_map
from yoso.inference.engine import Timings
from yoso.inference.predictor import Predictor


@pytest.fixture
def predict(tiny_model, tmp_path, capsys):
    """Run `yoso predict` and return (exit status, standard output, lines of standard error)."""

    def run(*arguments, output=tmp_path / "out"):
        words = [str(argument) for argument in arguments]
        status = main(["predict", *words, "--model", str(tiny_model), "--output", str(output), "--device", "cpu"])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


@pytest.fixture(scope="module")
def photos(tiny_dataset) -> Path:
    return tiny_dataset / "val"


def test_everything_is_written_and_agrees(predict, photos, tmp_path):
    status, out, err = predict(photos / "0.png", photos / "1.png", "--json")
    assert (status, err) == (0, [])
    document = json.loads(out)
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [entry["file_name"] for entry in content["images"]] == [str(photos / "0.png"), str(photos / "1.png")]
    assert {category["id"] for category in content["categories"]} == {3, 7, 9}
    assert len(document["images"]) == len(content["annotations"]) == 2
    for image, annotation in zip(document["images"], content["annotations"], strict=True):
        id_map = read_id_map(tmp_path / "out" / "panoptic" / annotation["file_name"])
        assert id_map.shape == (image["height"], image["width"]) == (96, 128)
        assert set(np.unique(id_map)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
        for segment, info in zip(annotation["segments_info"], image["segments_info"], strict=True):
            assert segment["area"] == info["area"] == np.count_nonzero(id_map == segment["id"])
            assert segment["bbox"] == info["bbox"]
            assert segment["score"] == pytest.approx(info["score"], abs=1e-6)
            assert {3: "square", 7: "sky", 9: "ground"}[segment["category_id"]] == info["label"]
        with Image.open(image["overlay"]) as overlay:
            assert overlay.size == (128, 96)


def test_times_are_those_of_the_predictor_in_milliseconds(predict, photos, monkeypatch):
    real = Predictor.timed

    def timed(self, *args, **kwargs):
        return real(self, *args, **kwargs)[0], Timings(0.0, 0.002, 0.125, 0.0015)

    monkeypatch.setattr(Predictor, "timed", timed)
    _, out, _ = predict(photos / "0.png", "--json")
    times = json.loads(out)["images"][0]["milliseconds"]
    assert list(times) == ["read", "resize", "network", "merge"]
    assert times["read"] > 0
    assert [times[step] for step in ("resize", "network", "merge")] == [2.0, 125.0, 1.5]
    row = next(line for line in predict(photos / "0.png")[1].splitlines() if "128 x 96" in line)
    assert row.split()[-2:] == ["125", "1.5"]


def test_the_table_names_files_sizes_and_the_overlay(predict, photos, tmp_path):
    status, out, err = predict(photos / "0.png")
    assert (status, err) == (0, [])
    assert "128 x 96" in out
    assert "0.png" in out
    assert str(tmp_path / "out" / "0.overlay.png") in out
    assert all(word in out for word in ("read", "network", "merge"))


def test_names_with_brackets_are_not_markup(predict, photos, tmp_path):
    odd = tmp_path / "[red]x.png"
    odd.write_bytes((photos / "0.png").read_bytes())
    status, out, _ = predict(odd)
    assert status == 0
    assert "[red]x.png" in out


def test_folder_pattern_and_standard_input(predict, photos, monkeypatch):
    status, out, _ = predict(photos, "--json", "--no-overlay")
    assert (status, len(json.loads(out)["images"])) == (0, 8)
    status, out, _ = predict(f"{photos}/[12].png", "--json")
    assert [Path(image["file"]).name for image in json.loads(out)["images"]] == ["1.png", "2.png"]
    listing = io.TextIOWrapper(io.BytesIO(f"{photos / '3.png'}\n{photos / '4.png'}\n".encode()))
    monkeypatch.setattr(sys, "stdin", listing)
    status, out, _ = predict("-", "--json")
    assert [Path(image["file"]).name for image in json.loads(out)["images"]] == ["3.png", "4.png"]


def test_no_overlay(predict, photos, tmp_path):
    status, out, _ = predict(photos / "0.png", "--no-overlay", "--json")
    assert status == 0
    assert json.loads(out)["images"][0]["overlay"] is None
    assert not list((tmp_path / "out").glob("*.png"))
    assert (tmp_path / "out" / "panoptic" / "0.png").is_file()


def test_options_reach_the_predictor(predict, photos):
    _, out, _ = predict(photos / "0.png", "--object-mask-threshold", "1", "--json")
    assert json.loads(out)["images"][0]["segments_info"] == []
    areas = set()
    for size in ("native", "32", "48x64"):
        status, out, _ = predict(photos / "0.png", "--input-size", size, "--json")
        assert status == 0
        areas.add(str([info["score"] for info in json.loads(out)["images"][0]["segments_info"]]))
    assert len(areas) == 3


def test_two_files_of_one_name_do_not_overwrite_each_other(predict, photos, tmp_path):
    copy = tmp_path / "other" / "0.png"
    copy.parent.mkdir()
    copy.write_bytes((photos / "1.png").read_bytes())
    status, _, _ = predict(photos / "0.png", copy)
    assert status == 0
    assert len(list((tmp_path / "out" / "panoptic").iterdir())) == 2


MODES = ["L", "LA", "RGBA", "P", "CMYK", "I;16", "1", "YCbCr"]


def saved_in_mode(photo: Path, mode: str, folder: Path) -> Path:
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    if mode == "I;16":
        grey = np.asarray(image.convert("L"), np.uint16) * 257
        path = folder / "deep.png"
        Image.fromarray(grey).save(path)
        return path
    path = folder / f"{mode}.{'jpg' if mode in {'CMYK', 'YCbCr'} else 'png'}"
    image.convert(mode).save(path)
    return path


@pytest.mark.parametrize("mode", MODES)
def test_image_modes(predict, photos, tmp_path, mode):
    path = saved_in_mode(photos / "0.png", mode, tmp_path)
    status, out, err = predict(path, "--json")
    assert (status, err) == (0, [])
    with Image.open(json.loads(out)["images"][0]["overlay"]) as overlay:
        assert (overlay.mode, overlay.size) == ("RGB", (128, 96))


def test_exif_orientation(predict, photos, tmp_path):
    with Image.open(photos / "0.png") as opened:
        image = opened.convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    _, out, _ = predict(tmp_path / "turned.jpg", "--json")
    entry = json.loads(out)["images"][0]
    assert (entry["height"], entry["width"]) == (128, 96)


def test_one_pixel(predict, tmp_path):
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "pixel.png")
    status, out, _ = predict(tmp_path / "pixel.png", "--json")
    assert status == 0
    assert (json.loads(out)["images"][0]["height"], json.loads(out)["images"][0]["width"]) == (1, 1)


def bad_files(folder: Path, photo: Path) -> dict[str, Path]:
    whole = photo.read_bytes()
    contents = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "text": b"not a picture\n",
        "zero": b"P6 0 0 255\n",
    }
    files = {"missing": folder / "missing.png", "folder": folder / "folder.png"}
    files["folder"].mkdir()
    for name, content in contents.items():
        files[name] = folder / f"{name}.png"
        files[name].write_bytes(content)
    return files


def test_bad_files_do_not_stop_the_others(predict, photos, tmp_path):
    files = bad_files(tmp_path, photos / "0.png")
    status, out, err = predict(files["missing"], photos / "0.png", *files.values(), photos / "1.png", "--json")
    assert status == 2
    document = json.loads(out)
    assert [Path(image["file"]).name for image in document["images"]] == ["0.png", "1.png"]
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [annotation["file_name"] for annotation in content["annotations"]] == ["0.png", "1.png"]
    for path in files.values():
        assert any(str(path) in line for line in err), path
    assert all(line.startswith("error: ") for line in err)
    assert "the others are done" in err[-1]
    assert len(document["errors"]) == len(err) - 1


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "text", "zero", "folder"])
def test_one_bad_file_is_one_line(predict, photos, tmp_path, kind):
    path = bad_files(tmp_path, photos / "0.png")[kind]
    status, out, err = predict(path)
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith(f"error: {path}: ")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_of_the_users_stays(predict, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "x.png").write_bytes(b"")
    assert predict(tmp_path / "x.png")[0] == 2
    assert (tmp_path / "out").is_dir()


def test_an_error_about_memory_names_the_file(predict, photos, monkeypatch):
    from yoso.model.yoso import YOSO

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(YOSO, "features", fail)
    status, _, err = predict(photos / "0.png")
    assert status == 2
    assert err == [
        f"error: {photos / '0.png'}: not enough memory for an image of 128 x 96 pixels; give a smaller input_size or "
        "output_size"
    ]


def test_an_output_below_a_file(predict, photos, tmp_path):
    (tmp_path / "file").write_text("x")
    status, _, err = predict(photos / "0.png", output=tmp_path / "file" / "out")
    assert status == 2
    assert len(err) == 1
    assert str(tmp_path / "file" / "out") in err[0]


@pytest.mark.parametrize("fails", ["0.overlay", "panoptic", "0-"])
def test_a_full_disk_leaves_no_half_written_file(predict, photos, tmp_path, monkeypatch, fails):
    """Every write of one kind of file fails half-way."""
    real_save, real_write = Image.Image.save, Path.write_text

    def save(self, path, *args, **kwargs):
        if f".{fails}" in str(path) or f"{fails}/" in str(path):
            Path(path).write_bytes(b"\x89PNG half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real_save(self, path, *args, **kwargs)

    def write_text(self, text, *args, **kwargs):
        if self.name.startswith(f".{fails}"):
            real_write(self, text[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real_write(self, text, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", save)
    monkeypatch.setattr(Path, "write_text", write_text)
    status, _, err = predict(photos / "0.png", photos / "1.png")
    assert status == 2
    assert "disk is full" in err[0]
    assert "Traceback" not in "".join(err)
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert path.is_dir(), path
        assert not path.name.startswith(".")


def test_an_old_result_survives_a_full_disk(predict, photos, tmp_path, monkeypatch):
    predict(photos / "0.png")
    before = (tmp_path / "out" / "panoptic.json").read_bytes()

    fills_up(monkeypatch, lambda path: path.suffix == ".json")
    status, _, err = predict(photos / "0.png", photos / "1.png")
    assert status == 2
    assert "disk is full" in err[0]
    assert (tmp_path / "out" / "panoptic.json").read_bytes() == before


def test_the_command_from_outside(tiny_model, photos, tmp_path):
    """One real process: exit status, standard output that is JSON and nothing else, no traceback."""
    command = [sys.executable, "-m", "yoso", "predict", photos / "0.png", "nothing.jpg"]
    options = ["--model", tiny_model, "--output", tmp_path / "out", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["images"]) == 1
    assert done.stderr.splitlines() == [
        "error: nothing.jpg: no such file or folder; check the name",
        "error: 1 of 2 could not be segmented; the others are done",
    ]
