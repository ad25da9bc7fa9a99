"""The PQ of tables 5 to 10: one training per row, data set and seed, all with the same budget."""

import hashlib
import json
from pathlib import Path
from typing import Any

from yoso.data.spec import load_spec
from yoso.errors import ConfigError
from yoso.files import read_json
from yoso.reproduction.launchers import SweepTraining, run_trainings
from yoso.reproduction.plan import ReproductionPlan, Scale, public, public_setting
from yoso.reproduction.sweep_file import Budget, Variant, budget_of, table_variants

GROUPS = ("all", "things", "stuff")
SCORES = ("pq", "sq", "rq")


def sweep_scores(table: str, scale: Scale, data: str, plan: ReproductionPlan) -> dict[str, Any]:
    """Train every row of a table on a data set, or take over the trainings that are finished.

    Args:
        table: "table5" to "table10".
        scale: which budget.
        data: name of the data set in the budget; `plan.data` replaces it.
        plan: settings, launcher, jobs, and the folder of the runs.

    Returns:
        The budget, and per row its `runs`: seed and panoptic quality.

    Raises:
        YosoError: a training fails, or the sweep was stopped; the same command resumes it.
    """
    budget = budget_of(scale)
    rows = table_variants(table)
    source = plan.data or data
    trainings = {
        (variant.row, seed): sweep_training(budget, variant, source, seed, plan)
        for variant in rows
        for seed in budget.seeds
    }
    run_trainings(list(trainings.values()), plan.launcher, plan.jobs)
    return {
        "recipe": budget.recipe,
        "data": public(source),
        "iterations": iterations(budget, plan),
        "planned_iterations": budget.iterations,
        "settings": [public_setting(setting) for setting in plan.settings],
        "rows": [
            {
                "row": variant.row,
                "runs": [{"seed": seed, **run_scores(trainings[variant.row, seed].metrics)} for seed in budget.seeds],
            }
            for variant in rows
        ],
    }


def sweep_training(budget: Budget, variant: Variant, data: str, seed: int, plan: ReproductionPlan) -> SweepTraining:
    """Return the training of a row; equal networks of different tables share it.

    Its folder is named after a hash of everything that its result depends on.
    """
    steps = iterations(budget, plan)
    settings = {
        **budget.settings,
        **{f"model.{name}": value for name, value in variant.network.items()},
        **_own_settings(plan),
        "run.iterations": steps,
        "run.validate_every": 2 * steps,  # once, at the end
        "run.seed": seed,
    }
    named = {key: public(value) for key, value in settings.items()}
    text = json.dumps([budget.recipe, public(data), named], sort_keys=True)
    name = f"{public(data)}-seed{seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    words = (budget.recipe, f"--data={data}", *(f"--{key}={_word(value)}" for key, value in settings.items()))
    return SweepTraining(plan.runs / name, words)


def iterations(budget: Budget, plan: ReproductionPlan) -> int:
    """Return the optimizer steps of each training: the budget's, or those of `--set run.iterations=N`.

    Raises:
        ConfigError: the setting is no number.
    """
    value = _own_settings(plan).get("run.iterations", budget.iterations)
    if not str(value).isdigit():
        raise ConfigError(f"--set run.iterations={value}: give a whole number, at least 1")
    return int(value)


def _own_settings(plan: ReproductionPlan) -> dict[str, str]:
    return dict(setting.split("=", 1) for setting in plan.settings)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def run_scores(metrics: Path) -> dict[str, dict[str, float | None]]:
    """Return PQ, SQ and RQ of all classes, things and stuff of a finished training, each from 0 to 1."""
    scores = read_json(metrics)["val"]
    return {group: {score: scores[group][score] for score in SCORES} for group in GROUPS}


def missing_data(name: str) -> list[str]:
    """Return what is missing of a data set with training and validation images: nothing, or the data set."""
    try:
        return [] if "train" in load_spec(name).splits else [f"training images of {name}"]
    except ConfigError:
        return [f"the data set {name}"]
