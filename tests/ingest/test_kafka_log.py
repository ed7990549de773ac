"""What Kafka's client says again and again is passed on once a minute."""

import logging

import pytest

from headrace.ingest.sources.kafka_log import Once

_DOWN = "127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused"


def test_a_text_is_passed_on_once_a_minute_and_another_one_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = [0.0]
    once = Once(now_s=lambda: now_s[0])

    def say(text: str, *, client: str = "producer-1", took_ms: int = 0) -> None:
        name = f"headrace#{client}] [thrd:127.0.0.1:9092/bootstrap"
        said = f"{text} (after {took_ms}ms in state CONNECT)"
        once.log(logging.ERROR, "%s [%s]: %s", "FAIL", name, said)

    with caplog.at_level(logging.ERROR):
        say(_DOWN)
        say(_DOWN, client="producer-2", took_ms=7)
        say("authentication failed")
        assert len(caplog.records) == 2
        now_s[0] = 59.0
        say(_DOWN)
        assert len(caplog.records) == 2
        now_s[0] = 60.0
        say(_DOWN)
        assert len(caplog.records) == 3
    assert _DOWN in caplog.text
