"""The package against a real gateway, its Postgres and its lake."""

from __future__ import annotations

import json
import math
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import featureloft as fl
from conftest import Gateway
from featureloft.connection import Connection
from featureloft.discovery import Address

NOW = datetime.now(UTC).replace(microsecond=0)
AT = NOW - timedelta(days=1, microseconds=1)

# One feature of every type, with a value that is easily damaged on the way.
EVERY_TYPE: dict[str, tuple[str, Any]] = {
    "a_bool": ("bool", False),
    "an_int32": ("int32", -(2**31)),
    "an_int64": ("int64", 2**53 + 1),
    "a_float32": ("float32", 16777216.0),
    "a_float64": ("float64", 0.1),
    "a_minus_zero": ("float64", -0.0),
    "a_nan": ("float64", math.nan),
    "an_infinity": ("float64", -math.inf),
    "a_string": ("string", "שלום\n\t\"'\\ 🛫"),
    "an_empty_string": ("string", ""),
    "some_bytes": ("bytes", b"\x00\x01\xff"),
    "a_year_1": ("timestamp", datetime(1, 1, 1, tzinfo=UTC)),
    "a_year_9999": ("timestamp", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    "a_date": ("date", date(1, 1, 1)),
    "a_decimal": ("decimal(38,10)", Decimal("1234567890123456789012345678.0000000001")),
    "a_uuid": ("uuid", uuid.UUID(int=42)),
    "some_json": ("json", {"a": [1, None, "x"]}),
    "a_list": ("list<int64>", [2**53 + 1, None]),
    "an_empty_list": ("list<string>", []),
    "an_embedding": ("embedding<3>", [0.5, -1.0, 2.0]),
}


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return (math.isnan(found) and math.isnan(expected)) or (
            found == expected and math.copysign(1, found) == math.copysign(1, expected)
        )
    return bool(found == expected) and type(found) is type(expected)


def publish(store: fl.Store, view: str, features: dict[str, str], key: str = "string", **options: Any) -> None:
    store.publish(fl.View(view, fl.Entity(view, {"id": key}), features, **options))


@pytest.fixture(scope="module")
def every_type(store: fl.Store) -> fl.Store:
    publish(store, "every_type", {name: kind for name, (kind, _) in EVERY_TYPE.items()})
    full = {name: value for name, (_, value) in EVERY_TYPE.items()}
    result = store.push(
        "every_type", [{"id": "full", "event_timestamp": AT, **full}, {"id": "empty", "event_timestamp": AT}]
    )
    assert (result.written, result.rejected) == (2, 0)
    return store


def test_every_type_is_read_online_as_it_was_pushed(every_type: fl.Store) -> None:
    refs = [f"every_type:{name}" for name in EVERY_TYPE]
    result = every_type.online(refs, id=["full", "empty", "none"])
    for name, (_, value) in EVERY_TYPE.items():
        full, empty, none = result.values(name)
        assert same(full, value), (name, full, value)
        assert (empty, none) == (None, None)
        assert result.statuses(name) == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
        assert result.event_timestamps(name) == [AT, AT, None]
    assert result.to_arrow()["an_int64"].to_pylist() == [2**53 + 1, None, None]
    frame = result.to_pandas()
    assert (str(frame["an_int64"].dtype), frame["an_int64"][0]) == ("Int64", 2**53 + 1)
    assert result.to_polars()["a_decimal"][0] == Decimal("1234567890123456789012345678.0000000001")
    assert [row["id"] for row in result] == ["full", "empty", "none"]


def test_every_type_reaches_a_training_set(every_type: fl.Store) -> None:
    spine = pl.DataFrame({"id": ["full", "empty", None], "event_timestamp": [NOW] * 3, "y": [1, 2, 3]})
    made = every_type.training_set(
        "every_type_set", spine=spine, features=[f"every_type:{name}" for name in EVERY_TYPE], labels="y"
    )
    assert (made.rows, made.version) == (3, 1)
    assert list(made.columns) == ["id", "event_timestamp", "y", *EVERY_TYPE]
    rows = made.to_arrow().to_pylist()
    for name, (kind, value) in EVERY_TYPE.items():
        found = rows[0][name]
        if kind == "json":
            found = json.loads(found)
        elif kind == "uuid" and not isinstance(found, uuid.UUID):
            found = uuid.UUID(bytes=found) if isinstance(found, bytes) else uuid.UUID(found)
        assert same(found, value), (name, found, value)
        assert (rows[1][name], rows[2][name]) == (None, None)
    assert made.to_pandas()["an_int64"][0] == 2**53 + 1
    assert made.to_polars()["a_list"].to_list()[0] == [2**53 + 1, None]
    assert made.to_duckdb(duckdb.connect()).aggregate("sum(y)").fetchone() == (6,)


def test_a_data_frame_is_pushed_without_loss(store: fl.Store) -> None:
    publish(store, "framed", {"n": "int64", "x": "float32", "t": "timestamp", "s": "string"}, "int64")
    frame = pd.DataFrame(
        {
            "id": [1, 2],
            "n": pd.array([2**53 + 1, None], "Int64"),
            "x": np.array([0.1, np.nan], "float32"),
            "t": pd.to_datetime(["2013-11-03T05:30:00.000001Z", None], format="ISO8601", utc=True),
            "s": ["x", ""],
            "event_timestamp": [AT, AT],
        }
    )
    assert store.push("framed", frame).written == 2
    found = store.online(["framed:n", "framed:x", "framed:t", "framed:s"], id=frame["id"])
    assert found.values("n") == [2**53 + 1, None]
    assert found.values("x") == [float(np.float32(0.1)), None]
    assert found.values("t") == [datetime(2013, 11, 3, 5, 30, 0, 1, tzinfo=UTC), None]
    assert found.values("s") == ["x", ""]


def test_the_newest_event_wins_whatever_comes_last(store: fl.Store) -> None:
    publish(store, "newest", {"x": "int64"})
    assert store.push("newest", [{"id": "a", "x": 2, "event_timestamp": AT}]).written == 1
    older = store.push("newest", [{"id": "a", "x": 1, "event_timestamp": AT - timedelta(hours=1)}])
    assert (older.written, older.superseded) == (0, 1)
    assert store.online("newest:x", id="a").to_dict() == {"id": ["a"], "x": [2]}


def test_a_push_with_one_key_is_written_once(store: fl.Store) -> None:
    publish(store, "once", {"x": "int64"})
    rows = [{"id": "a", "x": 1, "event_timestamp": AT}]
    first = store.push("once", rows, idempotency_key="test-once")
    assert first == store.push("once", rows, idempotency_key="test-once")
    with pytest.raises(fl.LoftError) as caught:
        store.push("once", [{**rows[0], "x": 2}], idempotency_key="test-once")
    assert caught.value.status == 422
    assert store.view("once")["state"]["rows"] == 1


def test_bad_rows_are_refused_with_their_places_or_skipped(store: fl.Store) -> None:
    publish(store, "strict", {"x": "int32"})
    rows = [
        {"id": "a", "x": 1, "event_timestamp": AT},
        {"id": "b", "x": 2**31, "event_timestamp": AT},
        {"id": None, "x": 1, "event_timestamp": AT},
        {"id": "d", "x": 1, "event_timestamp": NOW + timedelta(hours=1)},
        {"id": "e", "z": 1, "event_timestamp": AT},
    ]
    with pytest.raises(fl.LoftError) as caught:
        store.push("strict", rows)
    assert caught.value.status == 422
    assert {(problem.row, problem.field) for problem in caught.value.problems} >= {(1, "x"), (2, "id"), (4, "z")}
    assert {problem.row for problem in caught.value.problems} == {1, 2, 3, 4}
    assert store.online("strict:x", id="a").statuses("x") == ["NOT_FOUND"]
    skipped = store.push("strict", rows, on_error="skip")
    assert (skipped.written, skipped.rejected) == (1, 4)
    assert store.online("strict:x", id="a").values("x") == [1]


def test_a_value_past_its_ttl_is_not_handed_out(store: fl.Store) -> None:
    publish(store, "aging", {"x": "int64"}, ttl="1h")
    store.push("aging", [{"id": "a", "x": 1, "event_timestamp": AT}])
    assert store.online("aging:x", id="a").statuses("x") == ["OUTSIDE_MAX_AGE"]
    assert store.online("aging:x", id="a").values("x") == [None]
    store.publish(fl.View("aging", fl.Entity("aging", {"id": "string"}), {"x": "int64"}, ttl=timedelta(days=3)))
    assert store.online("aging:x", id="a").values("x") == [1]


def test_a_service_is_read_by_its_name(store: fl.Store) -> None:
    publish(store, "left_side", {"x": "int64"})
    publish(store, "right_side", {"x": "float64"})
    store.publish(fl.Service("both_sides", ["left_side:x", "right_side:x"]))
    store.push("right_side", [{"id": "a", "x": 1, "event_timestamp": AT}])
    found = store.online("both_sides", id="a")
    assert found.to_dict() == {"id": ["a"], "left_side__x": [None], "right_side__x": [1.0]}
    assert type(found.values("right_side__x")[0]) is float
    assert found.statuses("left_side__x") == ["NOT_FOUND"]
    assert store.get_online_features(["left_side:x"], [{"id": "a"}], True).features == ["left_side__x"]


@pytest.mark.parametrize(
    ("features", "keys"),
    [
        (["newest:none"], {"id": "a"}),
        (["none:x"], {"id": "a"}),
        (["newest:x"], {"other": "a"}),
        (["newest:x"], {}),
        (["newest:x"], {"id": 7}),
        ("no_service", {"id": "a"}),
    ],
)
def test_a_read_that_makes_no_sense_is_an_error_and_not_a_null(store: fl.Store, features: Any, keys: Any) -> None:
    publish(store, "newest", {"x": "int64"})
    with pytest.raises(fl.LoftError) as caught:
        store.online(features, keys)
    assert 400 <= caught.value.status < 500


def test_publishing_again_changes_nothing_and_a_plan_tells_before(store: fl.Store) -> None:
    view = fl.View("planned", fl.Entity("planned", {"id": "string"}), [fl.Feature("x", "int64", "how many")], ttl="3h")
    plan = store.publish(view, plan_only=True)
    assert isinstance(plan, fl.Plan)
    assert {change["action"] for change in plan.changes} == {"create"}
    published = store.publish(view, plan=plan)
    assert isinstance(published, fl.Published)
    assert published.registry_version > plan.registry_version
    assert store.plan(view).changes == ()
    again = store.publish(view)
    assert isinstance(again, fl.Published)
    assert (again.changes, again.registry_version) == ((), published.registry_version)
    assert str(again) == "nothing changed"


def test_a_breaking_change_is_not_published_by_accident(store: fl.Store) -> None:
    publish(store, "breakable", {"x": "int64"})
    changed = fl.View("breakable", fl.Entity("breakable", {"id": "string"}), {"x": "string"})
    assert not store.plan(changed).is_harmless
    with pytest.raises(fl.LoftError) as caught:
        store.publish(changed)
    assert (caught.value.status, caught.value.code) == (409, "plan_required")
    assert "plan" in caught.value.extra


def test_a_publish_by_another_client_changes_the_types_of_the_next_read(gateway: Gateway, store: fl.Store) -> None:
    publish(store, "retyped", {"x": "int64"})
    assert store.online("retyped:x", id="a").values("x") == [None]
    changed = fl.View("retyped", fl.Entity("retyped", {"id": "string"}), {"x": "timestamp"})
    with fl.connect(gateway.url, gateway.token) as other:
        plan = other.plan(changed)
        other.publish(changed, plan=plan)
        other.push("retyped", [{"id": "a", "x": AT, "event_timestamp": AT}])
    assert store.online("retyped:x", id="a").values("x") == [AT]


def test_bad_definitions_list_every_problem(store: fl.Store) -> None:
    with pytest.raises(fl.LoftError) as caught:
        store.publish({"entities": [{"name": "Bad Name", "keys": {"__proto__": "string"}}], "veiws": []})
    assert caught.value.status == 422
    assert len(caught.value.problems) >= 2


def test_a_frame_is_published_with_types_taken_from_it(store: fl.Store) -> None:
    frame = pl.DataFrame(
        {"city": ["Rome", "Oslo"], "at": [AT, AT], "temp": [21.5, None], "days": [1, 2], "tags": [["a"], []]}
    )
    published = store.publish_frame(
        "city_weather", frame, keys="city", event_timestamp="at", descriptions={"temp": "in °C"}, tags=["weather"]
    )
    assert published.rows["city_weather"].written == 2
    view = store.view("city_weather")
    assert {feature["name"]: feature["type"] for feature in view["features"]} == {
        "temp": "float64",
        "days": "int64",
        "tags": "list<string>",
    }
    found = store.online(["city_weather:temp", "city_weather:tags"], city=["Rome", "Oslo"])
    assert found.to_dict() == {"city": ["Rome", "Oslo"], "temp": [21.5, None], "tags": [["a"], []]}
    wider = frame.with_columns(wind=pl.lit(3.0)).rename({"at": "event_timestamp"})
    again = store.publish_frame(
        "city_weather", wider, entity="city_weather", descriptions={"temp": "in °C"}, tags=["weather"]
    )
    assert [change["class"] for change in again.changes] == ["additive"]
    with pytest.raises(fl.LoftError, match="lacks at; it has"):
        store.publish_frame("city_weather", wider, keys="city", event_timestamp="at")


def test_features_are_found_by_the_words_of_their_description(store: fl.Store) -> None:
    gusts = fl.Feature("gusts", "float64", "Speed of the zephyr in knots")
    store.publish(fl.View("searched", fl.Entity("searched", {"id": "string"}), [gusts], tags=["breeze"]))
    hits = store.search("zephyr")
    assert hits.refs == ["searched:gusts"]
    assert (hits[0].view, hits[0].type, hits.total) == ("searched", "float64", 1)
    assert hits.to_pandas()["ref"].tolist() == ["searched:gusts"]
    assert store.search("gusts", tag="breeze").refs == ["searched:gusts"]
    assert list(store.search("qqqqqqqq")) == []


DEFINITIONS = """
entities:
  - { name: station, keys: { station: string } }
views:
  - name: station_weather
    entity: station
    ttl: 30d
    source: { file: weather.csv, event_timestamp: at, created_timestamp: known, columns: { dew_point: dewp } }
    features:
      dew_point: { type: float64, rules: [{ range: [-100, 100], on: reject }] }
      wind: int32
"""


def test_a_definition_file_brings_its_data_and_brings_it_once(store: fl.Store, tmp_path: Path) -> None:
    (tmp_path / "station.features.yaml").write_text(DEFINITIONS, encoding="utf-8")
    (tmp_path / "weather.csv").write_text(
        "station,at,known,dewp,wind,unused\n"
        f"A,{AT:%Y-%m-%dT%H:%M:%S.%fZ},{AT:%Y-%m-%dT%H:%M:%S.%fZ},1.5,270,x\n"
        f"A,{AT - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ},{AT:%Y-%m-%dT%H:%M:%SZ},7,,x\n"
        f"B,{AT:%Y-%m-%dT%H:%M:%SZ},{AT:%Y-%m-%dT%H:%M:%SZ},,7,x\n",
        encoding="utf-8",
    )
    published = store.publish(tmp_path / "station.features.yaml")
    assert isinstance(published, fl.Published)
    dataset, rows = published.datasets["station_weather"], published.rows["station_weather"]
    assert (dataset.rows, rows.written, rows.superseded) == (3, 2, 1)
    assert store.online(["station_weather:dew_point", "station_weather:wind"], station=["A", "B"]).to_dict() == {
        "station": ["A", "B"],
        "dew_point": [1.5, None],
        "wind": [270, 7],
    }
    again = store.publish(tmp_path / "station.features.yaml")
    assert isinstance(again, fl.Published)
    assert (again.changes, dict(again.rows)) == ((), {})


def test_a_dataset_is_stored_by_version_and_read_back(store: fl.Store, tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "x": pa.array([2**53 + 1, None], pa.int64()), "t": pa.array([AT, None])})
    first = store.upload("kept", table)
    assert (first.version, first.rows) == (1, 2)
    file = tmp_path / "kept.csv"
    file.write_text("id,x\na,1\n", encoding="utf-8")
    assert store.upload("kept", file).version == 2
    assert store.dataset("kept").rows == 1
    old = store.dataset("kept", 1)
    assert old.sha256 == first.sha256
    assert old.to_arrow().to_pylist() == table.to_pylist()
    assert old.to_pandas()["x"].tolist() == [2**53 + 1, pd.NA]
    assert [dataset.name for dataset in store.datasets()].count("kept") == 1
    with pytest.raises(fl.LoftError) as caught:
        store.dataset("never_uploaded")
    assert caught.value.status == 404
    with pytest.raises(fl.LoftError, match=r"expected a file ending in \.csv"):
        store.upload("kept", tmp_path / "kept.xlsx")


