import json
import shutil

import numpy as np
import pytest

from yoso.apps.cli import main
from yoso.apps.data import SUBCOMMANDS
from yoso.files import read_id_map, write_id_map


@pytest.fixture
def check(capsys):
    def run(*arguments):
        status = main(["data", "check", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return run


@pytest.fixture
def sick(tiny_dataset, tmp_path):
    """Return a data set whose `val` has a missing image, a wrong area, and an id that has no pixel."""
    folder = shutil.copytree(tiny_dataset, tmp_path / "sick")
    (folder / "val" / "3.png").unlink()
    path = folder / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][0]["area"] += 1
    content["annotations"][1]["segments_info"].append(
        {"id": 12345, "category_id": 3, "iscrowd": 0, "area": 5, "bbox": [0, 0, 1, 5]}
    )
    path.write_text(json.dumps(content))
    return folder


def test_a_clean_data_set(check, tiny_dataset):
    status, out, err = check(tiny_dataset)
    assert (status, err) == (0, [])
    assert all(word in out for word in ("train", "val", "8 images, 0 errors", "square", "sky", "ground"))
    status, out, _ = check(tiny_dataset, "--split", "val", "--json")
    document = json.loads(out)
    assert status == 0
    assert list(document["splits"]) == ["val"]
    assert document["splits"]["val"]["findings"] == []
    assert document["splits"]["val"]["images"] == 8


def test_findings_are_listed_and_counted(check, sick):
    status, out, err = check(sick, "--split", "val")
    assert (status, err) == (1, [])
    assert "3.png" in out
    assert "12345" in out
    assert all(kind in out for kind in ("missing-image", "wrong-area", "id-only-in-json"))
    status, out, _ = check(sick, "--json")
    document = json.loads(out)
    assert status == 1
    assert document["splits"]["train"]["errors"] == 0
    assert document["splits"]["val"]["errors"] == 2
    assert len(document["splits"]["val"]["findings"]) == 3


def test_many_findings_are_cut_short(check, sick):
    for index in (0, 1, 2):
        path = sick / "annotations" / "panoptic_val" / f"{index}_mask.png"
        write_id_map(path, np.where(read_id_map(path) == 300, 301, read_id_map(path)))
    path = sick / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    extra = [{"id": 20000 + n, "category_id": 3, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]} for n in range(60)]
    content["annotations"][2]["segments_info"] += extra
    path.write_text(json.dumps(content))
    _, out, _ = check(sick, "--split", "val")
    assert "more findings" in out
    assert "20059" not in out


@pytest.mark.parametrize("target", ["fixed.json", "folder"])
def test_the_repaired_file_is_clean(check, sick, tmp_path, target):
    arguments = ["--split", "val"] if target.endswith(".json") else []
    status, out, _ = check(sick, "--fix", tmp_path / target, *arguments)
    assert status == 1
    fixed = tmp_path / "fixed.json" if target.endswith(".json") else tmp_path / "folder" / "panoptic_val.json"
    assert str(fixed) in out.replace("\n", "")
    shutil.copy(fixed, sick / "annotations" / "panoptic_val.json")
    status, out, _ = check(sick, "--split", "val", "--json")
    assert status == 0
    assert json.loads(out)["splits"]["val"]["images"] == 7


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["no-such-data"], "no-such-data"),
        (["DATA", "--split", "test"], "'test'"),
        (["DATA", "--fix", "out.json"], "2 splits"),
        (["DATA", "--fix", "DATA/annotations"], "would overwrite"),
        (["DATA", "--fixx", "x"], "Did you mean '--fix'?"),
        ([], "DATASET"),
    ],
)
def test_slips(check, sick, arguments, hint):
    before = (sick / "annotations" / "panoptic_val.json").read_bytes()
    status, out, err = check(*(word.replace("DATA", str(sick)) for word in arguments))
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert hint in err[0]
    assert (sick / "annotations" / "panoptic_val.json").read_bytes() == before


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0), (["help"], 0)])
def test_the_subcommands_are_listed(capsys, arguments, status):
    assert main(["data", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.err == ""
    listed = [line.split()[0] for line in captured.out.splitlines() if line.startswith("  ") and "`" not in line]
    assert listed == list(SUBCOMMANDS) == ["check", "show", "stats", "convert", "prepare"]


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help(capsys, name):
    assert main(["data", name, "--help"]) == 0
    assert f"usage: yoso data {name}" in capsys.readouterr().out


def test_train_and_val_of_other_classes_are_an_error(check, tiny_dataset, tmp_path):
    folder = shutil.copytree(tiny_dataset, tmp_path / "copy")
    path = folder / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "circle"
    path.write_text(json.dumps(content))
    status, out, err = check(folder)
    assert (status, err) == (1, [])
    assert "train and val have different classes" in out
    assert "8 images, 1 error, 0 warnings" in out
    assert check(folder, "--split", "val")[0] == 0


def test_an_unknown_subcommand(capsys):
    assert main(["data", "chekc"]) == 2
    assert "Did you mean 'check'?" in capsys.readouterr().err


def test_unreadable_annotations_are_one_line(check, sick):
    (sick / "annotations" / "panoptic_val.json").write_text('{"images": []}')
    status, out, err = check(sick, "--split", "val")
    assert (status, out) == (2, "")
    assert len(err) == 1
    assert "not COCO panoptic" in err[0] or "annotations" in err[0]
