"""Whether two tables spell a key in one type, so that no engine has to convert one to compare it."""

from collections.abc import Iterator

import pyarrow as pa

from headrace.tables.version import TableVersion


def key_type_problems(
    where: str, exposures: TableVersion, name: str, other: TableVersion, key: str
) -> Iterator[str]:
    """Yield that `key` of `other` is of another type than `name` of the exposures; neither if absent.

    An engine would compare text with numbers as numbers, and large integers as floats: `"01"` would be
    1, and 2^53 + 1 the same as 2^53. Integers of other widths are one type.
    """
    if name not in exposures.schema.names or key not in other.schema.names:
        return  # told elsewhere
    one, two = exposures.schema.field(name).type, other.schema.field(key).type
    if one != two and not (pa.types.is_integer(one) and pa.types.is_integer(two)):
        yield (
            f"{where}: `{name}` is {one} in `{exposures.name}`, but `{key}` is {two} in "
            f"`{other.name}`; cast one of them"
        )
