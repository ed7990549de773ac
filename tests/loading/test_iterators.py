"""A loader has one iterator in one process, and says so: never a short epoch, never a row twice."""

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, IterableDataset

from headrace.datasets.files import FilePlan
from headrace.errors import CorruptFileError, EpochBrokenOffError, LoaderNotSharableError
from headrace.loading import Batch, FeatureSpec, SampleLoader
from tests.loading.factories import flat, numbers, write_plan

N = FeatureSpec(sparse=["n"])


@pytest.fixture
def plan(tmp_path: Path) -> FilePlan:
    return write_plan(tmp_path, [[10, 10], [10]])


@pytest.fixture(params=[0, 2])
def loader(plan: FilePlan, request: pytest.FixtureRequest) -> Iterator[SampleLoader]:
    with SampleLoader(plan, spec=N, batch_size=3, threads=request.param) as opened:
        yield opened


def test_an_iterator_whose_loader_is_iterated_again_raises(loader: SampleLoader) -> None:
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(EpochBrokenOffError):
        next(first)
    assert flat(numbers(list(second))) == list(range(30))
    with pytest.raises(EpochBrokenOffError):
        next(first)


def test_a_look_at_a_batch_within_the_loop_does_not_end_the_loop_quietly(
    loader: SampleLoader,
) -> None:
    with pytest.raises(EpochBrokenOffError):
        for _ in loader:
            next(iter(loader))
    with pytest.raises(EpochBrokenOffError):
        list(zip(loader, loader, strict=True))


@pytest.mark.parametrize(
    "stop",
    [
        SampleLoader.close,
        lambda loader: loader.set_epoch(7),
        lambda loader: loader.load_state_dict(loader.state_dict()),
    ],
)
def test_an_iterator_that_was_stopped_raises(
    loader: SampleLoader, stop: Callable[[SampleLoader], None]
) -> None:
    batches = iter(loader)
    next(batches)
    stop(loader)
    with pytest.raises(EpochBrokenOffError):
        next(batches)


def test_an_iterator_at_its_end_stays_there(loader: SampleLoader) -> None:
    batches = iter(loader)
    assert len(list(batches)) == 10
    next(iter(loader))
    loader.close()
    assert list(batches) == []


def test_after_an_error_an_iterator_is_not_at_its_end(plan: FilePlan) -> None:
    with SampleLoader(plan, spec=N, batch_size=3, threads=1) as loader:
        batches = iter(loader)
        next(batches)
        Path(plan.files[1].path).unlink()
        with pytest.raises(CorruptFileError) as refusal:
            list(batches)
        assert refusal.value.path == plan.files[1].path
        assert refusal.value.remedy
        with pytest.raises(EpochBrokenOffError):
            next(batches)


class Wrapped(IterableDataset[Batch]):
    """What a user writes to hand a loader to torch."""

    def __init__(self, loader: SampleLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


# Python 3.12 warns of any fork beside native threads; torch's workers are forked all the same
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_dataloader_may_iterate_it_but_not_in_workers(plan: FilePlan) -> None:
    with SampleLoader(plan, spec=N, batch_size=10, threads=0) as loader:
        alone = DataLoader(Wrapped(loader), batch_size=None)
        assert flat(numbers(list(alone))) == list(range(30))
        workers = DataLoader(Wrapped(loader), batch_size=None, num_workers=2)
        with pytest.raises(LoaderNotSharableError):
            list(workers)


@pytest.mark.parametrize("share", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_loader_is_not_copied(
    loader: SampleLoader, share: Callable[[SampleLoader], object]
) -> None:
    with pytest.raises(LoaderNotSharableError):
        share(loader)
