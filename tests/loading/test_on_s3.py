"""The loader on S3: the batches of a local disk, in few requests."""

import numpy as np
import pytest

from headrace.api import Lake
from headrace.datasets.files import FilePlan
from headrace.loading import SampleLoader
from headrace.model_inputs.spec import FeatureSpec
from tests.loading.wide_table import NAMES, ROW_GROUPS, filled
from tests.s3 import S3Place
from tests.s3_proxy import fault_proxy

SPEC = FeatureSpec(dense=NAMES[:50], sparse=NAMES[50:])


def batches_of(plan: FilePlan) -> list[np.ndarray]:
    with SampleLoader(plan, spec=SPEC, batch_size=100, threads=2) as loader:
        return [batch.dense.numpy() for batch in loader]


def test_batches_are_those_of_a_local_disk_in_few_requests(
    s3: S3Place, lake: Lake, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = batches_of(filled(lake))
    with fault_proxy(s3.endpoint) as proxy:
        state = tmp_path_factory.mktemp("on_s3")
        with Lake.open(s3.at(proxy.address).settings(state)) as remote:
            plan = filled(remote)
            assert sum(file.bytes for file in plan.files) > 1024**2
            assert sum(len(file.row_group_rows) for file in plan.files) == ROW_GROUPS
            proxy.requests.clear()
            found = batches_of(plan)
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    # per row group a look and one read of its columns, 1,800 without coalescing; and the footer
    assert proxy.count("GET") <= ROW_GROUPS + 6
    assert proxy.count("HEAD") <= ROW_GROUPS + 6