def history(store: fl.Store, view: str) -> pa.Table:
    """Values of one entity at 1, 2 and 3 days before now; the newest was known only half a day later."""
    publish(store, view, {"x": "int64"}, ttl="36h")
    rows = [
        {"id": "a", "x": 3 - days, "event_timestamp": NOW - timedelta(days=days), "created_timestamp": NOW - known}
        for days, known in ((3, timedelta(days=3)), (2, timedelta(days=2)), (1, timedelta(hours=12)))
    ]
    store.push(view, rows)
    times = [
        NOW - timedelta(days=4),
        *(NOW - timedelta(days=days) for days in (3, 2, 1)),
        NOW - timedelta(hours=18),
        NOW,
    ]
    return pa.table({"id": ["a"] * 6, "event_timestamp": times, "late": [True, False] * 3})


def test_a_training_set_has_what_was_true_at_each_rows_time(store: fl.Store) -> None:
    spine = history(store, "true_then")
    made = store.training_set("true_then_set", spine=spine, features="true_then:x", labels=["late"])
    assert made.to_arrow()["x"].to_pylist() == [None, 0, 1, 2, 2, 2]
    assert made.to_arrow().select(["id", "event_timestamp", "late"]).to_pylist() == spine.to_pylist()
    known = store.training_set("known_then_set", spine=spine, features="true_then:x", labels=["late"], as_known_at=True)
    assert known.to_arrow()["x"].to_pylist() == [None, 0, 1, 1, 1, 2]
    assert known.id != made.id
    assert (made.labels, made.event_timestamp) == (["late"], "event_timestamp")
    assert made.features == ["true_then@v1:x"]


