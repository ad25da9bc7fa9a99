"""`yoso pq --video`: the scores of saved videos, printed and as JSON; and what is wrong with the files, in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from panoptic_pairs import CATEGORIES, edit_json
from video_tubes import frame, stuff, thing
from yoso.apps.cli import main
from yoso.evaluation.report import video_as_json
from yoso.evaluation.video_quality import count_video, video_quality
from yoso.files import write_id_map, write_json

GT = [frame("11223", thing(1, 11), thing(2, 12), stuff(3))] * 5
PRED = [*GT[:3], *[frame("11223", thing(1, 12), thing(2, 11), stuff(3))] * 2]


def write_video(folder, name, frames):
    entries = []
    for number, (id_map, segments) in enumerate(frames):
        write_id_map(folder / name / f"{number}.png", id_map)
        entries.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    write_json(folder / f"{name}.json", {"annotations": entries, "categories": CATEGORIES.to_json()})
    return [str(folder / f"{name}.json"), str(folder / name)]


@pytest.fixture
def words(tmp_path):
    return ["pq", "--video", *write_video(tmp_path, "gt", GT), *write_video(tmp_path, "pred", PRED)]


def test_the_json_holds_the_scores(words, capsys):
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = video_quality(count_video(GT, PRED, CATEGORIES), CATEGORIES)
    assert found == json.loads(json.dumps(video_as_json(expected, CATEGORIES)))
    assert (found["id_switches"], found["windows"]["15"]["all"]["pq"]) == (2, None)
    assert found["windows"]["1"]["all"]["pq"] == 1
    assert 0 < found["vpq"] < 1


def test_the_tables_hold_them_too(words, capsys):
    assert main(words) == 0
    printed = capsys.readouterr().out
    expected = video_quality(count_video(GT, PRED, CATEGORIES), CATEGORIES)
    assert "Video panoptic quality by window (x100)" in printed
    for figure in (expected.vpq, expected.windows[5].things.pq, expected.stq, expected.aq, expected.idf1):
        assert f"{100 * figure:.1f}" in printed
    assert "nan" not in printed


def change_frame(change):
    return lambda content: change(content["annotations"][1])


@pytest.mark.parametrize(
    ("place", "edit", "message"),
    [
        (4, change_frame(lambda one: one["segments_info"][0].pop("track_id")), "segment 1 has track_id None; every"),
        (4, change_frame(lambda one: one["segments_info"][0].pop("id")), "prediction: segment number 0 has no 'id'"),
        (4, change_frame(lambda one: one.pop("image_id")), "annotation number 1 has no usable 'image_id'"),
        (
            2,
            change_frame(lambda one: one.update(file_name="wide.png")),
            "frame 1: is 9x1 pixels, but the frames before",
        ),
    ],
)
def test_faults_take_one_line(words, place, edit, message, capsys, tmp_path):
    write_id_map(tmp_path / "gt" / "wide.png", np.ones((1, 9), np.int32))
    edit_json(Path(words[place]), edit)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_folders_of_different_length_are_said_in_one_line(words, capsys):
    edit_json(Path(words[4]), lambda content: content["annotations"].pop())
    assert main(words) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no prediction for 1 of 5 frames" in line


def test_confusion_is_for_images(words, capsys):
    assert main([*words, "--confusion", "x.png"]) == 2
    assert "--confusion is for images; leave it out with --video" in capsys.readouterr().err
