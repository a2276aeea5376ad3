"""The trainer that the gateway's training jobs run: `python -m featureloft.train --training-set NAME --version N`.

Reads the training set, splits it by time, trains scikit-learn's histogram gradient boosting on the older rows, scores
it on the newer ones against a baseline that knows no features, and leaves `metrics.json`, `model.joblib` and
`model.json` in the job's folder. The gateway gives FEATURELOFT_URL, FEATURELOFT_TOKEN (for this job only) and
FEATURELOFT_JOB_DIR. Progress is one JSON line each on standard output, `{"progress": 0.4, "message": "…"}`; a failure
is one line on standard error, and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from .connection import Connection
from .discovery import Address
from .errors import LoftError
from .store import Store
from .stored import TrainingSet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Of scikit-learn's histograms: a column with more values than this can't be a category, and is rather an identifier.
MAX_CATEGORIES = 255
MIN_ROWS = 40
LEARNING_RATE = 0.08
ITERATIONS = 100
# Between two lines of progress. Each step bins the data anew, so they are few.
STEP_ITERATIONS = 50

NUMERIC = ("bool", "int32", "int64", "float32", "float64", "decimal")
CLASSES = ("bool", "string")

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Split:
    """The rows before and from `cut` on, in the order of time, with inputs and label apart."""

    train: pd.DataFrame
    train_label: np.ndarray[Any, Any]
    test: pd.DataFrame
    test_label: np.ndarray[Any, Any]
    cut: str


@dataclass(frozen=True)
class Trained:
    model: Any
    task: str
    metrics: dict[str, Any]


def train(
    training_set: TrainingSet, label: str | None, test_fraction: float, job_dir: Path, report: Report
) -> dict[str, Any]:
    """Trains and leaves its files in `job_dir`, `metrics.json` last. Returns the metrics.

    Raises LoftError when the set can't be trained on: no such label, too few rows, one class only, no usable feature.
    """
    started = time.monotonic()
    label = _label(training_set, label)
    time_column = training_set.event_timestamp
    report(0.02, f"Reading {training_set.name} v{training_set.version}: {training_set.rows} rows")
    table = training_set.to_arrow()
    usable = table.filter(pc.and_(pc.is_valid(table[label]), pc.is_valid(table[time_column])))
    if usable.num_rows < MIN_ROWS:
        words = f"{usable.num_rows} rows have a {label} and a {time_column}; training needs at least {MIN_ROWS}."
        raise LoftError("too_few_rows", words)
    inputs, left_out = _inputs(training_set, usable, label, time_column)
    report(0.15, f"Splitting by {time_column}: the newest {test_fraction:.0%} are for the test")
    split = _split(usable, inputs, label, time_column, test_fraction)
    del table
    report(0.2, f"Training on {len(split.train)} rows with {len(inputs)} inputs")
    trained = _fit(split, training_set.columns[label], label, report)
    report(0.92, "Writing the model")
    metrics: dict[str, Any] = {
        **trained.metrics,
        "task": trained.task,
        "label": label,
        "rows": training_set.rows,
        "trainRows": len(split.train),
        "testRows": len(split.test),
        "rowsWithoutLabelOrTime": training_set.rows - usable.num_rows,
        "testFrom": split.cut,
        "features": list(inputs),
        "leftOut": left_out,
        "trainingSet": {"name": training_set.name, "version": training_set.version},
        "trainingSetId": training_set.id,
    }
    _write_model(job_dir, training_set, trained, split, metrics)
    metrics["seconds"] = round(time.monotonic() - started, 2)
    _write(job_dir / "metrics.json", lambda file: file.write(_pretty(metrics)))
    report(1.0, _summary(metrics))
    return metrics


def _label(training_set: TrainingSet, label: str | None) -> str:
    if label is None:
        if len(training_set.labels) != 1:
            found = ", ".join(training_set.labels) or "none"
            raise LoftError("which_label", f"{training_set.name} has the labels {found}. Name one with --label.")
        label = training_set.labels[0]
    if label not in training_set.columns:
        known = ", ".join(training_set.columns)
        raise LoftError("unknown_label", f"{training_set.name} has no column {label!r}; it has {known}.")
    kind = _kind(training_set.columns[label])
    if kind not in (*NUMERIC, *CLASSES):
        words = f"The label {label} is of type {training_set.columns[label]}, expected bool, string or a number."
        raise LoftError("bad_label", words)
    return label


def _kind(type_text: str) -> str:
    return type_text.partition("(")[0].partition("<")[0]


def _inputs(
    training_set: TrainingSet, table: pa.Table, label: str, time_column: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The columns to learn from with their types, and those left out with the reason."""
    inputs: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, type_text in training_set.columns.items():
        kind = _kind(type_text)
        if name in (label, time_column):
            continue
        if name in training_set.labels:
            left_out[name] = "another label"
        elif kind == "string":
            distinct = pc.count_distinct(table[name]).as_py()
            if distinct <= MAX_CATEGORIES:
                inputs[name] = type_text
            else:
                left_out[name] = f"{distinct} different texts; at most {MAX_CATEGORIES} make categories"
        elif kind in NUMERIC:
            inputs[name] = type_text
        else:
            left_out[name] = f"of type {type_text}"
    if not inputs:
        raise LoftError("no_inputs", f"{training_set.name} has no column to learn from; left out: {left_out}.")
    return inputs, left_out


