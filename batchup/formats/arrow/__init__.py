"""Parquet files and Arrow's own, both read and written through pyarrow."""
