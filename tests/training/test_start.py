"""Fine-tuning: what is taken over, what is new, and how it is reported."""

from dataclasses import replace

import pytest
import torch

from official_file import SMALL
from yoso.categories import Categories, Category
from yoso.errors import CheckpointError, ConfigError
from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.settings import InferenceConfig
from yoso.training.defaults import StoredConfig, defaults_of
from yoso.training.start import class_head, start_from
from yoso.weights.load import load_model


def categories(*names, things=1):
    return Categories([Category(10 + index, name, index < things, (index, 0, 0)) for index, name in enumerate(names)])


@pytest.fixture
def source(tiny_model):
    return load_model(tiny_model)


def fresh(source, num_classes, **changes):
    torch.manual_seed(5)
    return YOSO(replace(source.network.config, **changes), num_classes)


def compare(network, source):
    """Return the names of the tensors that are not the source's."""
    state = source.network.state_dict()
    return {
        key
        for key, value in network.state_dict().items()
        if value.shape != state[key].shape or not torch.equal(value, state[key])
    }


@pytest.mark.parametrize("names", [("dog", "grass"), ("dog", "cat", "grass"), ("square", "ground", "sky")])
def test_other_classes_make_a_new_class_head_and_keep_the_rest(names, source, tiny_model):
    network = fresh(source, len(names))
    before = {key: network.state_dict()[key].clone() for key in class_head(network)}
    line = start_from(network, str(tiny_model), categories(*names))
    assert class_head(network) == {f"decoder.stages.0.class_branch.3.{kind}" for kind in ("weight", "bias")}
    assert compare(network, source) <= class_head(network)
    for key, value in before.items():
        assert torch.equal(network.state_dict()[key], value)
    assert "\n" not in line
    total = len(network.state_dict())
    assert line == (
        f"start: {total - 2} of {total} tensors are those of {tiny_model}; its 3 classes (square, sky, ground) are not "
        f"the {len(names)} of the data set ({', '.join(names)}), so the class head is new"
    )


def test_the_same_classes_keep_everything(source, tiny_model):
    network = fresh(source, 3)
    line = start_from(network, str(tiny_model), categories("square", "sky", "ground"))  # ids and colours differ
    assert compare(network, source) == set()
    total = len(network.state_dict())
    assert line == f"start: {total} of {total} tensors are those of {tiny_model}"


def test_a_thing_that_became_stuff_is_another_class(source, tiny_model):
    assert "the class head is new" in start_from(
        fresh(source, 3), str(tiny_model), categories("square", "sky", "ground", things=2)
    )


def test_every_stage_has_a_class_head(source):
    assert len(class_head(fresh(source, 3, num_stages=2))) == 4


def test_many_classes_are_not_all_named(source, tiny_model):
    names = [f"class{number}" for number in range(20)]
    line = start_from(fresh(source, 20), str(tiny_model), categories(*names))
    assert "the 20 of the data set (class0, class1, " in line
    assert "class7, ...)" in line
    assert "class8" not in line


def test_tensors_that_do_not_fit_are_reported(source, tiny_model):
    network = fresh(source, 2, feedforward_channels=8)
    line = start_from(network, str(tiny_model), categories("dog", "grass"))
    names = [f"decoder.stages.0.post.feedforward.{name}" for name in ("0.bias", "0.weight", "2.weight")]
    assert line.endswith(
        f", so the class head is new; model.feedforward_channels is 8 instead of 16; new because they do not fit: "
        f"{', '.join(names)}"
    )
    line = start_from(fresh(source, 2, num_stages=2), str(tiny_model), categories("dog", "grass"))
    assert line.endswith(" more")


def test_a_setting_that_no_tensor_shows_is_reported(source, tiny_model):
    network = fresh(source, 3, temperature=0.1)
    line = start_from(network, str(tiny_model), categories("square", "sky", "ground"))
    assert line.endswith(f"tensors are those of {tiny_model}; model.temperature is 0.1 instead of 0.5")


def test_another_network_is_an_error_that_names_what_differs(source, tiny_model):
    network = fresh(source, 3, hidden_channels=32, backbone="mobilenetv2_050")
    with pytest.raises(ConfigError, match=r"only \d+ of \d+ tensors fit: .*leave `model` out") as error:
        start_from(network, str(tiny_model), categories("square", "sky", "ground"))
    assert 'model.backbone is "mobilenetv2_050" instead of "mobilenetv2_100", ' in str(error.value)
    assert "model.hidden_channels is 32 instead of 16; " in str(error.value)
    assert "num_queries" not in str(error.value)


START = StoredConfig(ModelConfig(num_queries=7, num_heads=4, temperature=0.3), InferenceConfig(0.1, 0.2, None))


def test_a_run_without_a_network_takes_all_settings_of_its_start():
    defaults = defaults_of(START, {})
    for group, settings in START._asdict().items():
        found = {key.partition(".")[2]: value for key, value in defaults.items() if key.startswith(f"{group}.")}
        assert found == vars(settings)


def test_a_run_with_a_network_takes_the_settings_that_no_tensor_shows():
    defaults = defaults_of(START, {"branch_depth": 3})
    assert (defaults["model.temperature"], defaults["model.num_heads"]) == (0.3, 4)
    assert "model.num_queries" not in defaults
    assert not [key for key in defaults if key.startswith("inference.")]
    assert defaults_of(START, {"backbone": "mobilenetv2_100"}) == {}


def test_an_unknown_start(source):
    with pytest.raises(CheckpointError, match="Did you mean 'coco-r50'"):
        start_from(fresh(source, 2), "coco-r5", categories("dog", "grass"))


def test_a_published_name_is_a_start(mirror):
    network = YOSO(SMALL.model, 3)
    line = start_from(network, "coco-r50", categories("dog", "cat", "grass"))
    assert "are those of coco-r50; its 2 classes (car, sky) are not the 3 of the data set (dog, cat, grass)" in line
    assert [path for path, _ in mirror.requests] == ["/yoso_res50_coco.pth"]
    bias = load_model("coco-r50").network.decoder.proposals.bias
    assert torch.equal(network.decoder.proposals.bias, bias)