def _split(table: pa.Table, inputs: Mapping[str, str], label: str, time_column: str, test_fraction: float) -> Split:
    import pandas as pd

    order = pc.sort_indices(table[time_column])
    table = table.select(list(dict.fromkeys([*inputs, label, time_column]))).take(order)
    times = table[time_column]
    cut = times[min(int(table.num_rows * (1 - test_fraction)), table.num_rows - 1)]
    # Rows of one time stay on one side.
    before = pc.sum(pc.less(times, cut)).as_py() or 0
    if before == 0:
        raise LoftError(
            "no_split", f"The oldest {1 - test_fraction:.0%} of the rows have one and the same {time_column}."
        )
    frame = pd.DataFrame({name: _column(table[name]) for name in inputs})
    labels = _label_values(table[label])
    return Split(frame[:before], labels[:before], frame[before:], labels[before:], cut.as_py().isoformat())


def _column(column: pa.ChunkedArray) -> Any:
    """Text as categories, all else as numbers with NaN for null."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.combine_chunks().dictionary_encode().to_pandas()
    return column.cast(pa.float64()).to_numpy()


def _label_values(column: pa.ChunkedArray) -> Any:
    import numpy as np

    if pa.types.is_boolean(column.type):
        return column.to_numpy()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.to_pylist(), dtype=object)
    return column.cast(pa.float64()).to_numpy()


def _fit(split: Split, label_type: str, label: str, report: Report) -> Trained:
    import numpy as np

    is_flag = _kind(label_type) in ("int32", "int64") and bool(np.isin(split.train_label, (0.0, 1.0)).all())
    if _kind(label_type) in CLASSES or is_flag:
        return _classify(split, label, report)
    if not np.isfinite(split.train_label).all() or not np.isfinite(split.test_label).all():
        raise LoftError(
            "bad_label", f"The label {label} holds NaN or infinite values. Leave these rows out of the spine."
        )
    return _regress(split, report)


def _classify(split: Split, label: str, report: Report) -> Trained:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    classes, counts = np.unique(split.train_label, return_counts=True)
    if len(classes) < 2:
        raise LoftError("one_class", f"Before {split.cut} every {label} is {classes[0]}: there is nothing to learn.")
    known = np.isin(split.test_label, classes)
    test, expected = split.test[known], split.test_label[known]
    if len(expected) == 0:
        raise LoftError("one_class", f"From {split.cut} on no {label} is one that was there before.")
    model = _boost(HistGradientBoostingClassifier, split, report)
    chances = model.predict_proba(test)
    rates = np.tile(counts / counts.sum(), (len(expected), 1))
    metrics: dict[str, Any] = {
        "logLoss": float(log_loss(expected, chances, labels=classes)),
        "baselineLogLoss": float(log_loss(expected, rates, labels=classes)),
        "accuracy": float(accuracy_score(expected, model.predict(test))),
        "baselineAccuracy": float(np.mean(expected == classes[counts.argmax()])),
    }
    if len(classes) == 2 and len(np.unique(expected)) == 2:
        score = {"metric": "roc_auc", "score": float(roc_auc_score(expected, chances[:, 1])), "baseline": 0.5}
    else:
        score = {"metric": "accuracy", "score": metrics["accuracy"], "baseline": metrics["baselineAccuracy"]}
    return Trained(model, "classification", {**score, "higherIsBetter": True, **metrics})


def _regress(split: Split, report: Report) -> Trained:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import mean_absolute_error, r2_score

    model = _boost(HistGradientBoostingRegressor, split, report)
    guesses = model.predict(split.test)
    mean = np.full(len(split.test_label), split.train_label.mean())
    metrics = {
        "metric": "mae",
        "score": float(mean_absolute_error(split.test_label, guesses)),
        "baseline": float(mean_absolute_error(split.test_label, mean)),
        "higherIsBetter": False,
        "r2": float(r2_score(split.test_label, guesses)) if len(guesses) > 1 else None,
    }
    return Trained(model, "regression", metrics)


def _boost(kind: Any, split: Split, report: Report) -> Any:
    model = kind(
        learning_rate=LEARNING_RATE,
        l2_regularization=1.0,
        categorical_features="from_dtype",
        early_stopping=False,
        warm_start=True,
        random_state=0,
        max_iter=STEP_ITERATIONS,
    )
    for done in range(STEP_ITERATIONS, ITERATIONS + 1, STEP_ITERATIONS):
        model.set_params(max_iter=done)
        model.fit(split.train, split.train_label)
        report(0.2 + 0.7 * done / ITERATIONS, f"Trained {done} of {ITERATIONS} trees")
    return model.set_params(warm_start=False)


def _write_model(
    job_dir: Path, training_set: TrainingSet, trained: Trained, split: Split, metrics: Mapping[str, Any]
) -> None:
    import joblib
    import sklearn

    described = {
        "task": trained.task,
        "label": metrics["label"],
        "classes": [str(one) for one in trained.model.classes_] if trained.task == "classification" else None,
        "features": [
            {
                "name": name,
                "type": training_set.columns[name],
                "categories": sorted(split.train[name].cat.categories)
                if split.train[name].dtype == "category"
                else None,
            }
            for name in metrics["features"]
        ],
        "trainingSet": metrics["trainingSet"],
        "trainingSetId": training_set.id,
        "madeWith": {"python": platform.python_version(), "scikit-learn": sklearn.__version__},
    }
    _write(job_dir / "model.joblib", lambda file: joblib.dump(trained.model, file, compress=3))
    _write(job_dir / "model.json", lambda file: file.write(_pretty(described)))


def _write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """The file is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()


