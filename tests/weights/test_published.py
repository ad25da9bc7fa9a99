"""The published weights by name: fetched once, checked, converted, and not touched again."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import yoso
from file_server import FileServer
from golden_figures import FORWARDS, GOLDEN, Figures, official_tensors
from official_file import SMALL, small_tensors, write_official
from warm_start import begin, ended, wait_for
from yoso.apps.console import TerminalListener
from yoso.errors import CheckpointError, OutputError
from yoso.weights import conversion, download, published
from yoso.weights.find import find_model
from yoso.weights.listener import listening
from yoso.weights.load import load_model
from yoso.weights.model_folder import save_model
from yoso.weights.official import our_name
from yoso.weights.official_recipes import convertible, read_recipe
from yoso.weights.published import PUBLISHED, cache_folder, is_cached, published_folder

FILE = "yoso_res50_coco.pth"


class TestTheList:
    def test_every_official_recipe_is_published(self):
        assert sorted(entry.recipe for entry in PUBLISHED.values()) == convertible()
        assert list(PUBLISHED) == ["coco-r50", "cityscapes-r50", "ade20k-r50", "mapillary-r50"]

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_the_size_is_that_of_the_weights(self, name):
        benchmark = name.removesuffix("-r50")
        keys = json.loads((GOLDEN / f"state_dict_{benchmark}_r50.json").read_text())
        numbers = sum(np.prod(shape) for key, shape, _ in keys if not key.endswith(("tracked", "empty_weight")))
        assert PUBLISHED[name].megabytes == pytest.approx(4 * numbers / 1e6, abs=0.06)
        assert PUBLISHED[name].file == f"yoso_res50_{benchmark}.pth"

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_the_best_figure_is_at_the_recipes_size(self, name):
        assert PUBLISHED[name].scores[0].input_size == read_recipe(PUBLISHED[name].recipe).inference.input_size
        assert all(0.2 < share < 0.7 for score in PUBLISHED[name].scores for share in score[1:])

    @pytest.mark.data
    def test_the_figures_are_the_papers(self, shared):
        paper = (shared / "paper" / "yoso-cvpr2023.txt").read_text()
        for entry in PUBLISHED.values():
            for (shorter, longest), *shares in entry.scores:
                row = "\t".join(("YOSO, ours", "R50", f"{shorter},{longest}", *(f"{100 * x:.1f}" for x in shares)))
                _, found, after = paper.partition(row + "\t")
                assert found
                assert after[after.index("Table") :].startswith(f"Table {entry.table}.")


class TestTheCache:
    def test_a_folder_of_ones_own(self, monkeypatch, tmp_path):
        monkeypatch.setenv("YOSO_CACHE", str(tmp_path))
        assert cache_folder() == tmp_path

    def test_the_users_cache(self, monkeypatch, tmp_path):
        monkeypatch.delenv("YOSO_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "yoso"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert cache_folder() == tmp_path / "home" / ".cache" / "yoso"


class TestFetching:
    def test_once_and_whole(self, mirror, model_cache, small_checkpoint, capsys):
        assert not is_cached("coco-r50")
        predictor = yoso.load("coco-r50", "cpu")
        assert f"fetching coco-r50 from {mirror.address}/{FILE}" in capsys.readouterr().err
        given = torch.load(small_checkpoint, weights_only=True)["model"]
        state = load_model("coco-r50").network.state_dict()
        assert all(torch.equal(value, state[our_name(key, 1)]) for key, value in given.items())
        assert predictor.categories == SMALL.categories
        assert is_cached("coco-r50")
        again = yoso.load("coco-r50", "cpu")
        assert capsys.readouterr().err == ""
        assert mirror.requests == [(f"/{FILE}", None)]
        image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        assert np.array_equal(predictor(image)["segmentation"], again(image)["segmentation"])

    def test_who_watches_sees_a_bar(self, mirror, capsys, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "120")
        with listening(TerminalListener()):
            find_model("coco-r50")
        _, bar = capsys.readouterr().err.split("\n", 1)
        assert FILE in bar
        assert "/s" in bar

    def test_what_is_in_the_cache(self, mirror, model_cache, small_checkpoint):
        folder = find_model("coco-r50")
        assert folder == model_cache / "coco-r50"
        assert {path.name for path in model_cache.iterdir()} == {"coco-r50", f"{FILE}.sha256", ".coco-r50.lock"}
        sha256 = hashlib.sha256(small_checkpoint.read_bytes()).hexdigest()
        assert (model_cache / f"{FILE}.sha256").read_text() == f"{sha256}  {FILE}\n"
        source = json.loads((folder / "source.json").read_text())
        assert source["sha256"] == sha256
        assert source["bytes"] == small_checkpoint.stat().st_size
        assert source["url"] == f"{mirror.address}/{FILE}"
        assert "Copyright (c) 2023 Jie Hu" in (folder / "LICENSE").read_text()
        card = (folder / "README.md").read_text()
        assert card.startswith("---\nlicense: mit\n")
        for part in ("| 800/1333 | 48.4 | 53.5 | 40.8 |", "@inproceedings", "Hu, Jie", "table 1"):
            assert part in card
        about = load_model(folder).about
        assert (about["license"], about["sha256"]) == ("MIT", sha256)

    @pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", "half", "other"])
    def test_what_is_no_checkpoint_of_this_network_is_deleted(
        self, content, mirror, model_cache, small_checkpoint, tmp_path
    ):
        right = small_checkpoint.read_bytes()
        tensors = {**small_tensors(), "yoso_head.kernels.bias": torch.zeros(7)}
        other = write_official(tmp_path / "other.pth", tensors).read_bytes()
        mirror.files[FILE] = {"half": right[: len(right) // 2], "other": other}.get(content, content)
        with pytest.raises(CheckpointError, match="the fetched file was deleted, because it cannot be used") as caught:
            find_model("coco-r50")
        assert "\n" not in str(caught.value)
        assert ("yoso_head.kernels.bias has shape (7,)" in str(caught.value)) == (content == "other")
        assert [path.name for path in model_cache.iterdir()] == [".coco-r50.lock"]
        mirror.files[FILE] = right
        assert find_model("coco-r50").is_dir()

    def test_another_file_than_the_first_is_refused(self, mirror, model_cache, tmp_path):
        first = find_model("coco-r50")
        record = (model_cache / f"{FILE}.sha256").read_text()
        shutil.rmtree(first)
        tensors = {**small_tensors(), "yoso_head.kernels.bias": torch.full((6,), 0.5)}
        mirror.files[FILE] = write_official(tmp_path / "other.pth", tensors).read_bytes()
        with pytest.raises(CheckpointError, match=r"pth\.sha256; delete that file only if") as caught:
            find_model("coco-r50")
        assert f", but {record.split()[0]} is recorded in " in str(caught.value)
        assert not first.exists()
        assert not (model_cache / FILE).exists()
        assert (model_cache / f"{FILE}.sha256").read_text() == record
        (model_cache / f"{FILE}.sha256").unlink()
        assert load_model("coco-r50").network.decoder.proposals.bias[0] == 0.5

    def test_weights_that_changed_in_the_cache_are_refused(self, mirror):
        folder = find_model("coco-r50")
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"coco-r50: is damaged; delete the folder"):
            find_model("coco-r50")
        shutil.rmtree(folder)
        assert find_model("coco-r50") == folder
        (folder / "source.json").write_text("[]")
        with pytest.raises(CheckpointError, match="is damaged"):
            find_model("coco-r50")

    def test_what_was_fetched_before_it_could_be_converted_is_not_fetched_again(
        self, mirror, model_cache, small_checkpoint
    ):
        model_cache.mkdir()
        shutil.copy(small_checkpoint, model_cache / FILE)
        (model_cache / ".coco-r50.making").mkdir()
        assert find_model("coco-r50").is_dir()
        assert mirror.requests == []
        assert {path.name for path in model_cache.iterdir()} == {"coco-r50", f"{FILE}.sha256", ".coco-r50.lock"}

    def test_two_at_the_same_time(self, mirror, model_cache, capfd):
        mirror.faults = ["silence"]
        found = []
        threads = [threading.Thread(target=lambda: found.append(published_folder("coco-r50"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [model_cache / "coco-r50"] * 3
        assert len(mirror.requests) == 2  # the first was interrupted
        assert "another process fetches coco-r50; waiting for it" in capfd.readouterr().err

    def test_something_else_in_the_place_of_the_model_is_not_deleted(self, mirror, model_cache):
        (model_cache / "coco-r50").mkdir(parents=True)
        (model_cache / "coco-r50" / "mine.txt").write_text("mine")
        with pytest.raises(CheckpointError, match="exists, but is not a fetched model"):
            find_model("coco-r50")
        assert (model_cache / "coco-r50" / "mine.txt").read_text() == "mine"


class TestDisks:
    def test_a_full_disk_while_converting(self, mirror, model_cache, monkeypatch):
        def full(folder, *_):
            folder.mkdir()
            (folder / "config.json").write_text("half")
            raise OutputError(f"{folder}: cannot be written (the disk is full; make room or write elsewhere)")

        with monkeypatch.context() as patch:
            patch.setattr("yoso.weights.conversion.save_model", full)
            with pytest.raises(OutputError, match="the disk is full"):
                find_model("coco-r50")
        assert {path.name for path in model_cache.iterdir()} == {FILE, ".coco-r50.lock"}
        assert find_model("coco-r50").is_dir()
        assert len(mirror.requests) == 1

    def test_a_cache_that_cannot_be_made(self, mirror, model_cache):
        model_cache.write_text("")
        with pytest.raises(OutputError, match=r"cache: cannot be written \(.*set YOSO_CACHE to another folder"):
            find_model("coco-r50")

    def test_a_read_only_cache_is_read(self, mirror, model_cache, monkeypatch):
        find_model("coco-r50")

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("yoso.weights.published.download", refuse)
        monkeypatch.setattr("pathlib.Path.mkdir", refuse)
        monkeypatch.setattr("filelock.FileLock.acquire", refuse)
        for path in (model_cache / "coco-r50", model_cache):
            path.chmod(0o555)
        try:
            assert load_model("coco-r50").categories == SMALL.categories
        finally:
            for path in (model_cache, model_cache / "coco-r50"):
                path.chmod(0o755)

    def test_a_read_only_cache_cannot_be_fetched_into(self, mirror, model_cache, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("filelock.FileLock.acquire", refuse)
        with pytest.raises(OutputError, match=r"permission denied.*set YOSO_CACHE to another folder"):
            find_model("coco-r50")
        assert mirror.requests == []


class TestOffline:
    @pytest.mark.parametrize("value", ["1", "true", "on"])
    def test_without_a_cache(self, value, mirror, monkeypatch):
        monkeypatch.setenv("YOSO_OFFLINE", value)
        with pytest.raises(CheckpointError, match=r"coco-r50 is not in the cache \(.*nothing is fetched offline"):
            yoso.load("coco-r50", "cpu")
        assert mirror.requests == []

    @pytest.mark.parametrize("value", ["0", "", "false"])
    def test_switched_off(self, value, mirror, monkeypatch):
        monkeypatch.setenv("YOSO_OFFLINE", value)
        assert find_model("coco-r50").is_dir()


class TestNames:
    def test_a_model_folder_of_that_name_goes_before(self, mirror, tiny_model, tmp_path):
        shutil.copytree(tiny_model, tmp_path / "coco-r50")
        assert load_model("coco-r50").categories.names == ("square", "sky", "ground")
        assert mirror.requests == []
        shutil.rmtree(tmp_path / "coco-r50")
        (tmp_path / "coco-r50").mkdir()  # no model folder
        assert load_model("coco-r50").categories == SMALL.categories

    def test_fetching_loads_nothing_heavy(self):
        script = (
            "import sys, yoso.weights.published; print(sorted({'torch', 'rich', 'yaml', 'http'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == "['http']"


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """A function that makes an official file of full size with the golden weights, once per benchmark."""
    folder, made = tmp_path_factory.mktemp("release"), {}

    def make(benchmark):
        if benchmark not in made:
            made[benchmark] = write_official(folder / f"yoso_res50_{benchmark}.pth", official_tensors(benchmark))
        return made[benchmark]

    return make


@pytest.mark.parametrize("forward", FORWARDS)
def test_a_published_name_ends_in_the_official_segments(forward, release, model_cache, monkeypatch):
    """An official file of full size on a mirror, interrupted once; then the ids and pixels of the official code."""
    benchmark = forward.split("_")[0]
    file = release(benchmark)
    with FileServer({file.name: file}) as server:
        server.faults = ["truncate"]
        monkeypatch.setenv("YOSO_MIRROR", server.address)
        predictor = yoso.load(f"{benchmark}-r50", "cpu")
        assert [asked is None for _, asked in server.requests] == [True, False]
    figures = Figures.read(GOLDEN / f"forward_{forward}.npz")
    meta = json.loads((GOLDEN / "forward_meta.json").read_text())[f"forward_{forward}"]
    for number, (image, about) in enumerate(zip(figures.images, meta, strict=True)):
        size = (about["height"] or about["h"], about["width"] or about["w"])
        for index, official in enumerate(about["results"]):
            thresholds = official["object_mask_threshold"], official["overlap_threshold"]
            result = predictor(image.permute(1, 2, 0).numpy(), "native", size, *thresholds)
            found = [(info["id"], info["label_id"]) for info in result["segments_info"]]
            assert found == [(segment["id"], segment["category_id"]) for segment in official["segments_info"]]
            # Two pixels of Cityscapes' second image are ties, which rounding decides.
            differing = np.count_nonzero(result["segmentation"] != figures.entries[f"panoptic_{number}_t{index}"])
            assert differing <= (2 if forward == "cityscapes_c" else 0)


def test_mapillary_is_fetched_too(release, model_cache, monkeypatch):
    file = release("mapillary")
    with FileServer({file.name: file}) as server:
        monkeypatch.setenv("YOSO_MIRROR", server.address)
        model = load_model("mapillary-r50")
    assert len(model.categories) == 65
    assert model.network.config.num_queries == 150


def fetch_small():
    """Fetch as a user's process does, but for the small checkpoint, and patience when the machine is busy."""
    patience = download.Patience(300.0, 1, 0.0)
    conversion.read_recipe, download.Patience = lambda _: SMALL, lambda: patience
    print(published_folder("coco-r50"))


