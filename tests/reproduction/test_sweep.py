"""A sweep trains each network once, resumes wherever it was stopped, and reports its order honestly."""

import json
import sys
from types import SimpleNamespace

import pytest

from yoso.errors import ConfigError, YosoError
from yoso.reproduction import launchers, sweep
from yoso.reproduction.ablation_report import order_sentence, pq_notes, pq_table
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.sweep import GROUPS
from yoso.reproduction.sweep_file import Budget, Variant, budget_of, table_variants

TINY = {
    "model.backbone": "mobilenetv2_050",
    "model.pyramid_channels": "null",
    "model.hidden_channels": 32,
    "model.num_heads": 4,
    "model.num_queries": 8,
    "model.feedforward_channels": 64,
    "augmentation.size": "[64,96]",
    "run.batch_size": 2,
    "run.workers": 0,
    "backbone_weights": "none",
    "run.iterations": 1,
}


@pytest.fixture
def plan(tmp_path):
    settings = tuple(f"{key}={value}" for key, value in TINY.items())
    return ReproductionPlan(device="cpu", settings=settings, runs=tmp_path / "runs")


class Trainer:
    """Stands for `yoso train`: writes the scores of a finished training, or stops before."""

    def __init__(self):
        self.calls, self.stops_at = [], None

    def __call__(self, arguments):
        self.calls.append(arguments)
        if len(self.calls) == self.stops_at:
            return 0
        folder = launchers.Path(next(word for word in arguments if word.startswith("--output=")).split("=")[1])
        seed = int(next(word for word in arguments if word.startswith("--run.seed=")).split("=")[1])
        (folder / "model").mkdir(parents=True, exist_ok=True)
        scores = {group: {"pq": 0.1 * (seed + 1), "sq": 0.5, "rq": 0.2, "n": 1} for group in GROUPS}
        (folder / "model" / "metrics.json").write_text(json.dumps({"val": scores}))
        return 0


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(launchers, "run_training", trainer)
    return trainer


def test_every_row_and_seed_is_trained_with_one_budget(trainer, plan):
    content = sweep.sweep_scores("table9", "small", "nuclei", plan)
    assert len(trainer.calls) == 9
    assert [row["row"] for row in content["rows"]] == ["T=1", "T=2", "T=3"]
    assert [run["all"]["pq"] for run in content["rows"][0]["runs"]] == pytest.approx([0.1, 0.2, 0.3])
    assert (content["iterations"], content["planned_iterations"]) == (1, 500)
    assert all("--run.iterations=1" in call and "--run.validate_every=2" in call for call in trainer.calls)
    assert [call for call in trainer.calls if "--model.num_stages=3" in call] == trainer.calls[6:]


def test_networks_that_tables_share_are_trained_once(trainer, plan):
    sweep.sweep_scores("table9", "small", "nuclei", plan)
    sweep.sweep_scores("table7", "small", "nuclei", plan)
    assert len(trainer.calls) == 9 + 9


def test_a_stopped_sweep_resumes(trainer, plan):
    trainer.stops_at = 4
    with pytest.raises(YosoError, match="stopped after 3 of 9 trainings; run the same command to resume"):
        sweep.sweep_scores("table9", "small", "nuclei", plan)
    trainer.stops_at = None
    assert len(sweep.sweep_scores("table9", "small", "nuclei", plan)["rows"]) == 3
    assert len(trainer.calls) == 4 + 6


def test_a_killed_training_continues_from_its_checkpoint(trainer, plan):
    variant = table_variants("table9")[0]
    training = sweep.sweep_training(budget_of("small"), variant, "nuclei", 0, plan)
    assert "--resume" not in training.arguments
    (training.folder / "checkpoints").mkdir(parents=True)
    (training.folder / "checkpoints" / "1.ckpt").touch()
    launchers.train_one(training)
    assert trainer.calls[0][-1] == "--resume"


def test_what_changes_a_training_changes_its_folder(plan):
    budget, (first, second, _) = budget_of("small"), table_variants("table9")
    base = sweep.sweep_training(budget, first, "nuclei", 0, plan).folder
    others = [
        sweep.sweep_training(budget, second, "nuclei", 0, plan),
        sweep.sweep_training(budget, first, "facades", 0, plan),
        sweep.sweep_training(budget, first, "nuclei", 1, plan),
        sweep.sweep_training(budget, first, "nuclei", 0, ReproductionPlan(runs=plan.runs)),
    ]
    assert len({base, *(other.folder for other in others)}) == 5
    assert sweep.sweep_training(budget, Variant("another name", first.network), "nuclei", 0, plan).folder == base


