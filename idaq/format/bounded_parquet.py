"""Untrusted Parquet files. A few kilobytes can claim gigabytes, so the claims are bounded before rows are read.

Snappy unpacks to 21 times its size at most, other codecs to any size. Run lengths and dictionaries repeat values at no
cost: rows are accepted as far as their digests, which differ, could take that place; texts are read as dictionaries
and measured before they are repeated. pyarrow itself refuses schemas nested more than 100 levels deep.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from idaq.core.errors import CorruptDatasetError

CODECS = ("SNAPPY", "UNCOMPRESSED")
LONGEST_TEXT = 64
"""bytes: those of a digest, and of the longest name of a behaviour"""
DIGEST_BYTES = 32
_ROW_BYTES, _ALLOWED_BYTES, _ALLOWED_ROWS = 1024, 1 << 20, 100_000


def read_table(path: Path, schema: pa.Schema, count: int, what: str, least: int) -> pa.Table:
    """The table of `count` rows and this schema, `what` the manifest counts, each of `least` bytes at least.

    Raises CorruptDatasetError for any other, before reading its rows.
    """
    texts = [field.name for field in schema if field.type == pa.string()]
    try:
        if path.stat().st_size > _ALLOWED_BYTES + _ROW_BYTES * count:
            raise CorruptDatasetError(f"{path} has {path.stat().st_size} bytes, too many for {count} rows")
        footer = pq.read_metadata(path)
        _check_footer(footer, path, count, what, least)
        if mismatch := _mismatch(footer.schema.to_arrow_schema(), schema):
            raise CorruptDatasetError(f"{path} has {mismatch}"[:600])
        with pq.ParquetFile(path, metadata=footer, read_dictionary=texts) as file:
            table = file.read(schema.names)
        for name in texts:
            chunks = [chunk.dictionary for chunk in table[name].chunks if pa.types.is_dictionary(chunk.type)]
            if any(_longest(chunk) > LONGEST_TEXT for chunk in chunks):
                raise CorruptDatasetError(f"{path}: column {name} holds texts of more than {LONGEST_TEXT} bytes")
            for chunk in chunks:
                chunk.validate(full=True)  # that it is UTF-8
            if any(map(_holds_nul, chunks)):
                raise CorruptDatasetError(f"{path}: column {name} holds NUL, which NumPy drops at a text's end")
        return table.cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptDatasetError(f"{path} is not a readable parquet file: {error}") from None


def _mismatch(found: pa.Schema, schema: pa.Schema) -> str:
    """What differs between columns; nothing if they are alike. A column without nulls may be declared either way."""
    if found.names != schema.names:
        return f"columns {found.names}, not {schema.names}"
    pairs = zip(found, schema, strict=True)
    return "; ".join(
        f"a column {here.name} of {here.type}, not {there.type}" for here, there in pairs if here.type != there.type
    )


def _check_footer(metadata: pq.FileMetaData, path: Path, count: int, what: str, least: int) -> None:
    """Check what the footer claims. Raises CorruptDatasetError."""
    size = path.stat().st_size
    groups = metadata.num_row_groups
    if metadata.num_rows != count:
        raise CorruptDatasetError(f"{path} has {metadata.num_rows} rows; the manifest counts {count} {what}")
    if count > max(_ALLOWED_ROWS, size // least) or groups > 1000 + count // 1000:
        raise CorruptDatasetError(f"{path} claims {count} rows in {groups} groups, in {size} bytes")
    for group in (metadata.row_group(number) for number in range(groups)):
        for column in (group.column(number) for number in range(group.num_columns)):
            place = f"{path}: column {column.path_in_schema[:80]!r}"
            if column.compression not in CODECS:
                raise CorruptDatasetError(f"{place} is packed by {column.compression}, not {' or '.join(CODECS)}")
            if not 0 <= column.total_uncompressed_size <= _ALLOWED_BYTES + _ROW_BYTES * count:
                raise CorruptDatasetError(f"{place} claims to unpack to {column.total_uncompressed_size} bytes")
            if column.num_values != group.num_rows:
                raise CorruptDatasetError(f"{place} has {column.num_values} values in {group.num_rows} rows")


def _longest(texts: pa.Array) -> int:
    """Bytes of the longest text."""
    return pc.call_function("max", [pc.call_function("binary_length", [texts])]).as_py() or 0


def _holds_nul(texts: pa.Array) -> bool:
    found = pc.call_function("match_substring", [texts], pc.MatchSubstringOptions("\0"))
    return bool(pc.call_function("any", [found]).as_py())
