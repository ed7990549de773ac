"""Renders labels as SQL: what happened after an exposure, whether it is final, and who is kept.

A label event belongs to an exposure at `t` if it has the exposure's id and
`t <= event_time < t + window`. The label's state depends on the label table's watermark at the pinned
snapshot, which already includes the lateness:

* `pending`: the watermark has not reached `t + window`, so an event may still arrive;
* `mature`: the watermark has reached it;
* `corrected`: the watermark has reached it, and the event that decides the label became known only
  at or after `mature_at = t + window + lateness`.

The deciding event of `exists` and of a column is the first by `(event_time, known_at, order)`; of
`count` it is the one that became known last. Without an event the value is 0.

A sample with a positive label, which is any other than 0, is kept with `keep_rate` 1. NaN and null
are not values of a label, so they are not positive (decision 0020). Any other sample, pending or
not, is kept if the hash of its id and the salt is below the rate. Every build decides the same, so a
sample never disappears; it can only appear, when a late event makes it positive.
"""

import hashlib
from decimal import Decimal

from headrace.engines.dialect import Dialect
from headrace.identifiers import quote, quote_text
from headrace.samples.resolve import ResolvedLabel

PENDING, MATURE, CORRECTED = "pending", "mature", "corrected"
HEX_DIGITS = 15  # 60 bits of MD5, compared as text of equal length, as every engine can
_TYPES = {"exists": "integer", "count": "bigint"}


def label_sql(
    label: ResolvedLabel,
    *,
    exposures: str,
    events: str,
    watermark_us: int | None,
    dialect: Dialect,
) -> str:
    """Render one row per exposure: `sample_id, value, at, state`.

    `exposures` is a relation with `sample_id` and `event_time`.
    """
    value = f"l.{quote(label.value)}" if label.has_column else "1"
    order = ", ".join(
        (
            "l.event_time",
            "l.known_at",
            *(f"l.{quote(name)} asc nulls first" for name in label.order),
        )
    )
    deciding = "last_known_at" if label.value == "count" else "known_at"
    shown, happened = dialect.epoch_us("e.event_time"), dialect.epoch_us("l.event_time")
    ends = f"{shown} + {label.window_us}"
    found = "n" if label.value == "count" else "f.value"
    value_or_0 = f"case when f.at is null then 0 else {found} end"
    if label.value in _TYPES:
        value_or_0 = f"cast({value_or_0} as {_TYPES[label.value]})"
    reached = "false" if watermark_us is None else f"{ends} <= {watermark_us}"
    return f"""with matched as (
  select e.sample_id, l.event_time as at, l.known_at, {value} as value,
    count(*) over (partition by e.sample_id) as n,
    max(l.known_at) over (partition by e.sample_id) as last_known_at,
    row_number() over (partition by e.sample_id order by {order}) as nth
  from {exposures} e join {events} l on l.{quote(label.key)} = e.sample_id
    and {happened} >= {shown} and {happened} < {ends}
), first as (select * from matched where nth = 1)
select e.sample_id, {value_or_0} as value, f.at,
  case when not {reached} then '{PENDING}'
    when {dialect.epoch_us(f"f.{deciding}")} >= {ends} + {label.lateness_us} then '{CORRECTED}'
    else '{MATURE}' end as state
from {exposures} e left join first f on f.sample_id = e.sample_id"""


def kept_sql(column: str, *, rate: Decimal, salt: str, dialect: Dialect) -> str:
    """Render the condition under which a negative is kept: `is_kept` in SQL."""
    threshold = threshold_of(rate)
    if threshold is None:
        return "true"
    hashed = dialect.md5_hex(f"{quote_text(salt + ':')} || cast({column} as varchar)")
    return f"substr({hashed}, 1, {HEX_DIGITS}) < {quote_text(threshold)}"


def is_kept(sample_id: str, *, rate: Decimal, salt: str) -> bool:
    """Decide whether a negative is kept, as `kept_sql` does."""
    threshold = threshold_of(rate)
    hashed = hashlib.md5(f"{salt}:{sample_id}".encode(), usedforsecurity=False).hexdigest()
    return threshold is None or hashed[:HEX_DIGITS] < threshold


def threshold_of(rate: Decimal) -> str | None:
    """Return the digits below which a hash is kept; None if all are."""
    limit = int(rate * 16**HEX_DIGITS)
    return None if limit >= 16**HEX_DIGITS else f"{limit:0{HEX_DIGITS}x}"
