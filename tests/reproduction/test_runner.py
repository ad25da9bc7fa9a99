"""Parts are measured once, saved one by one, and never mixed with results of another version or other conditions."""

import pytest

from yoso.errors import ConfigError, YosoError
from yoso.installation import installed_version
from yoso.reproduction.plan import ItemPart, PaperItem, ReproductionPlan
from yoso.reproduction.registry import ITEMS, find_items
from yoso.reproduction.result_file import ItemResult, read_item_result, write_item_result
from yoso.reproduction.runner import check_parts, listing, run_item


class Parts:
    """Two parts that note how often they ran; the second can fail, a third lacks something."""

    def __init__(self):
        self.ran, self.fails = [], False
        self.item = PaperItem(
            "table5",
            "made up",
            (
                ItemPart("first", "a count", self.first, conditions=lambda plan: {"repeats": plan.repeats or 5}),
                ItemPart("second", "a time", self.second),
                ItemPart("third", "a score", self.first, "a moon", lambda plan: ["a moon", "a star"], "--data moon"),
                ItemPart("paper", "a large score", self.first, scale="paper"),
            ),
        )

    def first(self, plan):
        self.ran.append("first")
        return {"value": 1}

    def second(self, plan):
        if self.fails:
            raise YosoError("no luck")
        self.ran.append("second")
        return {"value": 2}


@pytest.fixture
def parts():
    return Parts()


def run(parts, tmp_path, again=False, only=(), **options):
    plan = ReproductionPlan(device="cpu", output=tmp_path, **options)
    return {outcome.part: outcome for outcome in run_item(parts.item, plan, again, only)}


def test_what_can_run_is_measured_and_the_rest_says_what_it_needs(parts, tmp_path):
    outcomes = run(parts, tmp_path)
    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "first": "measured",
        "second": "measured",
        "third": "not run",
    }
    assert outcomes["third"].words == (
        "a score: not run: needs a moon and a star; then: yoso reproduce table5 --data moon"
    )
    result = read_item_result(tmp_path / "table5.json")
    assert result.parts["first"].content == {"value": 1}
    assert result.parts["first"].command == "yoso reproduce table5 --device cpu"
    assert {"machine", "versions", "date", "threads", "conditions"} <= set(vars(result.parts["second"]))


def test_finished_parts_are_not_measured_again(parts, tmp_path):
    run(parts, tmp_path)
    assert run(parts, tmp_path)["first"].state == "finished"
    assert parts.ran == ["first", "second"]


def test_an_interrupted_item_resumes(parts, tmp_path):
    parts.fails = True
    with pytest.raises(YosoError, match="no luck"):
        run(parts, tmp_path)
    assert list(read_item_result(tmp_path / "table5.json").parts) == ["first"]
    parts.fails = False
    assert run(parts, tmp_path)["second"].state == "measured"
    assert parts.ran == ["first", "second"]


def test_again_measures_the_chosen_parts_again(parts, tmp_path):
    run(parts, tmp_path)
    run(parts, tmp_path, again=True, only=["second"])
    assert parts.ran == ["first", "second", "second"]
    assert list(read_item_result(tmp_path / "table5.json").parts) == ["first", "second"]


def test_other_conditions_are_reported_and_not_mixed(parts, tmp_path):
    run(parts, tmp_path)
    outcome = run(parts, tmp_path, repeats=9)["first"]
    assert outcome.state == "other"
    assert "the result file has repeats 5, not 9; results of different conditions are not mixed" in outcome.words
    assert parts.ran == ["first", "second"]
    assert run(parts, tmp_path, repeats=9, again=True)["first"].state == "measured"


def test_another_version_is_reported_and_not_mixed(parts, tmp_path):
    path = tmp_path / "table5.json"
    write_item_result(path, ItemResult("table5", "0.0.1"))
    before = path.read_bytes()
    outcomes = run(parts, tmp_path)
    assert {outcome.state for outcome in outcomes.values()} == {"other"}
    assert f"was measured with yoso 0.0.1, and this is {installed_version()}" in outcomes["first"].words
    assert (parts.ran, path.read_bytes()) == ([], before)
    run(parts, tmp_path, again=True)
    assert read_item_result(path).yoso == installed_version()


def test_a_damaged_file_stops_unless_it_is_measured_again(parts, tmp_path):
    run(parts, tmp_path)
    path = tmp_path / "table5.json"
    path.write_text(path.read_text().replace('"value": 1', '"value": 3'))
    with pytest.raises(ConfigError, match="edited by hand"):
        run(parts, tmp_path)
    run(parts, tmp_path, again=True)
    assert read_item_result(path).parts["first"].content == {"value": 1}


def test_the_file_of_another_table(parts, tmp_path):
    write_item_result(tmp_path / "table5.json", ItemResult("table6", installed_version()))
    with pytest.raises(ConfigError, match="is the result of table6, not of table5"):
        run(parts, tmp_path)


def test_a_device_that_is_not_there_comes_before_anything_else(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    plan = ReproductionPlan(device="cuda", output=tmp_path)
    with pytest.raises(ConfigError, match="device 'cuda': this machine has 0 CUDA devices; use cpu"):
        list(run_item(parts.item, plan))
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_what_was_run(parts, tmp_path):
    plan = ReproductionPlan(output=tmp_path)
    (row,) = listing([parts.item], plan)
    assert (row["result"], [part["run"] for part in row["parts"]]) == (None, [None] * 4)
    run(parts, tmp_path)
    (row,) = listing([parts.item], plan)
    assert row["result"] == str(tmp_path / "table5.json")
    assert [bool(part["run"]) for part in row["parts"]] == [True, True, False, False]
    (tmp_path / "table5.json").write_text("{}")
    (row,) = listing([parts.item], plan)
    assert "is not a result of `yoso reproduce`" in row["problem"]


def test_the_registry_has_all_of_the_paper():
    assert list(ITEMS) == [
        *("figure1", "figure2", "figure3", "table1", "table2", "table3", "table4", "figure4", "table5", "table6"),
        *("figure5", "table7", "table8", "table9", "table10", "supplement", "beyond"),
    ]
    assert all(item.drawing or item.parts for item in ITEMS.values())
    assert [item.id for item in find_items(["table6", "all"])] == list(ITEMS)
    assert [item.id for item in find_items(["table6", "table5", "table6"])] == ["table5", "table6"]


def test_unknown_names():
    with pytest.raises(ConfigError, match=r"no table or figure 'tabel5'. Did you mean 'table5'\?"):
        find_items(["tabel5"])
    with pytest.raises(
        ConfigError, match=r"--parts: no part 'flop' in these tables and figures. Did you mean 'flops'\?"
    ):
        check_parts(find_items(["table5"]), ["flop"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 0}, "--repeats 0: must be at least 1"),
        ({"jobs": 0}, "--jobs 0: must be at least 1"),
        ({"settings": ("run.iterations",)}, "--set run.iterations: give KEY=VALUE, such as run.iterations=100"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        ReproductionPlan(**options)


def test_a_command_names_files_without_their_folders(tmp_path):
    (tmp_path / "mine").mkdir()
    plan = ReproductionPlan(data=str(tmp_path / "mine"), settings=(f"backbone_weights={tmp_path / 'mine'}",))
    assert plan.command("table9") == "yoso reproduce table9 --data mine --set backbone_weights=mine"
