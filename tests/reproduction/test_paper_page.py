"""docs/paper.md is what the generator makes of the committed result files, and these files are whole."""

from pathlib import Path

import pytest

from yoso.reproduction.page import page_texts
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.registry import ITEMS
from yoso.reproduction.result_file import read_item_result

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "paper"


@pytest.fixture(scope="module")
def texts():
    return page_texts(ReproductionPlan(output=RESULTS))


def test_the_committed_page_is_generated(texts):
    for name, text in texts.items():
        path = ROOT / "docs" / (name or "paper.md")
        assert path.read_text(encoding="utf-8") == text, (
            f"run: yoso reproduce --page docs/paper.md ({path.name} differs)"
        )


def test_committed_results_are_whole():
    paths = sorted(RESULTS.glob("*.json"))
    assert {"table5", "table6", "figure5", "beyond"} <= {path.stem for path in paths}
    for path in paths:
        result = read_item_result(path)
        assert result.id == path.stem
        assert set(result.parts) <= {part.name for part in ITEMS[result.id].parts}
        for part in result.parts.values():
            assert part.commit
            assert not part.commit.endswith("-dirty")
            assert {"python", "torch", "yoso"} <= set(part.versions)


def test_the_page_has_every_item(texts):
    headings = [line for line in texts[""].splitlines() if line.startswith("## ")]
    assert len(headings) == len(ITEMS)


def test_the_page_says_what_was_not_run(tmp_path):
    text = page_texts(ReproductionPlan(output=tmp_path))[""]
    parts = [part for item in ITEMS.values() for part in item.parts]
    assert text.count("**not run**") == len(parts)
    assert "needs the data set coco and the weights coco-r50; then `yoso reproduce table1 --data coco" in text
    assert page_texts(ReproductionPlan(output=tmp_path)).keys() == {""}


def test_plots_are_drawn(texts):
    for name in ("images/paper_figure5.svg",):
        assert texts[name].startswith("<svg xmlns=")
        assert texts[name].count("<polyline") > 20
