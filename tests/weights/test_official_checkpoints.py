"""The importer of the official checkpoints: names, shapes, and files that are not what they should be."""

import json
import pickle
import re
import zipfile

import pytest
import torch

from golden_figures import CONFIGS, GOLDEN, official_tensors
from yoso.errors import CheckpointError
from yoso.model.yoso import YOSO
from yoso.weights.official import load_official, our_name, read_official
from yoso.weights.tensors import load_exactly

NOT_OURS = {"yoso_head.criterion.empty_weight"}


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_and_shapes_are_the_official_ones(name):
    config, num_classes = CONFIGS[name]
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in YOSO(config, num_classes).state_dict().items()}
    official = {key: shape for key, shape, _ in json.loads((GOLDEN / f"state_dict_{name}_r50.json").read_text())}
    renamed = {our_name(key, config.branch_depth): shape for key, shape in official.items() if key not in NOT_OURS}
    assert len(renamed) == len(official) - len(NOT_OURS)
    assert without_counters(renamed) == without_counters(ours)


def without_counters(shapes):
    return {key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}


@pytest.fixture
def tensors():
    return dict(official_tensors("coco"))


@pytest.fixture
def network(official_network):
    """A network that is left with the weights it has, whether or not a test's loading succeeds."""
    return official_network("coco")


def test_a_training_checkpoint_comes_back_from_a_file(tensors, network, tmp_path):
    content = {"model": tensors, "iteration": 368749, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}}
    torch.save(content, tmp_path / "model.pth")
    read = read_official(tmp_path / "model.pth")
    assert read.keys() == tensors.keys()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    load_official(network, read)
    state = without_counters(network.state_dict())
    names = {our_name(key, network.config.branch_depth): key for key in tensors.keys() - NOT_OURS}
    for key, value in state.items():
        assert torch.equal(value, tensors[names[key]])


def test_a_bare_state_dict_comes_back_from_a_file(tmp_path):
    torch.save({"weight": torch.arange(3.0)}, tmp_path / "model.pth")
    read = read_official(tmp_path / "model.pth")
    assert {key: value.tolist() for key, value in read.items()} == {"weight": [0.0, 1.0, 2.0]}


def test_missing_and_unexpected_keys_are_named(tensors, network):
    tensors["yoso_head.kernel.weight"] = tensors.pop("yoso_head.kernels.weight")
    tensors["yoso_neck.extra"] = torch.zeros(2)
    del tensors["backbone.res3.1.conv2.norm.running_var"]
    with pytest.raises(CheckpointError) as caught:
        load_official(network, tensors, "official.pth")
    message = str(caught.value)
    assert message.startswith("official.pth: ")
    assert "\n" not in message
    assert re.search(r"missing 2 keys \(([^)]*)\)", message)[1].split(", ") == [
        our_name("backbone.res3.1.conv2.norm.running_var", 1),
        our_name("yoso_head.kernels.weight", 1),
    ]
    assert re.search(r"unexpected 2 keys \(([^)]*)\)", message)[1].split(", ") == [
        "yoso_head.kernel.weight",
        "yoso_neck.extra",
    ]


def test_a_checkpoint_of_another_data_set_names_the_tensors_that_differ(tensors, network):
    for stage in (0, 1):
        for kind, shape in (("weight", (151, 256)), ("bias", (151,))):
            tensors[f"yoso_head.mask_heads.{stage}.fc_cls.{kind}"] = torch.zeros(shape)
    with pytest.raises(CheckpointError) as caught:
        load_official(network, tensors)
    assert "yoso_head.mask_heads.0.fc_cls.weight has shape (151, 256), the network needs (134, 256)" in str(
        caught.value
    )
    assert str(caught.value).count("has shape") == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_and_nothing_is_loaded(value, tensors, network):
    before = network.decoder.proposals.bias.detach().clone()
    tensors["yoso_head.kernels.bias"] = torch.full((100,), 3.0)
    tensors["backbone.res2.0.conv1.weight"] = torch.full((64, 64, 1, 1), value)
    with pytest.raises(CheckpointError, match=r"backbone\.res2\.0\.conv1\.weight holds values that are not finite"):
        load_official(network, tensors)
    torch.testing.assert_close(network.decoder.proposals.bias, before, rtol=0, atol=0, check_dtype=False)


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("write", ["torch.save", "pickle"])
def test_a_pickle_with_code_is_refused_and_does_not_run(write, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "trap.pth"
    content = {"model": {"weight": torch.zeros(1)}, "trap": Trap(marker)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(Trap(marker)))
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match="only files of plain tensors are accepted") as caught:
        read_official(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_the_trap_is_real(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()


def test_a_damaged_file(tmp_path):
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "whole.pth")
    path = tmp_path / "part.pth"
    for content in (b"", b"no weights", (tmp_path / "whole.pth").read_bytes()[:2000]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as weights") as caught:
            read_official(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"model": {"weight": 1.0}}, torch.zeros(3), {"iteration": 3}])
def test_a_file_of_something_else(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: is not a state dict"):
        read_official(tmp_path / "other.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"missing\.pth: no such file"):
        read_official(tmp_path / "missing.pth")


SOME = torch.ones(3)
ODD_TENSORS = {
    "int64": torch.ones(3, dtype=torch.int64),
    "bool": SOME.bool(),
    "complex64": SOME.to(torch.complex64),
    "sparse": SOME.to_sparse(),
    "no values": torch.ones(3, device="meta"),
    "not finite in torch.float32": SOME.double() * 1e300,
}


@pytest.mark.parametrize("words", ODD_TENSORS)
def test_tensors_that_are_no_plain_numbers_of_the_network_s_precision_are_refused(words):
    network = torch.nn.BatchNorm1d(3)
    good = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    load_exactly(network, good | {"weight": SOME.half()}, "a.pth")
    with pytest.raises(CheckpointError, match=rf"a\.pth: the weights do not fit the network: weight holds .*{words}"):
        load_exactly(network, good | {"weight": ODD_TENSORS[words]}, "a.pth")
    assert network.weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize("content", [{3: SOME}, {None: SOME}, {"model": {b"x": SOME}}, [SOME], SOME, 3])
def test_what_is_no_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: is not a state dict|only files of plain tensors"):
        read_official(tmp_path / "a.pth")


def test_a_checkpoint_of_compressed_parts_is_not_unpacked(tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive, zipfile.ZipFile(tmp_path / "b.pth", "w", 8) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert read_official(tmp_path / "a.pth")["a"].shape == (10**6,)
    with pytest.raises(CheckpointError, match=r"b\.pth: is not a checkpoint that PyTorch wrote, because its parts"):
        read_official(tmp_path / "b.pth")
