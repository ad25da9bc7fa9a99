import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from yoso.apps.cli import main
from yoso.apps.data_show import choose_images
from yoso.drawing.charts import bar_chart
from yoso.files import read_image, read_json


def run(capsys, *arguments):
    status = main(["data", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


def test_show_draws_a_sheet(tiny_dataset, tmp_path, capsys):
    sheets = []
    for number, options in ((5, []), (8, ["--split", "train"]), (3, ["--seed", "1"])):
        status, out, err = run(capsys, "show", tiny_dataset, "--n", number, "--output", tmp_path / "a.png", *options)
        assert (status, err) == (0, [])
        assert f"{number} of 8 images" in out
        sheets.append(read_image(tmp_path / "a.png"))
    assert len({sheet.shape for sheet in sheets}) > 1
    # The truth is drawn: sky keeps its hue but is no longer the image's color alone.
    assert all(len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500 for sheet in sheets)


def test_which_images_are_shown():
    assert choose_images(100, 4, None) == [0, 25, 50, 75]
    assert choose_images(3, 8, None) == [0, 1, 2]
    assert choose_images(100, 5, 1) == choose_images(100, 5, 1) != choose_images(100, 5, 2)
    assert len(set(choose_images(10, 10, 3))) == 10


def truth(folder, split):
    """Count a split from its JSON alone."""
    content = read_json(folder / "annotations" / f"panoptic_{split}.json")
    return [segment for annotation in content["annotations"] for segment in annotation["segments_info"]]


def test_stats_count_everything(tiny_dataset, capsys):
    status, out, err = run(capsys, "stats", tiny_dataset, "--json")
    assert (status, err) == (0, [])
    found = json.loads(out)["splits"]
    assert list(found) == ["train", "val"]
    for split, figures in found.items():
        segments = truth(tiny_dataset, split)
        assert (figures["images"], figures["empty"], figures["segments"]) == (8, 0, len(segments))
        assert figures["widths"] == [128, 128, 128]
        assert figures["labelled"] == pytest.approx(sum(s["area"] for s in segments) / (8 * 96 * 128))
        for row, category_id in zip(figures["classes"], (3, 7, 9), strict=True):
            mine = [s for s in segments if s["category_id"] == category_id]
            own = sorted(s["area"] for s in mine if not s["iscrowd"])
            assert (row["segments"], row["crowds"]) == (len(own), len(mine) - len(own))
            assert row["pixels"] == sum(s["area"] for s in mine)
            assert row["median_area"] == np.median(own)
            assert row["small"] == sum(area < 1024 for area in own)
            assert row["small"] + row["medium"] + row["large"] == len(own)
            assert row["images"] <= 8


def test_stats_as_tables_and_as_a_chart(tiny_dataset, tmp_path, capsys):
    status, out, _ = run(capsys, "stats", tiny_dataset, "--split", "val", "--chart", tmp_path / "c.png")
    assert status == 0
    assert all(word in out for word in ("square", "sky", "ground", "8 images", "per image", "█", "%"))
    chart = read_image(tmp_path / "c.png")
    for color in ((220, 40, 40), (80, 140, 240), (90, 160, 60)):
        assert (chart == color).all(axis=2).sum() > 500


def test_stats_measure_what_the_json_does_not_say(tiny_dataset, tmp_path, capsys):
    folder = shutil.copytree(tiny_dataset, tmp_path / "copy")
    _, expected, _ = run(capsys, "stats", folder, "--json")
    path = folder / "annotations/panoptic_val.json"
    content = read_json(path)
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            del segment["area"]
    for image in content["images"]:
        del image["height"], image["width"]
    path.write_text(json.dumps(content))
    assert run(capsys, "stats", folder, "--json")[1] == expected


def test_bars_are_sorted_and_grow_with_their_logarithm():
    chart = bar_chart("title", [("a", 10, (255, 0, 0)), ("b", 100, (0, 255, 0)), ("c", 0, (0, 0, 255))])
    lengths = []
    for color in ((0, 255, 0), (255, 0, 0), (0, 0, 255)):
        rows, columns = np.nonzero((chart == color).all(axis=2))
        lengths.append((rows.min(), np.ptp(columns)))
    assert [top for top, _ in lengths] == sorted(top for top, _ in lengths)
    assert lengths[0][1] == pytest.approx(2 * lengths[1][1], abs=2)
    assert lengths[2][1] <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing"], "nothing"),
        (["show", "DATA", "--n", "0"], "--n 0"),
        (["show", "DATA", "--split", "test"], "no split 'test'"),
        (["show", "DATA", "--output", "DATA"], "is a folder"),
        (["stats", "DATA", "--split", "test"], "no split 'test'"),
        (["stats", "DATA", "--chrt", "x.png"], "Did you mean '--chart'?"),
        (["stats"], "DATASET"),
    ],
)
def test_slips(arguments, words, tiny_dataset, capsys):
    status, _, err = run(capsys, *(word.replace("DATA", str(tiny_dataset)) for word in arguments))
    assert status == 2
    assert len(err) == 1
    assert words in err[0]


def test_show_names_a_damaged_image(tiny_dataset, tmp_path, capsys):
    folder = shutil.copytree(tiny_dataset, tmp_path / "copy")
    Image.new("RGB", (5, 5)).save(folder / "val/3.png")
    status, _, err = run(capsys, "show", folder, "--output", tmp_path / "a.png")
    assert status == 2
    assert "3.png" in err[0]
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("area", ["NaN", "Infinity", "1e30", "-1", "true", '"7"', "[]"])
def test_areas_that_are_no_number_of_pixels_are_measured(area, tiny_dataset, tmp_path, capsys):
    folder = shutil.copytree(tiny_dataset, tmp_path / "set")
    path = folder / "annotations" / "panoptic_val.json"
    assert main(["data", "stats", str(folder), "--split", "val", "--json"]) == 0
    expected = capsys.readouterr().out
    path.write_text(re.sub(r'"area": \d+', f'"area": {area}', path.read_text(), count=3))
    assert main(["data", "stats", str(folder), "--split", "val", "--json"]) == 0
    assert capsys.readouterr().out == expected
