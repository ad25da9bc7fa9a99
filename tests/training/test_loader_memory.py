"""The memory of loading processes with as many images as COCO has."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from warm_start import begin, ended
from yoso.data.dataset import PanopticDataset
from yoso.data.samples import training_sample
from yoso.data.spec import Split

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "loader_memory.py"


def load_script():
    spec = importlib.util.spec_from_file_location("loader_memory", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return load_script()


def test_the_synthetic_data_set_is_like_coco(script, tmp_path):
    script.write_data_set(tmp_path, 200)
    split = Split(tmp_path / "train", tmp_path / "panoptic_train", tmp_path / "panoptic_train.json")
    dataset = PanopticDataset(split, filter_empty=True)
    assert len(dataset) == 200
    assert (len(dataset.categories), sum(dataset.categories.is_thing)) == (133, 80)
    assert 9 < np.diff(dataset.annotations.firsts).mean() < 13
    assert training_sample(dataset, 150).image.shape == (3, 480, 640)


LINUX = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="measures as Linux does, from /proc")


def measured(folder, figures):
    figures.write_text(json.dumps(load_script().measure(folder, 1)))


@LINUX
def test_every_process_is_counted(script, tmp_path):
    script.write_data_set(tmp_path, 100)
    figures, output = tmp_path / "figures.json", tmp_path / "output"
    assert ended(begin(output, measured, tmp_path, figures)) == 0, output.read_text()
    found = json.loads(figures.read_text())
    assert found["images"] == 100
    assert found["largest_worker_mb"] == found["workers_mb"] > 20
    assert found["all_mb"] == pytest.approx(found["workers_mb"] + found["main_mb"])


@pytest.mark.slow
@LINUX
def test_eight_workers_take_less_than_a_gigabyte_and_a_half(script, tmp_path):
    found = script.run(118_287, 8, tmp_path)
    print(script.told(found))
    assert found["images"] == 118_287
    assert found["all_mb"] < script.AIM_MB
    assert found["peak_while_reading_mb"] < script.AIM_MB
