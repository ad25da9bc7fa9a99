"""The rules by which a recipe fits the data, from sets of one image to crowds; every choice can be overridden."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from yoso.apps.cli import main
from yoso.data.dataset import PanopticDataset
from yoso.data.spec import load_spec
from yoso.data.statistics import Crowding, crowding
from yoso.errors import ConfigError
from yoso.training.adapt import TIMED_STEPS, adapted, as_recorded, scaled, timed
from yoso.training.cli import parse
from yoso.training.config import ADAPTABLE, RunConfig
from yoso.training.run import prepare


def of(num_images, size=(640, 640), count=20, side=60.0, things=True):
    """Return the statistics of equal images with equal things."""
    sides = np.full(num_images * count if things else 0, side)
    return Crowding(np.tile(np.array(size), (num_images, 1)), np.full(num_images, count), sides)


def chosen(statistics, *options):
    """Return the recipe `small` after its rules, and what it prints."""
    config, _ = parse(["small", "--data", "x", *options])
    return adapted(config, statistics)


def test_a_few_hundred_usual_images_get_the_values_of_the_recipe():
    config, lines = chosen(of(500))
    before, _ = parse(["small", "--data", "x"])
    assert replace(config, adapt=()) == replace(before, adapt=())
    assert [line.split(":")[1].split()[0] for line in lines] == [
        "augmentation.size",
        "inference.input_size",
        "run.iterations",
        "run.validate_every",
        "schedule.warmup_iterations",
    ]
    assert lines[2] == "adapt: run.iterations 2500: 20 passes over 500 images are 2500 iterations"


def test_crowded_images_are_cut_into_windows_with_fewer_objects_than_queries():
    config, lines = chosen(of(100, (1024, 1024), 400, 17.0))
    assert config.augmentation.window == 384
    assert 400 * (384 / 1024) ** 2 <= 60
    assert config.model.num_queries == 100
    assert "evaluate and predict with --tiles 384" in lines[0]
    assert config.augmentation.size == (480, 480)  # 17 pixels of 384 are 20 then, rounded up to a multiple of 32
    assert config.inference.input_size == (480, 960)


def test_without_windows_crowded_images_get_more_queries():
    config, _ = chosen(of(100, (1024, 1024), 150), "--augmentation.window", "0")
    assert (config.augmentation.window, config.model.num_queries) == (0, 190)
    config, _ = chosen(of(100, (1024, 1024), 4000), "--augmentation.window", "0")
    assert config.model.num_queries == 300
    config, _ = chosen(of(100, (1024, 1024), 4000), "--augmentation.window", "0", "--model.num_queries", "120")
    assert config.model.num_queries == 120


@pytest.mark.parametrize(
    ("statistics", "size"),
    [(of(10, side=30.0), 448), (of(10, side=5.0), 512), (of(10, side=300.0), 320), (of(10, things=False), 320)],
)
def test_the_input_size_shows_the_median_thing_on_five_mask_positions(statistics, size):
    config, _ = chosen(statistics)
    assert config.augmentation.size == (size, size)


@pytest.mark.parametrize(("images", "iterations", "warmup"), [(1, 500, 50), (150, 750, 75), (10**6, 5000, 100)])
def test_the_length_follows_the_number_of_images(images, iterations, warmup):
    config, _ = chosen(of(images))
    assert config.run.iterations == iterations
    assert config.run.validate_every == iterations // 5
    assert config.schedule.warmup_iterations == warmup


def test_few_passes_train_at_the_scale_of_the_test():
    config, _ = chosen(of(10**5))
    config, lines = scaled(config, 10**5)
    assert config.augmentation.scale == (1.0, 1.0)
    assert lines == ["adapt: augmentation.scale [1.0, 1.0]: only 0.2 passes over the images"]
    config, lines = scaled(chosen(of(500))[0], 500)
    assert (config.augmentation.scale, lines) == ((0.8, 2.0), [])


@pytest.mark.parametrize("name", sorted(ADAPTABLE))
def test_an_option_takes_its_setting_from_the_rules(name):
    values = {"augmentation.size": "[96,96]", "augmentation.scale": "[0.5,0.7]", "inference.input_size": "[96,96]"}
    config, _ = parse(["small", "--data", "x", f"--{name}={values.get(name, '7')}"])
    assert set(config.adapt) == ADAPTABLE - {name}
    after, lines = adapted(config, of(3, (2000, 2000), 500, 4.0))
    after, more = scaled(after, 10**9)
    group, field = name.split(".")
    assert getattr(getattr(after, group), field) == getattr(getattr(config, group), field)
    assert not any(f" {name} " in line for line in lines + more)


def test_short_forms_count_as_options():
    assert "inference.input_size" not in parse(["small", "--data", "x", "--input-size", "256"])[0].adapt
    assert parse(["facades_mnv2"])[0].adapt == ()


def test_no_rule_for_a_setting():
    config, _ = parse(["small", "--data", "x", "--adapt", '["model.num_querys"]'])
    with pytest.raises(ConfigError, match=r"no rule chooses 'model.num_querys'. Did you mean 'model.num_queries'"):
        adapted(config, of(3))


def test_the_statistics_of_a_split(tiny_dataset):
    dataset = PanopticDataset(load_spec(tiny_dataset).split("train"), filter_empty=True)
    found = crowding(dataset)
    assert found.sizes.tolist() == [[96, 128]] * 8
    for index, count in enumerate(found.counts.tolist()):
        assert count == sum(not segment["iscrowd"] for segment in dataset.example(index).segments)
    assert found.counts.sum() == len(found.thing_sides) + 16  # two stuff segments in each image
    assert found.thing_sides.max() == 24


@pytest.mark.parametrize("minutes", ["0", "-1", "0.0"])
def test_a_time_that_is_none_is_refused(minutes, capsys):
    assert main(["train", "small", "--data", "x", f"--minutes={minutes}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"run.minutes is {float(minutes):g}; give a number above 0, or leave it out" in line


def test_a_length_and_a_time_are_refused():
    with pytest.raises(ConfigError, match=r"give --minutes or --run\.iterations, not both"):
        parse(["small", "--data", "x", "--minutes", "5", "--run.iterations", "100"])


def test_minutes_become_iterations_by_timing_steps(recipe, monkeypatch):
    _, loaders, network = prepare(recipe)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ticks = iter(range(100))
    monkeypatch.setattr("yoso.training.adapt.time.perf_counter", lambda: next(ticks))
    recipe = replace(recipe, run=replace(recipe.run, minutes=10.0))
    config, (line,) = timed(recipe, network, loaders)
    # By this clock, a step takes two seconds: one to load, because no process loads, and one to learn.
    assert config.run.iterations == int(60 * 0.9 * 10 / 2)
    assert line == "minutes: run.iterations 270: a step takes 2.00 s, the run 10 minutes"
    assert next(ticks) == 3 * TIMED_STEPS
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    assert as_recorded(config).run.minutes is None


def test_a_run_records_what_it_chose_and_resumes_with_it(recipe, as_yaml, tmp_path, capsys):
    recipe = replace(recipe, adapt=("run.iterations", "augmentation.size", "inference.input_size"))
    words = ["train", as_yaml(recipe), "--augmentation.size", "[64,96]", "--run.iterations", "2"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "adapt: inference.input_size [320, 640]: as in training" in out
    assert "adapt: augmentation.size" not in out
    recorded = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert recorded["adapt"] == []
    assert recorded["inference"]["input_size"] == [320, 640]
    assert main([*words[:-1], "3", "--resume"]) == 0
    assert "adapt:" not in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text()) == recorded | {
        "run": recorded["run"] | {"iterations": 3}
    }
    assert json.loads((tmp_path / "run/model/config.json").read_text())["inference"]["input_size"] == [320, 640]


def write_set(folder, images):
    """Write a data set, train and val alike: (image, id map, segments) by file name."""
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        (folder / "annotations" / f"panoptic_{split}").mkdir(parents=True)
        content = {"categories": [{"id": 1, "name": "cell", "isthing": 1}, {"id": 2, "name": "ground", "isthing": 0}]}
        content |= {"images": [], "annotations": []}
        for number, (name, (image, ids, segments)) in enumerate(images.items(), 1):
            image.save(folder / split / name)
            colors = np.stack([ids % 256, ids // 256, ids * 0], axis=-1).astype(np.uint8)
            Image.fromarray(colors).save(folder / "annotations" / f"panoptic_{split}" / f"{number}.png")
            size = {"height": ids.shape[0], "width": ids.shape[1]}
            content["images"].append({"id": number, "file_name": name, **size})
            entry = {"image_id": number, "file_name": f"{number}.png", "segments_info": segments}
            content["annotations"].append(entry)
        (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return folder


def cells(height, width, count, stuff=True):
    """Return a map with square cells of 4 pixels in a row-major grid, and its segments."""
    ids = np.full((height, width), 60000 if stuff else 0, np.int32)
    segments = [{"id": 60000, "category_id": 2, "iscrowd": 0}] if stuff else []
    for number in range(1, count + 1):
        row, column = divmod(number - 1, width // 6)
        ids[6 * row : 6 * row + 4, 6 * column : 6 * column + 4] = number
        segments.append({"id": number, "category_id": 1, "iscrowd": 0})
    return ids, segments


SETS = {
    "one image": {"a.png": ("RGB", (40, 50), 3, True)},
    "no things": {"a.png": ("RGB", (40, 50), 0, True), "b.png": ("RGB", (50, 40), 0, True)},
    "no stuff": {"a.png": ("RGB", (40, 50), 3, False), "b.png": ("RGB", (50, 40), 2, False)},
    "more objects than queries": {"a.png": ("RGB", (72, 72), 140, True)},
    "sizes from 32 to 2000": {"a.png": ("RGB", (32, 32), 4, True), "b.png": ("RGB", (300, 2000), 9, True)},
    "gray and 16 bit": {"a.png": ("L", (40, 50), 3, True), "b.png": ("I;16", (40, 50), 2, True)},
}


@pytest.mark.parametrize("name", SETS)
def test_unusual_data_sets_train(name, recipe, tmp_path, capsys, as_yaml):
    images = {}
    for file, (mode, size, count, stuff) in SETS[name].items():
        ids, segments = cells(*size, count, stuff)
        gray = (ids % 7 * 30).astype(np.uint16 if mode == "I;16" else np.uint8)
        images[file] = (Image.fromarray(gray).convert("RGB") if mode == "RGB" else Image.fromarray(gray), ids, segments)
    data = write_set(tmp_path / "data", images)
    recipe = replace(recipe, data=str(data), adapt=tuple(sorted(ADAPTABLE)))
    words = ["--run.iterations=1", "--run.validate_every=1", "--augmentation.size=[64,64]", "--run.samples=0"]
    assert main(["train", as_yaml(recipe), *words, "--inference.input_size=[64,64]"]) == 0
    assert ("augmentation.window 64" in capsys.readouterr().out) == (name == "more objects than queries")


def test_a_set_without_images_is_one_line(recipe, tmp_path, capsys, as_yaml):
    data = write_set(tmp_path / "data", {})
    assert main(["train", as_yaml(replace(recipe, data=str(data), adapt=("run.iterations",)))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no image with a segment to learn" in line


def test_minutes_are_none_by_default():
    assert RunConfig().minutes is None
