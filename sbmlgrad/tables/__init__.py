"""Tables of measurements in, tables of results out."""

from sbmlgrad.tables.measurements import Measurements, Series, match, read_measurements, write_table

__all__ = ["Measurements", "Series", "match", "read_measurements", "write_table"]
