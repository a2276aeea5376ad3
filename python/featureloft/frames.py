"""Between data frames of any kind and the Arrow tables and Parquet files that travel. Needs no pandas, no polars."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import LoftError
from .value_types import UTC_MICROSECONDS, bad_column, type_of_arrow

if TYPE_CHECKING:
    import pandas as pd

TIMES = ("event_timestamp", "created_timestamp")


def to_table(data: Any) -> pa.Table:
    """An Arrow table of a pandas, polars, DuckDB or Arrow frame, of a mapping of columns, or of rows as mappings.

    pandas' NaN and NaT become nulls, as pandas means them; its index is left out. NaN in Arrow and polars stays NaN.
    Raises LoftError `bad_frame` when it is none of these, or a column can't be an Arrow column.
    """
    try:
        if isinstance(data, pa.Table):
            return data
        if isinstance(data, (pa.RecordBatch, pa.RecordBatchReader)):
            return pa.table(data) if isinstance(data, pa.RecordBatch) else data.read_all()
        if is_pandas(data):
            return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata()
        if isinstance(data, Mapping):
            return pa.table({str(name): _column(values) for name, values in data.items()})
        if hasattr(data, "collect") and hasattr(data, "lazy"):  # a polars LazyFrame
            data = data.collect()
        for method in ("to_arrow", "to_arrow_table", "fetch_arrow_table"):
            if hasattr(data, method):
                found = getattr(data, method)()
                return found if isinstance(found, pa.Table) else found.read_all()
        if hasattr(data, "__arrow_c_stream__"):
            return pa.table(data)
        if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
            return _table_of_rows(list(data))
    except (pa.ArrowException, OverflowError) as error:
        raise LoftError("bad_frame", f"The frame can't be read as columns: {error}") from None
    expected = "a pandas, polars or Arrow frame, a mapping of columns, or a list of rows"
    raise LoftError("bad_frame", f"Found a {type(data).__name__}, expected {expected}.")


def is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns")


def _column(values: Any) -> Any:
    return (
        values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, from_pandas=_is_array(values))
    )


def _is_array(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] in ("numpy", "pandas")


def _table_of_rows(rows: list[Any]) -> pa.Table:
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise LoftError(
                "bad_frame", f"Row {position} is a {type(row).__name__}, expected a mapping of column to value."
            )
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def to_parquet(table: pa.Table) -> bytes:
    """The table as one Parquet file that the gateway reads without loss.

    Times become UTC microseconds, structs and maps JSON text. Raises LoftError `bad_column` for a time without zone,
    digits below a microsecond, or a column that the store has no type for.
    """
    table = table.combine_chunks()
    columns = [_for_the_store(name, table.column(name)) for name in table.column_names]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=table.column_names), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def _for_the_store(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _for_the_store(name, column.cast(kind.value_type))
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    target = type_of_arrow(kind, name)
    if target == "json" and not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if target == "timestamp":
        return _microseconds(name, column)
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    return column


def _microseconds(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(UTC_MICROSECONDS)
    except pa.ArrowInvalid:
        raise bad_column(name, "digits below a microsecond", "times rounded to microseconds") from None


def read_parquet(data: bytes) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise LoftError("bad_answer", f"The gateway's Parquet can't be read: {error}") from None


def to_pandas(table: pa.Table, arrow_types: bool = False) -> pd.DataFrame:
    """A pandas frame of the table.

    Integers and booleans with nulls take pandas' nullable types (Int64, boolean), never floats; in float columns a null
    is NaN, as pandas has it. With `arrow_types` every column keeps its Arrow type, and nulls differ from NaN.
    """
    pd = need("pandas")
    if arrow_types:
        return table.to_pandas(types_mapper=pd.ArrowDtype)
    frame = table.to_pandas(ignore_metadata=True)
    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    holed = [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.null_count and column.type in nullable
    ]
    if holed:
        exact = table.select(holed).to_pandas(types_mapper=nullable.get)
        for name in holed:
            frame[name] = exact[name]
    return frame


def need(module: str) -> Any:
    """Imports an optional package. Raises LoftError `missing_package` that says how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise LoftError("missing_package", f"This needs {module}: pip install 'featureloft[{module}]'.") from None
