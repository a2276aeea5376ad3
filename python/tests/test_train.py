"""The trainer learns what is there to learn, splits by time, and says in words why it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest

import featureloft as fl
from featureloft.train import train
from featureloft.value_types import type_of_arrow

START = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TableSet(fl.TrainingSet):
    """A training set whose rows are at hand instead of behind a gateway."""

    table: pa.Table | None = None

    def to_arrow(self) -> pa.Table:
        assert self.table is not None
        return self.table


def training_set(columns: dict[str, Any], labels: list[str], types: dict[str, str] | None = None) -> TableSet:
    table = pa.table(columns)
    recipe = {"spine": {"labels": labels, "eventTimestamp": "event_timestamp"}, "features": []}
    known = {name: type_of_arrow(table.schema.field(name).type, name) for name in table.column_names} | (types or {})
    return TableSet("t", 3, table.num_rows, known, (), {"recipe": recipe}, None, "f" * 64, (), table)  # type: ignore[arg-type]


def columns(rows: int = 600) -> dict[str, Any]:
    """`signal` tells a lot about the labels, `colour` a little, `noise` nothing."""
    random = np.random.default_rng(7)
    signal = random.normal(size=rows)
    colour = random.choice(["red", "green", "blue"], rows)
    chance = 1 / (1 + np.exp(-2 * signal - (colour == "red")))
    late = random.random(rows) < chance
    times = [START + timedelta(minutes=int(minute)) for minute in random.permutation(rows)]
    return {
        "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "signal": pa.array(signal, pa.float64(), mask=random.random(rows) < 0.05),
        "colour": pa.array(colour),
        "noise": pa.array(random.integers(0, 9, rows), pa.int32()),
        "late": pa.array(late),
        "minutes": pa.array(10 * signal + random.normal(size=rows)),
        "kind": pa.array(np.where(signal > 0.5, "high", np.where(signal < -0.5, "low", "middle"))),
    }


def without(names: list[str], rows: int = 600) -> dict[str, Any]:
    return {name: values for name, values in columns(rows).items() if name not in names}


def run(
    made: TableSet, label: str | None, folder: Path, test_fraction: float = 0.25
) -> tuple[dict[str, Any], list[Any]]:
    reports: list[Any] = []
    metrics = train(made, label, test_fraction, folder, lambda progress, message: reports.append((progress, message)))
    return metrics, reports


def test_a_flag_is_classified_and_scored_by_auc(tmp_path: Path) -> None:
    metrics, reports = run(training_set(columns(), ["late", "minutes", "kind"]), "late", tmp_path)
    assert metrics["metric"] == "roc_auc"
    assert metrics["baseline"] == 0.5 < 0.75 < metrics["score"] < 1
    assert metrics["logLoss"] < metrics["baselineLogLoss"]
    assert (metrics["trainRows"], metrics["testRows"], metrics["rows"]) == (450, 150, 600)
    assert metrics["features"] == ["signal", "colour", "noise"]
    assert metrics["leftOut"] == {"minutes": "another label", "kind": "another label"}
    assert metrics["testFrom"] == (START + timedelta(minutes=450)).isoformat()
    assert [progress for progress, _ in reports] == sorted(progress for progress, _ in reports)
    assert reports[-1][0] == 1
    assert json.loads((tmp_path / "metrics.json").read_text())["score"] == metrics["score"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["metrics.json", "model.joblib", "model.json"]


def test_the_same_set_gives_the_same_score_and_the_model_predicts(tmp_path: Path) -> None:
    made = training_set(columns(), ["late", "minutes", "kind"])
    first, _ = run(made, "late", tmp_path)
    second, _ = run(made, "late", tmp_path)
    assert first["score"] == second["score"]
    described = json.loads((tmp_path / "model.json").read_text())
    assert described["trainingSetId"] == "f" * 64
    assert described["features"][1] == {"name": "colour", "type": "string", "categories": ["blue", "green", "red"]}
    model = joblib.load(tmp_path / "model.joblib")
    frame = made.to_pandas()[[feature["name"] for feature in described["features"]]]
    assert model.predict_proba(frame.astype({"colour": "category"})).shape == (600, 2)


def test_a_number_is_regressed_and_scored_by_its_error(tmp_path: Path) -> None:
    metrics, _ = run(training_set(without(["late", "kind"]), ["minutes"]), None, tmp_path)
    assert metrics["metric"] == "mae"
    assert metrics["higherIsBetter"] is False
    assert metrics["score"] < 0.5 * metrics["baseline"]
    assert json.loads((tmp_path / "model.json").read_text())["classes"] is None


def test_several_classes_are_scored_by_accuracy(tmp_path: Path) -> None:
    metrics, _ = run(training_set(without(["late", "minutes"]), ["kind"]), None, tmp_path)
    assert metrics["metric"] == "accuracy"
    assert metrics["score"] > 0.8 > metrics["baseline"]


def test_zeros_and_ones_are_classes(tmp_path: Path) -> None:
    made = without(["minutes", "kind"])
    made["late"] = made["late"].cast(pa.int32())
    metrics, _ = run(training_set(made, ["late"]), None, tmp_path)
    assert metrics["metric"] == "roc_auc"


def test_rows_without_label_or_time_are_left_out_and_counted(tmp_path: Path) -> None:
    made = without(["minutes", "kind"])
    made["late"] = pa.array([None] * 50 + made["late"].to_pylist()[50:])
    made["event_timestamp"] = pa.array(
        made["event_timestamp"].to_pylist()[:-10] + [None] * 10, pa.timestamp("us", "UTC")
    )
    metrics, _ = run(training_set(made, ["late"]), None, tmp_path)
    assert metrics["rowsWithoutLabelOrTime"] == 60
    assert metrics["trainRows"] + metrics["testRows"] == 540


def test_rows_of_one_time_stay_on_one_side(tmp_path: Path) -> None:
    made = without(["minutes", "kind"])
    hours = [time.replace(minute=0) for time in made["event_timestamp"].to_pylist()]
    made["event_timestamp"] = pa.array(hours, pa.timestamp("us", "UTC"))
    metrics, _ = run(training_set(made, ["late"]), None, tmp_path)
    cut = datetime.fromisoformat(metrics["testFrom"])
    assert metrics["trainRows"] == sum(hour < cut for hour in hours)


def test_what_can_not_be_learned_from_is_left_out_with_the_reason(tmp_path: Path) -> None:
    made = without(["minutes", "kind"])
    made["tail"] = pa.array([f"N{number}" for number in range(600)])
    made["seen"] = made["event_timestamp"]
    made["price"] = pa.array([number / 4 for number in range(600)]).cast(pa.decimal128(10, 2))
    made["empty"] = pa.array([None] * 600, pa.string())
    metrics, _ = run(training_set(made, ["late"]), None, tmp_path)
    assert metrics["leftOut"] == {
        "tail": "600 different texts; at most 255 make categories",
        "seen": "of type timestamp",
    }
    assert "price" in metrics["features"]


@pytest.mark.parametrize(
    ("change", "label", "code"),
    [
        ({}, "none", "unknown_label"),
        ({}, "seen", "bad_label"),
        ({"late": pa.array([True] * 600)}, "late", "one_class"),
        ({"late": pa.array([True] * 20 + [None] * 580)}, "late", "too_few_rows"),
        ({"event_timestamp": pa.array([START] * 600, pa.timestamp("us", "UTC"))}, "late", "no_split"),
        ({"minutes": pa.array([float("nan")] * 600)}, "minutes", "bad_label"),
    ],
)
def test_what_can_not_be_trained_on_is_refused(tmp_path: Path, change: dict[str, Any], label: str, code: str) -> None:
    made = {**columns(), "seen": columns()["event_timestamp"], **change}
    with pytest.raises(fl.LoftError) as caught:
        run(training_set(made, ["late"]), label, tmp_path)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_no_label_and_two_labels_must_be_named(tmp_path: Path) -> None:
    for labels in ([], ["late", "minutes"]):
        with pytest.raises(fl.LoftError, match="Name one with --label"):
            run(training_set(columns(), labels), None, tmp_path)


def test_a_set_without_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fl.LoftError, match="no column to learn from"):
        run(training_set({name: columns()[name] for name in ("event_timestamp", "late")}, ["late"]), None, tmp_path)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "FEATURELOFT_JOB_DIR is not set"),
        (
            {"FEATURELOFT_JOB_DIR": "/tmp", "FEATURELOFT_URL": "http://127.0.0.1:9", "FEATURELOFT_TOKEN": "a" * 64},
            "No gateway answers at http://127.0.0.1:9",
        ),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(environment: dict[str, str], words: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEATURELOFT")}
    command = [sys.executable, "-m", "featureloft.train", "--training-set", "t", "--version", "1"]
    result = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
