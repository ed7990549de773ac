"""Names become paths and SQL: nothing but plain identifiers may pass."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvalidNameError
from headrace.identifiers import TableName, quote, quote_text


@given(st.text())
def test_only_plain_identifiers_pass(text: str) -> None:
    plain = (
        0 < len(text) <= 63
        and text[0] in "abcdefghijklmnopqrstuvwxyz_"
        and all(c in "abcdefghijklmnopqrstuvwxyz_0123456789" for c in text)
    )
    if plain:
        assert str(TableName("raw", text)) == f"raw.{text}"
    else:
        with pytest.raises(InvalidNameError):
            TableName("raw", text)


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_a_quoted_literal_is_only_ever_a_value(text: str) -> None:
    row = duckdb.execute(f"select {quote_text(text)}").fetchone()
    assert row == (text,)


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_name_is_only_ever_a_name(text: str) -> None:
    result = duckdb.execute(f"select 1 as {quote(text)}")
    assert result.description[0][0] == text
