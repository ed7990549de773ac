"""Which source a contract gets."""

import pytest

from headrace.api import Lake
from headrace.definitions.base import Declaration
from headrace.errors import SourceError, UnknownSourceError
from headrace.ingest.sources.files import FileSource
from headrace.ingest.sources.open import open_source
from tests.ingest.factories import make_stream


class Pigeons(Declaration):
    """A kind of source that no version has."""


def test_a_contract_of_files_gets_the_files_of_the_data_folder(lake: Lake) -> None:
    source = open_source(make_stream("json"), lake.settings)
    assert isinstance(source, FileSource)
    assert str(lake.settings.data_dir) in (source.missing() or "")


def test_a_kind_of_source_that_there_is_not_is_refused_by_name(lake: Lake) -> None:
    stream = make_stream("json").model_copy(update={"source": Pigeons()})
    with pytest.raises(UnknownSourceError) as raised:
        open_source(stream, lake.settings)
    assert (raised.value.stream, raised.value.kind) == ("things", "Pigeons")
    assert isinstance(raised.value, SourceError)
