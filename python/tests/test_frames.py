"""Frames of every kind become the same Parquet, and come back as pandas without loss."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featureloft.errors import LoftError
from featureloft.frames import read_parquet, to_pandas, to_parquet, to_table

AT = datetime(2013, 1, 1, 5, 0, 0, 1, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"origin": "JFK", "temp": 39.02, "wind_dir": 270, "event_timestamp": AT},
    {"origin": "LGA", "temp": None, "wind_dir": None, "event_timestamp": AT},
]


def frames() -> list[Any]:
    table = pa.Table.from_pylist(ROWS)
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    return [
        pytest.param(table, id="arrow"),
        pytest.param(table.to_batches()[0], id="batch"),
        pytest.param(table.to_reader(), id="reader"),
        pytest.param(columns, id="mapping"),
        pytest.param(ROWS, id="rows"),
        pytest.param((row for row in ROWS), id="generator"),
        pytest.param(pl.DataFrame(ROWS), id="polars"),
        pytest.param(pl.DataFrame(ROWS).lazy(), id="lazy"),
        pytest.param(pd.DataFrame(ROWS).astype({"wind_dir": "Int64"}), id="pandas"),
        pytest.param(pd.DataFrame(ROWS).astype({"wind_dir": "Int64", "origin": "category"}), id="categories"),
        pytest.param(duckdb.from_arrow(table), id="duckdb"),
    ]


@pytest.mark.parametrize("frame", frames())
def test_every_kind_of_frame_becomes_the_same_rows(frame: Any) -> None:
    table = read_parquet(to_parquet(to_table(frame)))
    assert table.to_pylist() == ROWS
    assert table.schema.field("event_timestamp").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize("frame", ["x", 7, [1, 2], b"rows"])
def test_what_is_no_frame_is_refused(frame: Any) -> None:
    with pytest.raises(LoftError) as caught:
        to_table(frame)
    assert caught.value.code == "bad_frame"


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(LoftError, match="can't be read as columns"):
        to_table({"a": [1], "b": [1, 2]})


def test_nan_is_null_in_pandas_and_nan_elsewhere() -> None:
    assert to_table(pd.DataFrame({"x": [np.nan]}))["x"].to_pylist() == [None]
    assert to_table({"x": np.array([np.nan])})["x"].to_pylist() == [None]
    assert str(to_table(pl.DataFrame({"x": [float("nan")]}))["x"].to_pylist()) == "[nan]"


def test_times_are_utc_microseconds_or_refused() -> None:
    paris = pd.DataFrame({"t": pd.to_datetime(["2013-07-01T02:00:00"]).tz_localize("Europe/Paris").as_unit("ns")})
    assert read_parquet(to_parquet(to_table(paris)))["t"].to_pylist() == [datetime(2013, 7, 1, tzinfo=UTC)]
    with pytest.raises(LoftError, match=r"Column t: found a time without zone, .*tz_localize\('UTC'\)"):
        to_parquet(to_table(pd.DataFrame({"t": pd.to_datetime(["2013-07-01"])})))
    fine = pa.table({"t": pa.array([1], pa.timestamp("ns", "UTC"))})
    with pytest.raises(LoftError, match="digits below a microsecond"):
        to_parquet(fine)


def test_structs_become_json_text_and_columns_of_nulls_stay() -> None:
    table = read_parquet(to_parquet(pa.table({"s": [{"a": [1, None]}, None], "n": pa.nulls(2)})))
    assert table["s"].to_pylist() == ['{"a": [1, null]}', None]
    assert table["n"].to_pylist() == [None, None]


def test_a_pandas_index_is_left_out() -> None:
    frame = pd.DataFrame({"x": [1]}, index=pd.Index([7], name="id"))
    assert to_table(frame).column_names == ["x"]


def test_pandas_keeps_big_integers_that_stand_beside_nulls() -> None:
    table = pa.table(
        {
            "big": pa.array([2**53 + 1, None], pa.int64()),
            "flag": pa.array([True, None]),
            "whole": pa.array([1, 2], pa.int32()),
            "x": pa.array([0.5, None]),
            "t": pa.array(
                [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)], pa.timestamp("us", "UTC")
            ),
        }
    )
    frame = to_pandas(table)
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "boolean", "int32", "float64", "datetime64[us, UTC]"]
    assert frame["big"][0] == 2**53 + 1
    assert frame["big"][1] is pd.NA
    assert frame["t"].dt.year.tolist() == [1, 9999]
    exact = to_pandas(table, arrow_types=True)
    assert pa.Table.from_pandas(exact, preserve_index=False).replace_schema_metadata().equals(table)
