"""The exporter of Redis comes from the system: without it, the package to install is named."""

from pathlib import Path

import pytest

from infra.launcher.errors import MissingProgramError
from infra.launcher.redis_exporter import RedisExporter


def test_a_missing_exporter_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError) as caught:
        RedisExporter().check()
    assert caught.value.package == "Debian's prometheus-redis-exporter"
    assert caught.value.server == "redis_exporter"
    (tmp_path / "redis_exporter").touch(mode=0o755)
    RedisExporter().check()