def _summary(metrics: Mapping[str, Any]) -> str:
    return (
        f"{metrics['metric']} {metrics['score']:.4f}, baseline {metrics['baseline']:.4f}, on {metrics['testRows']} rows"
    )


def _report(progress: float, message: str) -> None:
    print(json.dumps({"progress": round(progress, 3), "message": message}, ensure_ascii=False), flush=True)


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected more than 0 and less than 1")
    return value


def _given(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise LoftError("no_environment", f"{name} is not set: this is started by the gateway, for a training job.")
    return value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="featureloft.train", description="Trains on a training set, for a job.")
    parser.add_argument("--training-set", required=True)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--label", help="the column to predict (default: the set's only label)")
    parser.add_argument("--test-fraction", type=_fraction, default=0.25, help="share of the newest rows for the test")
    asked = parser.parse_args(arguments)
    # Threads that spin while they wait take the cores from the gateway, and on busy cores make this many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        job_dir = Path(_given("FEATURELOFT_JOB_DIR"))
        # The gateway that started this process gave the address, and a token that no other program could use.
        address = Address(_given("FEATURELOFT_URL"), _given("FEATURELOFT_TOKEN"))
        with Store(Connection(address, proven=True)) as store:
            training_set = store.training_set(asked.training_set, asked.version)
            train(training_set, asked.label, asked.test_fraction, job_dir, _report)
    except LoftError as error:
        return _fail(str(error))
    except ImportError as error:
        return _fail(f"The trainer lacks a package: {error}")
    except MemoryError:
        return _fail("The training set does not fit into memory. Train on fewer columns or rows.")
    except Exception as error:
        # Standard output goes to the job's log.
        traceback.print_exc(file=sys.stdout)
        return _fail(f"Training failed: {type(error).__name__}: {error}")
    return 0


def _fail(words: str) -> int:
    print(" ".join(words.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