def test_the_same_inputs_give_the_same_training_set(store: fl.Store) -> None:
    spine = history(store, "repeated")
    first = store.training_set("repeated_set", spine=spine, features=["repeated:x"], labels="late")
    again = store.training_set("repeated_set", spine=spine, features=["repeated:x"], labels="late")
    assert (first.id, first.version) == (again.id, again.version)
    assert store.training_set("repeated_set").id == first.id
    assert store.training_set("repeated_set", first.version).files == first.files
    first.verify()
    assert "repeated_set" in [one.name for one in store.training_sets()]
    feast = store.get_historical_features(spine, ["repeated:x"])
    assert feast.to_df()["x"].tolist() == first.to_pandas()["x"].tolist()
    plan = store.plan_training_set("repeated_set", spine="repeated_set_spine", features=["repeated:x"])
    assert (plan.rows, list(plan.columns)) == (6, ["id", "event_timestamp", "late", "x"])


def test_a_flipped_byte_is_found_by_store_and_training_set(gateway: Gateway, store: fl.Store) -> None:
    made = store.training_set("flipped_set", spine=history(store, "flipped"), features=["flipped:x"])
    file = gateway.data / made.files[0].file
    whole = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    try:
        bad = store.verify()["bad"]
        assert [one["file"] for one in bad] == [made.files[0].file]
        assert {"name": "flipped_set", "version": made.version} in bad[0]["trainingSets"]
        with pytest.raises(fl.LoftError) as caught:
            made.verify()
        assert caught.value.code in ("training_set_changed", "file_changed")
    finally:
        file.write_bytes(whole)
    assert store.verify()["bad"] == []
    made.verify()


