"""The whole sample through the package: published, loaded, read, joined as pandas joins it, trained on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import featureloft as fl

SAMPLE = Path(__file__).parents[2] / "examples" / "nycflights"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def sample() -> dict[str, Any]:
    return json.loads((SAMPLE / "sample.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def moved(sample: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, moved so that the newest time is the current hour, and the definitions beside them."""
    folder = tmp_path_factory.mktemp("sample")
    hours = (datetime.now(UTC) - datetime.fromisoformat(sample["newest"])) // HOUR
    command = [sys.executable, str(SAMPLE / sample["shift"]), "--hours", str(hours), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    shutil.copy(SAMPLE / sample["definitions"], folder)
    return folder


@pytest.fixture(scope="module")
def published(store: fl.Store, sample: dict[str, Any], moved: Path) -> fl.Published:
    published = store.publish(moved / sample["definitions"])
    assert isinstance(published, fl.Published)
    return published


@pytest.fixture(scope="module")
def training_set(store: fl.Store, sample: dict[str, Any], moved: Path, published: fl.Published) -> fl.TrainingSet:
    asked = sample["trainingSet"]
    spine = store.upload(asked["spine"], moved / "flights.parquet")
    return store.training_set(asked["name"], spine=spine, service=asked["service"], labels=asked["labels"])


def test_every_row_is_loaded_and_every_entity_is_online(published: fl.Published) -> None:
    rows = published.rows
    assert {view: result.written + result.superseded for view, result in rows.items()} == {
        "airport_weather": 26_115,
        "carrier_delay_history": 5_402,
        "plane_facts": 3_322,
    }
    assert {view: result.written for view, result in rows.items()} == {
        "airport_weather": 3,
        "carrier_delay_history": 16,
        "plane_facts": 3_322,
    }
    assert all(result.rejected == 0 for result in rows.values())


def test_the_read_that_the_sample_shows_is_of_the_newest_weather(
    store: fl.Store, sample: dict[str, Any], moved: Path, published: fl.Published
) -> None:
    found = store.online(sample["onlineRead"]["service"], sample["onlineRead"]["entities"])
    assert found.statuses("temp") == ["PRESENT"] * 3
    assert found.values("temp") == [30.02, 28.94, 28.94]
    assert found.values("wind_gust") == [None, None, 23.0156]
    assert found.statuses("wind_gust") == ["NULL_VALUE", "NULL_VALUE", "PRESENT"]
    assert found.values("built") == [2006, 1988, 1998]
    assert found.as_of - found.event_timestamps("temp")[0] < timedelta(hours=3)  # type: ignore[operator]


def test_the_training_set_is_what_pandas_joins(training_set: fl.TrainingSet, moved: Path) -> None:
    spine = pd.read_parquet(moved / "flights.parquet")
    weather = times(pd.read_csv(moved / "weather.csv"), ["time_hour"]).rename(columns={"time_hour": "event_timestamp"})
    carriers = times(pd.read_csv(moved / "carrier_delays.csv"), ["event_timestamp"]).drop(columns="created_timestamp")
    planes = pd.read_parquet(moved / "planes.parquet").drop(columns=["event_timestamp", "type", "model"])
    expected = pd.merge_asof(spine, weather, on="event_timestamp", by="origin", tolerance=pd.Timedelta(hours=3))
    expected = pd.merge_asof(expected, carriers, on="event_timestamp", by="carrier", tolerance=pd.Timedelta(hours=48))
    expected = expected.merge(planes, how="left", on="tailnum").rename(
        columns={
            "dewp": "dew_point",
            "humid": "humidity",
            "wind_dir": "wind_direction",
            "precip": "precipitation",
            "visib": "visibility",
            "year": "built",
        }
    )
    found = training_set.to_pandas()
    assert list(found.columns) == list(training_set.columns)
    assert found["temp"].isna().sum() > 0
    assert found["built"].isna().mean() > 0.15
    for name in found.columns:
        left, right = found[name], expected[name]
        if pd.api.types.is_numeric_dtype(left) and not pd.api.types.is_bool_dtype(left):
            left, right = left.astype("float64"), right.astype("float64")
        pd.testing.assert_series_equal(left, right, check_dtype=False, check_exact=True, check_names=False, obj=name)


def test_what_was_not_reported_yet_is_not_known(store: fl.Store, training_set: fl.TrainingSet, moved: Path) -> None:
    """An airline's day is reported 6 hours after its end, so it can be used from then until 48 hours after its end."""
    features = ["carrier_delay_history:late_share"]
    known = store.training_set(
        "flight_delays_as_known", spine="flights", features=features, labels=["late"], as_known_at=True
    ).to_pandas()
    spine = pd.read_parquet(moved / "flights.parquet")
    carriers = times(pd.read_csv(moved / "carrier_delays.csv"), ["created_timestamp"])
    reported = carriers[["carrier", "created_timestamp", "late_share"]].rename(
        columns={"created_timestamp": "event_timestamp"}
    )
    expected = pd.merge_asof(spine, reported, on="event_timestamp", by="carrier", tolerance=pd.Timedelta(hours=42))
    pd.testing.assert_series_equal(known["late_share"], expected["late_share"], check_exact=True)
    usual = training_set.to_pandas()["late_share"]
    differs = known["late_share"].fillna(-1) != usual.fillna(-1)
    assert 0 < differs.mean() < 0.2


def test_the_job_beats_guessing(store: fl.Store, training_set: fl.TrainingSet) -> None:
    job = store.train(training_set).wait(300)
    assert job.metrics["metric"] == "roc_auc"
    assert job.metrics["score"] > 0.70
    assert job.metrics["logLoss"] < job.metrics["baselineLogLoss"]
    assert job.metrics["trainRows"] + job.metrics["testRows"] == training_set.rows == 327_550


def test_a_job_that_is_cancelled_says_so(store: fl.Store, training_set: fl.TrainingSet) -> None:
    job = store.train(training_set)
    assert job.cancel().state == "cancelled"
    with pytest.raises(fl.LoftError) as caught:
        job.wait(10)
    assert caught.value.code == "job_cancelled"
    assert job.cancel().state == "cancelled"


def times(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return frame.assign(**{name: pd.to_datetime(frame[name]).astype("datetime64[us, UTC]") for name in names})