def test_a_setting_that_is_no_number(plan):
    budget = Budget("small", ("nuclei",), (0,), {"run.iterations": 5})
    with pytest.raises(ConfigError, match=r"--set run\.iterations=many: give a whole number, at least 1"):
        sweep.iterations(budget, ReproductionPlan(settings=("run.iterations=many",)))


def test_torchrun_starts_one_training_after_the_other(trainer, plan, monkeypatch):
    commands = []

    def start(command, **_):
        commands.append(command)
        trainer(command[command.index("train") + 1 :])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(launchers.subprocess, "run", start)
    trainings = trainings_of(plan)
    launchers.run_trainings(trainings, "torchrun", 2)
    assert len(commands) == 3
    assert commands[0][:5] == [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert commands[0][-1] == "--run.devices=2"


def test_a_torchrun_that_fails(plan, monkeypatch):
    monkeypatch.setattr(launchers.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=3))
    with pytest.raises(YosoError, match=r"torchrun ended with exit status 3; its output says why"):
        launchers.run_trainings(trainings_of(plan), "torchrun", 2)


def test_ray_gets_one_task_per_training(trainer, plan, monkeypatch):
    seen = []
    fake = SimpleNamespace(
        init=lambda **options: seen.append(options),
        remote=lambda **options: lambda function: SimpleNamespace(remote=function),
        get=list,
        shutdown=lambda: seen.append("shutdown"),
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", fake)
    launchers.run_trainings(trainings_of(plan), "ray", 2)
    assert (len(trainer.calls), seen) == (3, [{"num_cpus": 2}, "shutdown"])


def trainings_of(plan):
    budget, variant = budget_of("small"), table_variants("table9")[0]
    return [sweep.sweep_training(budget, variant, "nuclei", seed, plan) for seed in budget.seeds]


@pytest.mark.slow
def test_a_sweep_trains_real_networks(plan, tiny_dataset, monkeypatch):
    """The short form above replaces only the training itself, which tests/training covers."""
    budget = Budget("small", ("tiny",), (0,), budget_of("small").settings)
    monkeypatch.setattr(sweep, "budget_of", lambda scale: budget)
    content = sweep.sweep_scores("table9", "small", str(tiny_dataset), plan)
    assert [len(row["runs"]) for row in content["rows"]] == [1, 1, 1]
    assert content["data"] == "tiny"


def scores(rows, **more):
    runs = {
        row: [{"seed": n, **{group: {"pq": pq} for group in GROUPS}} for n, pq in enumerate(values)]
        for row, values in rows.items()
    }
    content = {"data": "nuclei", "recipe": "small", "iterations": 500, "planned_iterations": 500, "settings": []}
    return content | more | {"rows": [{"row": row, "runs": values} for row, values in runs.items()]}


def test_the_sentence_about_the_order():
    same = scores({"T=1": [0.1, 0.11], "T=2": [0.2, 0.21], "T=3": [0.3, 0.31]})
    assert order_sentence("table9", same) == (
        "The order is the paper's: T=3 > T=2 > T=1; the largest difference is 20.0, the widest spread of seeds 1.0."
    )
    other = scores({"T=1": [0.3, 0.1], "T=2": [0.2, 0.1], "T=3": [0.1, 0.1]})
    assert order_sentence("table9", other) == (
        "The order is T=1 > T=2 > T=3, in the paper T=3 > T=2 > T=1; the largest difference (10.0) is not above the "
        "spread of the seeds (20.0), so it shows nothing."
    )


def test_the_page_says_how_much_was_trained():
    content = scores({"T=1": [0.1], "T=2": [0.2], "T=3": [0.3]}, iterations=100, settings=["run.batch_size=2"])
    assert pq_notes("table9", content)[0] == (
        "Trained: 3 rows x 1 seeds on nuclei, 100 iterations each, which is 20% of the planned 500. Changed settings: "
        "run.batch_size=2."
    )
    assert pq_table("table9", content).rows[0] == ["T=1", "45.7", "10.0", "10.0", "10.0", "10.0", "-"]
