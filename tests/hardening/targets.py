"""What is fuzzed: every reader and command, each with the hostile inputs that it may get."""

import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hardening import sound
from hardening.guard import Fault, fault_of, run_command
from hardening.mutations import NAMES, YAML_TEXTS, as_json, as_yaml, damaged, deep, hostile_value, mutated
from yoso.files import read_id_map, read_image, read_labels, read_yaml

Attempt = Callable[[Random, Path], Fault | None]
"""Makes one hostile input in a folder and feeds it to the package; returns the fault it finds, if any."""


@dataclass(frozen=True)
class Target:
    """A reader or command.

    Attributes:
        name: for people.
        prepare: makes sound files in a folder, once; returns the attempt.
        share: of all inputs, relative to the other targets; cheap targets get more.
    """

    name: str
    prepare: Callable[[Path], Attempt]
    share: int = 1


def _images(home: Path) -> Attempt:
    files = sound.image_files()
    readers = (read_image, read_id_map, read_labels)

    def attempt(random: Random, folder: Path) -> Fault | None:
        suffix, content = random.choice(files)
        path = folder / f"a.{suffix if random.random() < 0.8 else random.choice(files)[0]}"
        path.write_bytes(damaged(content, random) if random.random() < 0.95 else random.randbytes(60))
        from yoso.files import probe_image

        reader = random.choice([*readers, probe_image])
        return fault_of(
            lambda: reader(path) and None if reader is probe_image else _nothing(reader(path)), folder / "out"
        )

    return attempt


def _nothing(_: Any) -> None:
    """Take any result."""


def _config(home: Path) -> Attempt:
    from safetensors.torch import save_file

    from small_networks import small_network
    from yoso.settings import InferenceConfig
    from yoso.weights.config_file import read_config
    from yoso.weights.model_folder import Model, read_model, save_model

    model = Model(small_network(num_classes=2).eval(), sound.CATEGORIES, InferenceConfig(0.3, 0.1, (64, 64)))
    save_model(home / "model", model)
    content = json.loads((home / "model" / "config.json").read_text())
    assert save_file

    def attempt(random: Random, folder: Path) -> Fault | None:
        (folder / "config.json").write_bytes(as_json(mutated(content, random), random))
        if random.random() < 0.9:
            return fault_of(lambda: _nothing(read_config(folder)), folder / "out")
        os.link(home / "model" / "model.safetensors", folder / "model.safetensors")
        return fault_of(lambda: _nothing(read_model(folder)), folder / "out")

    return attempt


def _metadata(home: Path) -> Attempt:
    from yoso.inference.exported import Description

    image = home / "image.png"
    image.write_bytes(dict(sound.image_files())["png"])

    def attempt(random: Random, folder: Path) -> Fault | None:
        text = as_json(mutated(sound.METADATA, random), random).decode("utf-8", "replace")
        if random.random() < 0.9:
            return fault_of(lambda: _nothing(Description.from_json(text, "a.onnx")), folder / "out")
        sound.write_onnx(folder / "a.onnx", text.replace("\0", ""))
        words = ("predict", image, "--model", folder / "a.onnx", "--output", folder / "out", "--device", "cpu")
        return fault_of(lambda: run_command(*words), folder / "out")

    return attempt


def _safetensors(home: Path) -> Attempt:
    from safetensors.torch import save

    from small_networks import small_network
    from yoso.weights.tensors import load_exactly, read_safetensors

    network = small_network(num_classes=2).eval()
    tensors = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
    content = save(tensors)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])

    def attempt(random: Random, folder: Path) -> Fault | None:
        if random.random() < 0.5:
            changed = as_json(mutated(header, random), random)
            data = len(changed).to_bytes(8, "little") + changed + content[8 + length :]
        else:
            data = damaged(content[: random.choice([100, 5000, len(content)])], random)
        path = folder / "model.safetensors"
        path.write_bytes(data)
        return fault_of(lambda: load_exactly(network, read_safetensors(path), path), folder / "out")

    return attempt