@pytest.fixture
def fetching(tmp_path):
    """Return a function that begins to fetch in a process of its own, with its output; none outlives the test."""
    begun = []

    def start():
        output = tmp_path / f"output{len(begun)}"
        begun.append(begin(output, fetch_small))
        return begun[-1], output

    yield start
    for process in begun:
        process.kill()
        process.join()


def test_two_processes_at_the_same_time(mirror, model_cache, fetching):
    mirror.faults = ["held"]
    first, first_output = fetching()
    wait_for(lambda: first_output.is_file() and "fetching coco-r50" in first_output.read_text(), first)
    second, second_output = fetching()
    waits = "another process fetches coco-r50; waiting for it"
    wait_for(lambda: second_output.is_file() and waits in second_output.read_text(), second)
    mirror.released.set()
    assert [ended(process) for process in (first, second)] == [0, 0]
    for output in (first_output, second_output):
        assert output.read_text().splitlines()[-1] == str(model_cache / "coco-r50")
    assert len(mirror.requests) == 1


def test_a_process_that_is_killed_leaves_nothing_that_disturbs(mirror, model_cache, small_checkpoint, fetching):
    mirror.faults = ["held"]
    process, _ = fetching()
    part, half = model_cache / f"{FILE}.part", (small_checkpoint.stat().st_size + 1) // 2
    wait_for(lambda: part.exists() and part.stat().st_size >= half, process)
    process.kill()
    assert ended(process) == -signal.SIGKILL
    mirror.released.set()
    assert not is_cached("coco-r50")
    assert load_model("coco-r50").categories == SMALL.categories
    assert [asked for _, asked in mirror.requests] == [None, f"bytes={half}-"]


def test_the_rest_of_a_release_is_not_touched(mirror, model_cache, small_checkpoint):
    """A cache may be shared by all names; each has its own files."""
    find_model("coco-r50")
    mirror.files["yoso_res50_ade20k.pth"] = small_checkpoint.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in model_cache.rglob("*")}
    find_model("ade20k-r50")
    assert before.items() <= {path: path.stat().st_mtime_ns for path in model_cache.rglob("*")}.items()


def test_a_model_that_was_fetched_can_be_saved_elsewhere(mirror, tmp_path):
    folder = save_model(tmp_path / "copy", load_model("coco-r50"))
    assert load_model(folder).about["license"] == published.LICENSE
