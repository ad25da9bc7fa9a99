import json
import shutil

import numpy as np
import pytest

from yoso.apps.cli import main
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import Split, load_spec
from yoso.files import read_id_map, read_json, write_id_map

NOT_REPAIRED = "of the findings, the first in"


@pytest.fixture
def split(tiny_dataset, tmp_path):
    return load_spec(shutil.copytree(tiny_dataset, tmp_path / "tiny")).split("val")


@pytest.fixture
def fix(split, tmp_path, capsys):
    def run(*options):
        folder, out = tmp_path / "tiny", tmp_path / "fixed.json"
        status = main(["data", "check", str(folder), "--split", "val", "--fix", str(out), *options])
        captured = capsys.readouterr()
        assert captured.err == ""
        return status, captured.out

    return run


def rename_segment(split, index):
    """Give a segment's pixels an id that the JSON does not know."""
    path = split.masks / f"{index}_mask.png"
    id_map = read_id_map(path)
    write_id_map(path, np.where(id_map == 300, 301, id_map))


def test_what_the_json_can_repair_leaves_nothing_to_report(fix, split, tmp_path):
    (split.images / "3.png").unlink()
    status, out = fix()
    assert status == 1
    assert "(7 of 8 images)" in out
    assert NOT_REPAIRED not in out
    assert len(PanopticDataset(Split(split.images, split.masks, tmp_path / "fixed.json"))) == 7


def test_pixels_without_a_segment_are_reported_as_not_repaired(fix, split):
    rename_segment(split, 2)
    content = read_json(split.annotations)
    content["annotations"][5]["segments_info"][0]["category_id"] = 4
    split.annotations.write_text(json.dumps(content))
    status, out = fix()
    assert status == 1
    assert f"cannot repair 2 {NOT_REPAIRED} {split.masks / '2_mask.png'}" in out
    _, out = fix("--json")
    document = json.loads(out)["splits"]["val"]
    assert document["not_repaired"] == [str(split.masks / "2_mask.png"), str(split.masks / "5_mask.png")]
    assert document["repaired_images"] == 8


def test_a_dropped_image_does_not_count_as_not_repaired(fix, split):
    rename_segment(split, 2)
    (split.images / "2.png").unlink()
    _, out = fix()
    assert "are not in the JSON" in out
    assert NOT_REPAIRED not in out


def test_warnings_alone_are_status_0_and_are_repaired(fix, split, tmp_path):
    content = read_json(split.annotations)
    content["annotations"][0]["segments_info"][0].update(area=1, bbox=[0, 0, 1, 1])
    split.annotations.write_text(json.dumps(content))
    status, out = fix()
    assert status == 0
    assert "0 errors, 2 warnings" in out
    assert read_json(tmp_path / "fixed.json")["annotations"][0]["segments_info"][0]["area"] > 1


def test_the_document_names_no_repair_without_fix(split, tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "tiny"), "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert list(splits) == ["train", "val"]
    assert all("repaired" not in document and document["findings"] == [] for document in splits.values())