def _checkpoints(home: Path) -> Attempt:
    import torch

    from official_file import SMALL, small_tensors
    from yoso.model.yoso import YOSO
    from yoso.weights.official import load_official, read_official

    tensors = small_tensors()
    network = YOSO(SMALL.model, len(SMALL.categories)).eval()
    torch.save({"model": tensors}, home / "a.pth")
    content = (home / "a.pth").read_bytes()
    some = torch.ones(3)
    odd: list[Any] = [
        *(
            torch.ones(2, 2).to_sparse(),
            torch.ones(3, device="meta"),
            torch.quantize_per_tensor(some, 1.0, 0, torch.qint8),
        ),
        *(
            some.to(torch.complex64),
            some.bool(),
            some.long(),
            some.half() * 1e5,
            some.double() * 1e300,
            some * float("nan"),
        ),
        *(
            torch.zeros(()),
            torch.zeros(0),
            torch.ones(1).expand(10**9),
            torch.nn.Parameter(some),
            "text",
            None,
            3,
            {},
            [some],
        ),
    ]

    def attempt(random: Random, folder: Path) -> Fault | None:
        path = folder / "a.pth"
        if random.random() < 0.5:
            path.write_bytes(damaged(content, random))
        else:
            changed: dict[Any, Any] = dict(tensors)
            for _ in range(random.randint(1, 3)):
                key = random.choice([*changed, *NAMES, 3, None, (1, 2), b"x"])
                shape = tensors[key].shape if key in tensors else (2,)
                changed[key] = random.choice(
                    [*odd, torch.ones(shape).to(random.choice([torch.int32, torch.complex64]))]
                )
            torch.save(random.choice([{"model": changed}, changed, list(changed.values()), changed.get("a")]), path)
        return fault_of(lambda: load_official(network, read_official(path), path), folder / "out")

    return attempt


def _panoptic(home: Path) -> Attempt:
    sound.write_dataset(home / "set")
    path = home / "set" / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())

    def attempt(random: Random, folder: Path) -> Fault | None:
        root = shutil.copytree(home / "set", folder / "set")
        changed = root / "annotations" / "panoptic_val.json"
        changed.write_bytes(as_json(mutated(content, random), random))
        out, masks = folder / "out", root / "annotations" / "panoptic_val"
        command = random.choice(
            [
                ("data", "stats", root, "--split", "val", "--json"),
                ("data", "check", root, "--split", "val", "--fix", out),
                ("data", "show", root, "--output", out / "a.png"),
                ("pq", path, masks, changed, masks),
                ("pq", changed, masks, path, masks, "--json"),
            ]
        )
        return fault_of(lambda: run_command(*command), out)

    return attempt


def _descriptions(home: Path) -> Attempt:
    content = json.loads(sound.write_dataset(home / "set").read_text())

    def attempt(random: Random, folder: Path) -> Fault | None:
        path = home / "set" / f"{random.getrandbits(60)}.yaml"
        path.write_bytes(as_yaml(mutated(content, random), random))
        try:
            if random.random() < 0.3:
                return fault_of(lambda: _nothing(read_yaml(path)), folder / "out")
            command = random.choice([("data", "stats", path), ("data", "check", path, "--json")])
            return fault_of(lambda: run_command(*command), folder / "out")
        finally:
            path.unlink()

    return attempt


def _recipes(home: Path) -> Attempt:
    content = {
        "data": "x",
        "output": "runs/a",
        "model": {"backbone": "test_resnet", "num_queries": 5},
        "run": {"seed": 1},
    }
    content |= {"inference": sound.INFERENCE, "loss": {"points": 12}, "optimizer": {"lr": 1e-4}, "about": {"a": "b"}}

    def attempt(random: Random, folder: Path) -> Fault | None:
        from yoso.training.cli import parse

        path = folder / "recipe.yaml"
        path.write_bytes(as_yaml(mutated(content, random), random))
        return fault_of(lambda: _nothing(parse([str(path), "--data", "x"])), folder / "out")

    return attempt


def _conversions(home: Path) -> Attempt:
    from small_exports import BUILDERS

    files = {
        "coco": ["annotations/instances_train2020.json", "annotations/stuff_val2020.json"],
        "labelme": ["train/0.json", "val/1.json"],
        "cityscapes": ["classes.json"],
        "yolo": ["data.yaml", "labels/train/0.txt"],
    }
    options = {kind: build(home / kind) for kind, build in BUILDERS.items()}

    def attempt(random: Random, folder: Path) -> Fault | None:
        kind = random.choice(list(files))
        root = shutil.copytree(home / kind, folder / kind)
        path = root / random.choice(files[kind])
        if path.suffix == ".json":
            path.write_bytes(as_json(mutated(json.loads(path.read_text()), random), random))
        elif path.suffix == ".yaml":
            path.write_bytes(as_yaml(mutated({"path": ".", "train": "images/train", "names": ["cow"]}, random), random))
        else:
            lines = path.read_text().replace(" ", random.choice([" ", "  ", " 1e400 ", " nan ", " -inf "]), 3)
            path.write_bytes(damaged(lines.encode(), random))
        words = ["--categories", root / "classes.json"] if options[kind][:1] == ["--categories"] else []
        command = ("data", "convert", kind, root, folder / "out", "--threads", 1, *words)
        return fault_of(lambda: run_command(*command), folder / "out")

    return attempt


