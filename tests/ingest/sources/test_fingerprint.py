"""The fingerprint of a file's beginning: the same however it is read, another for another content."""

import io
import itertools

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.ingest.sources import fingerprint
from headrace.ingest.sources.fingerprint import Fingerprint

FULL, STRIDE, BLOCK = 64, 48, 8


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which little data passes every limit."""
    monkeypatch.setattr(fingerprint, "FULL_BYTES", FULL)
    monkeypatch.setattr(fingerprint, "STRIDE_BYTES", STRIDE)
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(fingerprint, "_READ_BYTES", 7)


def of(content: bytes, size: int | None = None) -> str:
    return str(Fingerprint.of(io.BytesIO(content), len(content) if size is None else size))


@pytest.mark.usefixtures("small")
@run_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.lists(st.integers(0, 400)), st.integers(0, 400))
def test_it_does_not_hang_on_how_the_bytes_came(
    content: bytes, cuts: list[int], resume: int
) -> None:
    resume = min(resume, len(content))
    handle = io.BytesIO(content)
    found = Fingerprint.of(handle, resume)
    assert handle.tell() == resume
    edges = [resume, *sorted(cut for cut in cuts if resume < cut < len(content)), len(content)]
    for start, end in itertools.pairwise(edges):
        found.update(memoryview(content)[start:end])
        assert str(found) == of(content, end)


@pytest.mark.usefixtures("small")
@run_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=400), st.data())
def test_another_content_has_another_one_wherever_bytes_count(
    content: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    other = bytearray(content)
    other[at] ^= 1
    counts = at < FULL or at % STRIDE < BLOCK or at >= len(content) - BLOCK
    assert (of(content) != of(bytes(other))) == counts
    assert of(content) != of(content[:at])
    assert of(content[:at], len(content)) != of(content)


def test_all_of_a_file_of_usual_size_counts() -> None:
    content = bytearray(3 * 1024 * 1024)
    before = of(bytes(content))
    content[2_000_000] = 1
    assert of(bytes(content)) != before