def test_a_model_is_trained_by_a_job(gateway: Gateway, store: fl.Store) -> None:
    random = np.random.default_rng(3)
    rows = 400
    publish(store, "learned", {"signal": "float64", "colour": "string"}, "int64")
    signal = random.normal(size=rows)
    ids = np.arange(rows)
    store.push(
        "learned",
        pl.DataFrame(
            {"id": ids, "signal": signal, "colour": ["red", "blue"] * (rows // 2), "event_timestamp": [AT] * rows}
        ),
    )
    spine = pl.DataFrame(
        {
            "id": ids,
            "event_timestamp": [AT + timedelta(minutes=int(minute)) for minute in ids],
            "late": signal + random.normal(size=rows) > 0,
        }
    )
    made = store.training_set(
        "learned_set", spine=spine, features=["learned:signal", "learned:colour"], labels=["late"]
    )
    told: list[float] = []
    job = store.train(made, test_fraction=0.3).wait(120, lambda job: told.append(job.progress))
    assert (job.state, job.metrics["metric"], job.metrics["baseline"]) == ("succeeded", "roc_auc", 0.5)
    assert job.metrics["score"] > 0.7
    assert job.metrics["testRows"] == 120
    assert job.metrics["trainingSetId"] == made.id
    assert told == sorted(told)
    model = joblib.load(job.path("model.joblib"))
    assert list(model.feature_names_in_) == job.metrics["features"]
    assert store.job(job.id).state == "succeeded"
    assert job.id in [one.id for one in store.jobs()]
    with pytest.raises(fl.LoftError, match="has no file"):
        job.path("none.txt")


def test_a_training_job_that_can_not_train_says_why(store: fl.Store) -> None:
    made = store.training_set(
        "hopeless_set", spine=history(store, "hopeless"), features=["hopeless:x"], labels=["late"]
    )
    with pytest.raises(fl.LoftError, match="training needs at least") as caught:
        store.train(made, "late").wait(60)
    assert caught.value.code == "job_failed"
    with pytest.raises(fl.LoftError) as caught:
        store.train("no_such_set")
    assert caught.value.status == 404


def test_a_wrong_token_is_told_before_a_large_body_is_taken(gateway: Gateway) -> None:
    """Without asking for proof, which a wrong token can never get."""
    connection = Connection(Address(gateway.url, "0" * 64), proven=True)
    with pytest.raises(fl.LoftError) as caught:
        connection.request("POST", "/v1/datasets/x", body=b"x\n" * 20_000_000, headers={"Content-Type": "text/csv"})
    connection.close()
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")


def test_several_threads_share_a_store(store: fl.Store) -> None:
    publish(store, "shared", {"x": "int64"}, "int64")
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(10):
            at = AT + timedelta(seconds=turn)
            store.push("shared", [{"id": number, "x": turn, "event_timestamp": at}])
            found = store.online("shared:x", id=number).values("x")
            if found != [turn]:
                wrong.append((number, turn, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.view("shared")["state"]["rows"] == 40


def test_health_tells_the_stores(store: fl.Store) -> None:
    health = store.health()
    assert health["status"] == "ok"
    assert health["stores"]["offline"]["state"] == "ok"