def _archives(home: Path) -> Attempt:
    from data.miniature_trees import plant

    plant("coco", home / "root")
    (home / "root" / "train2017").exists()

    def attempt(random: Random, folder: Path) -> Fault | None:
        root = shutil.copytree(home / "root", folder / "root")
        annotations = root / "annotations" / "panoptic_val2017.json"
        content = json.loads(annotations.read_text())
        name = random.choice(NAMES) if random.random() < 0.5 else content["images"][0]["file_name"]
        files = sorted((root / "val2017").iterdir())
        with zipfile.ZipFile(root / "val2017.zip", "w", random.choice([0, 8, 8, 12, 14])) as archive:
            for number, file in enumerate(files):
                info = zipfile.ZipInfo(
                    f"val2017/{name if number == 0 else file.name}".encode("utf-8", "replace").decode()
                )
                if random.random() < 0.1:
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, bytes(2**22) if random.random() < 0.05 else file.read_bytes())
        shutil.rmtree(root / "val2017")
        if random.random() < 0.5:
            content["images"][0]["file_name"] = name
            annotations.write_text(json.dumps(content))
        if random.random() < 0.4:
            (root / "val2017.zip").write_bytes(damaged((root / "val2017.zip").read_bytes(), random))
        if random.random() < 0.3:
            annotations.write_bytes(as_json(mutated(content, random), random))
        command = (
            "data",
            "prepare",
            "coco",
            "--root",
            root,
            "--output",
            folder / "out",
            "--split",
            "val",
            "--threads",
            1,
        )
        return fault_of(lambda: run_command(*command), folder / "out")

    return attempt


def _earlier_output(home: Path) -> Attempt:
    """Files of an earlier run of ours, which a later run reads: journals, stamps, predictions."""
    from small_exports import yolo

    yolo(home / "yolo")
    assert run_command("data", "convert", "yolo", home / "yolo", home / "out", "--threads", 1) is None
    sound.write_onnx(home / "a.onnx", json.dumps(sound.METADATA))
    photos = home / "yolo" / "images" / "val"
    predict = ("predict", photos, "--model", home / "a.onnx", "--device", "cpu", "--no-overlay", "--output")
    assert run_command(*predict, home / "predictions") is None

    def attempt(random: Random, folder: Path) -> Fault | None:
        out = folder / "out"
        if random.random() < 0.5:
            shutil.copytree(home / "out", out)
            path = out / random.choice(["prepared.json", ".train.journal", ".val.journal", "dataset.yaml"])
            command: tuple[Any, ...] = ("data", "convert", "yolo", home / "yolo", out, "--threads", 1)
        else:
            shutil.copytree(home / "predictions", out)
            path = out / "panoptic.json"
            command = (*predict, out, *random.choice([[], ["--resume"]]))
        old = path.read_bytes()
        if path.suffix == ".json" and random.random() < 0.7:
            path.write_bytes(as_json(mutated(json.loads(old), random), random))
        elif path.suffix == ".journal" and random.random() < 0.7:
            first, *lines = old.decode().splitlines()
            lines = [json.dumps(mutated(json.loads(line), random)) for line in lines]
            path.write_text("\n".join([first, *lines, ""]))
        else:
            path.write_bytes(damaged(old, random))
        return fault_of(lambda: run_command(*command), out)

    return attempt


def _results(home: Path) -> Attempt:
    from yoso.speed.results import read_result

    files = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
    documents = [content for content in map(json.loads, (file.read_text() for file in files)) if "entries" in content]

    def attempt(random: Random, folder: Path) -> Fault | None:
        path = folder / "a.json"
        path.write_bytes(as_json(mutated(random.choice(documents), random), random))
        return fault_of(lambda: _nothing(read_result(path)), folder / "out")

    return attempt


