"""Decimals are held exactly or not at all."""

from decimal import Decimal

import pytest

from headrace.decimals import rescaled


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (7, "7.00"),
        ("1.5", "1.50"),
        ("1.500", "1.50"),
        ("-0.01", "-0.01"),
        ("1e3", "1000.00"),
        ("9999999.99", "9999999.99"),
        ("-0", "0.00"),
        ("-0.000", "0.00"),
        ("1.005", None),
        ("10000000", None),
        ("1e70", None),
        ("1e999999", None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
    ],
)
def test_a_decimal_gets_another_scale_only_where_it_stays_the_same_number(
    value: int | str, found: str | None
) -> None:
    held = rescaled(Decimal(value), precision=9, scale=2)
    assert (held if held is None else str(held)) == found


def test_all_digits_of_a_column_are_compared() -> None:
    digits = "1234567890" * 3 + "12345678"
    assert rescaled(int(digits), precision=38, scale=0) == Decimal(digits)
    assert rescaled(Decimal(f"{digits[:-2]}.{digits[-2:]}1"), precision=38, scale=2) is None
