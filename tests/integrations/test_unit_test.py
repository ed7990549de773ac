"""The given rows of a unit test, taken out of what dbt compiled."""

import pytest

from headrace.errors import FeatureBuildError
from headrace.integrations.unit_test import without_steps

GIVEN = (" __dbt__cte__a as (\nselect 1 as n\n)", " __dbt__cte__b as (\nselect 2 as n\n)")
JOINED = ", ".join(GIVEN)


@pytest.mark.parametrize(
    ("compiled", "model"),
    [
        (f"with {JOINED}, own as (select 1) select * from own", "with own as (select 1) select *"),
        (f"with {JOINED} select n from __dbt__cte__a", "select n from __dbt__cte__a"),
    ],
)
def test_the_model_is_left_as_it_was_written(compiled: str, model: str) -> None:
    assert " ".join(without_steps(compiled, GIVEN).split()).startswith(model)


def test_a_model_without_inputs_is_left_alone() -> None:
    assert without_steps("select 1 as n", ()) == "select 1 as n"


def test_steps_that_are_not_there_are_an_error() -> None:
    with pytest.raises(FeatureBuildError) as raised:
        without_steps("select 1 as n", GIVEN)
    assert len(raised.value.failures) == 1