def _arguments(home: Path) -> Attempt:
    """Command lines: unknown options, wrong values, and paths that are pipes, folders or not there."""
    data = sound.write_dataset(home / "set").parent
    os.mkfifo(home / "pipe.json")
    os.mkfifo(home / "pipe.png")
    files = [home / "pipe.json", home / "pipe.png", data, data / "set.yaml", "/dev/zero", "/dev/null", "/proc/self/mem"]
    words = [
        *NAMES,
        "--json",
        "--output",
        "--split",
        "--data",
        "--model",
        "--max-pixels",
        "--input-size",
        "--resume",
        "-",
        "--",
    ]
    words += [
        "0",
        "-1",
        "1e9",
        "nan",
        "512x800",
        "native",
        "9" * 400,
        "train",
        "val",
        "--threads",
        "--limit",
        "--n",
        "--seed",
    ]
    heads = [("predict",), ("pq",), ("eval",), ("models",), ("data", "check"), ("data", "stats"), ("data", "show")]
    heads += [("data", "convert"), ("data", "prepare"), ("convert",), ("export",), ("nothing",)]

    def attempt(random: Random, folder: Path) -> Fault | None:
        head = random.choice(heads)
        rest = random.choices([*words, *files, *files], k=random.randrange(1, 7))
        rest = [word for word in rest if "\0" not in str(word)]
        before = Path.cwd()
        (folder / "out").mkdir()
        os.chdir(folder / "out")
        try:
            return fault_of(lambda: run_command(*head, *rest), folder / "out")
        finally:
            os.chdir(before)

    return attempt


def _downloads(home: Path) -> Attempt:
    from file_server import FileServer
    from yoso.weights.download import Patience, download

    server = FileServer({"a": bytes(5000)})
    server.__enter__()

    def attempt(random: Random, folder: Path) -> Fault | None:
        server.faults = random.choices([200, 404, 500, 416, 301, "truncate", "reset", "no length", "other range"], k=2)
        server.faults = server.faults if random.random() < 0.5 else []
        server.length = random.choice([None, "-1", "many", "\xb2", "1e3", "9" * 50, "0", "10"])
        server.validator = random.choice(['"1"', None, "W/x", "\x1b[2J"])
        place = (
            str(hostile_value(random))[:200]
            .encode("latin-1", "replace")
            .decode("latin-1")
            .replace("\n", "")
            .replace("\r", "")
        )
        server.redirects = (
            {"a": random.choice([place, "http://[", "//", "ftp://h/x", "/a"])} if random.random() < 0.3 else {}
        )
        url = f"{server.address}/a" if random.random() < 0.8 else random.choice(NAMES)
        if random.random() < 0.3:
            (folder / "out").mkdir()
            (folder / "out" / "a.part").write_bytes(bytes(random.randrange(6000)))
            note = {"url": url, "validator": '"1"', "total": 5000}
            (folder / "out" / "a.part.json").write_bytes(as_json(mutated(note, random), random))
        patience = Patience(0.3, 2, 0.0)
        return fault_of(lambda: download(url, folder / "out" / "a", None, patience, 10_000), folder / "out")

    return attempt


def _yaml_texts(home: Path) -> Attempt:
    def attempt(random: Random, folder: Path) -> Fault | None:
        path = folder / "a.yaml"
        text = random.choice(YAML_TEXTS)
        path.write_bytes(damaged(text.encode(), random) if random.random() < 0.7 else json.dumps(deep(50)).encode())
        return fault_of(lambda: _nothing(read_yaml(path)), folder / "out")

    return attempt


def _merges(home: Path) -> Attempt:
    from hardening.merges import compare_merges

    return lambda random, folder: compare_merges(random)


def _quality(home: Path) -> Attempt:
    from hardening.merges import compare_quality

    return lambda random, folder: compare_quality(random)


TARGETS = (
    Target("images", _images, 20),
    Target("config.json and model folders", _config, 12),
    Target("metadata of exported files, and prediction with them", _metadata, 12),
    Target("safetensors", _safetensors, 8),
    Target("checkpoints (.pth)", _checkpoints, 6),
    Target("COCO panoptic JSON: stats, check, show, pq", _panoptic, 10),
    Target("data sets' YAML", _descriptions, 8),
    Target("YAML", _yaml_texts, 8),
    Target("recipes", _recipes, 1),
    Target("data convert: COCO, labelme, Cityscapes, YOLO", _conversions, 5),
    Target("data prepare: zips and their JSON", _archives, 4),
    Target("output of earlier runs", _earlier_output, 4),
    Target("results of benchmarks", _results, 3),
    Target("command lines", _arguments, 5),
    Target("downloads", _downloads, 3),
    Target("merges against each other", _merges, 8),
    Target("panoptic quality against a plain transcription", _quality, 8),
)
