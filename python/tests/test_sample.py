"""The sample's files are what sample.json and the definitions say, and are moved in time without another change."""

from __future__ import annotations

import csv
import functools
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from featureloft.definitions import read_yaml

SAMPLE = Path(__file__).parents[2] / "examples" / "nycflights"
MAX_BYTES = 8_000_000
HOURS = 112_345


def described() -> dict[str, Any]:
    return json.loads((SAMPLE / "sample.json").read_text(encoding="utf-8"))


@functools.cache
def read(folder: Path, name: str) -> list[dict[str, Any]]:
    if name.endswith(".parquet"):
        return pq.read_table(folder / name).to_pylist()
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def time_of(cell: Any) -> datetime:
    return cell if isinstance(cell, datetime) else datetime.fromisoformat(cell)


def shift(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SAMPLE / "shift_times.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("moved")
    result = shift("--hours", str(HOURS), "--out", str(out))
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["hours"] == HOURS
    assert [one["file"] for one in said["files"]] == [one["file"] for one in described()["files"]]
    return out


def test_the_files_are_small_and_there_is_one_of_each_kind() -> None:
    files = [SAMPLE / one["file"] for one in described()["files"]]
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES
    assert {file.suffix for file in files} == {".csv", ".parquet"}


def test_newest_is_the_newest_time_of_all_files_and_a_whole_hour() -> None:
    newest = datetime.fromisoformat(described()["newest"])
    found = [
        time_of(row[name]) for one in described()["files"] for row in read(SAMPLE, one["file"]) for name in one["times"]
    ]
    assert max(found) == newest
    assert (newest.minute, newest.second, newest.microsecond) == (0, 0, 0)


def test_the_definitions_name_columns_that_the_files_have() -> None:
    definitions = read_yaml(SAMPLE / described()["definitions"])
    keys = {entity["name"]: list(entity["keys"]) for entity in definitions["entities"]}
    files = {one["view"]: one for one in described()["files"] if "view" in one}
    assert set(files) == {view["name"] for view in definitions["views"]}
    for view in definitions["views"]:
        source = view["source"]
        assert source["file"] == files[view["name"]]["file"]
        columns = set(read(SAMPLE, source["file"])[0])
        mapped = source.get("columns", {})
        wanted = {mapped.get(name, name) for name in [*keys[view["entity"]], *view["features"]]}
        assert wanted | {source["event_timestamp"], source["created_timestamp"]} <= columns
        assert {source["event_timestamp"], source["created_timestamp"]} == set(files[view["name"]]["times"])


def test_the_service_reads_features_that_are_defined() -> None:
    definitions = read_yaml(SAMPLE / described()["definitions"])
    known = {f"{view['name']}:{feature}" for view in definitions["views"] for feature in view["features"]}
    for service in definitions["services"]:
        assert set(service["features"]) <= known
    assert described()["onlineRead"]["show"] in known


def test_the_read_that_is_shown_is_of_a_value_that_is_present() -> None:
    newest = datetime.fromisoformat(described()["newest"])
    shown = described()["onlineRead"]["entities"]
    weather = {row["origin"]: row for row in read(SAMPLE, "weather.csv") if time_of(row["time_hour"]) == newest}
    assert all(weather[origin]["temp"] for origin in shown["origin"])
    planes = {row["tailnum"] for row in read(SAMPLE, "planes.parquet")}
    assert set(shown["tailnum"]) <= planes
    days = [
        row
        for row in read(SAMPLE, "carrier_delays.csv")
        if newest - time_of(row["event_timestamp"]) < timedelta(days=2)
    ]
    assert set(shown["carrier"]) <= {row["carrier"] for row in days}


def test_there_are_real_nulls_and_unknown_planes() -> None:
    weather = read(SAMPLE, "weather.csv")
    assert sum(row["pressure"] == "" for row in weather) == 2729
    planes = {row["tailnum"]: row for row in read(SAMPLE, "planes.parquet")}
    assert sum(row["year"] is None for row in planes.values()) == 70
    flights = read(SAMPLE, "flights.parquet")
    assert 0.1 < sum(row["tailnum"] not in planes for row in flights) / len(flights) < 0.2


def test_a_flight_leaves_at_new_yorks_hour_in_summer_and_in_winter() -> None:
    for row in read(SAMPLE, "flights.parquet")[::997]:
        is_summer = (
            datetime(2013, 3, 10, 7, tzinfo=UTC) <= row["event_timestamp"] < datetime(2013, 11, 3, 6, tzinfo=UTC)
        )
        assert (row["event_timestamp"] - timedelta(hours=4 if is_summer else 5)).hour == row["hour"]


def test_an_airlines_day_is_what_its_flights_say() -> None:
    """Recomputed from the spine for one day; the cancelled flights are in the difference."""
    ended = datetime(2013, 7, 11, 4, tzinfo=UTC)
    day = [
        row["late"]
        for row in read(SAMPLE, "flights.parquet")
        if row["carrier"] == "B6" and ended - timedelta(days=1) <= row["event_timestamp"] < ended
    ]
    (told,) = (
        row
        for row in read(SAMPLE, "carrier_delays.csv")
        if row["carrier"] == "B6" and time_of(row["event_timestamp"]) == ended
    )
    assert int(told["flights"]) - int(told["cancelled"]) == len(day)
    assert float(told["late_share"]) == pytest.approx(sum(day) / len(day), abs=1e-6)
    assert time_of(told["created_timestamp"]) - ended == timedelta(hours=6)


def test_all_times_move_by_the_same_hours_and_nothing_else_changes(moved: Path) -> None:
    for one in described()["files"]:
        before, after = read(SAMPLE, one["file"]), read(moved, one["file"])
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            for name in one["times"]:
                assert time_of(new[name]) - time_of(old[name]) == timedelta(hours=HOURS)
            assert all(new[name] == old[name] for name in old if name not in one["times"])
        if one["file"].endswith(".parquet"):
            assert pq.read_schema(moved / one["file"]).equals(pq.read_schema(SAMPLE / one["file"]))


def test_the_same_hours_give_the_same_bytes(moved: Path, tmp_path: Path) -> None:
    assert shift("--hours", str(HOURS), "--out", str(tmp_path)).returncode == 0
    for one in described()["files"]:
        assert (tmp_path / one["file"]).read_bytes() == (moved / one["file"]).read_bytes()


def small_sample(folder: Path, cells: list[str]) -> None:
    (folder / "t.csv").write_text("t,x\n" + "".join(f'{cell},"a,\n"\n' for cell in cells), encoding="utf-8")
    (folder / "sample.json").write_text(json.dumps({"files": [{"file": "t.csv", "times": ["t"]}]}))


def test_microseconds_and_empty_cells_stay(tmp_path: Path) -> None:
    small_sample(tmp_path, ["2013-03-10T06:59:59.000001Z", "", "2012-02-28T23:00:00Z"])
    assert shift("--hours", "25", "--out", str(tmp_path / "out"), "--sample", str(tmp_path)).returncode == 0
    with (tmp_path / "out" / "t.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [
            ["2013-03-11T07:59:59.000001Z", "a,\n"],
            ["", "a,\n"],
            ["2012-03-01T00:00:00Z", "a,\n"],
        ]


@pytest.mark.parametrize(
    ("cell", "hours", "words"),
    [
        ("2013-01-01 00:00:00", "1", "t.csv, line 3, t: found '2013-01-01 00:00:00', expected a UTC time"),
        ("2013-13-01T00:00:00Z", "1", "t.csv, line 3, t: '2013-13-01T00:00:00Z' moved by 1 hours is no time"),
        ("2013-01-01T00:00:00Z", "99999999", "no time between the years 1 and 9999"),
    ],
)
def test_a_bad_time_is_told_with_its_place_and_leaves_no_file(
    tmp_path: Path, cell: str, hours: str, words: str
) -> None:
    small_sample(tmp_path, [cell])
    result = shift("--hours", hours, "--out", str(tmp_path / "out"), "--sample", str(tmp_path))
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_the_samples_own_folder_is_not_written_to(tmp_path: Path) -> None:
    small_sample(tmp_path, [])
    result = shift("--hours", "1", "--out", str(tmp_path), "--sample", str(tmp_path))
    assert result.returncode == 1
    assert "the sample's own folder" in result.stderr
