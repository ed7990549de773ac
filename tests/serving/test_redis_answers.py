"""Answers of a Redis server belong to their questions, and a server that gives none is left after the retries."""

import socket
import threading
from collections.abc import Iterator

import pytest
from redis.connection import Connection
from redis.exceptions import RedisError

from headrace.serving.redis_client import RedisClient

HELLO = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"
ASKED = [("state", "rows", ["[1]"])]


def client(port: int, *, answer_s: float = 5.0) -> RedisClient:
    return RedisClient(f"redis://127.0.0.1:{port}/0", prefix="p", answer_s=answer_s, retries=3)


def commands(connection: socket.socket) -> Iterator[list[bytes]]:
    """Read commands as the protocol has them."""
    opened = connection.makefile("rb")
    while line := opened.readline():
        parts = list[bytes]()
        for _ in range(int(line[1:])):
            length = int(opened.readline()[1:])
            parts.append(opened.read(length + 2)[:-2])
        yield parts


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def answer_all(listening: socket.socket) -> None:
    """Answer scripts by their number, and the first one twice, as late answers come."""
    count = 0
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            for command, *_ in commands(connection):
                if command != b"EVALSHA":
                    connection.sendall(HELLO if command == b"HELLO" else b"+OK\r\n")
                    continue
                count += 1
                late = b":-1\r\n" if count == 1 else b""
                connection.sendall(b":%d\r\n" % count + late)


def test_an_answer_that_nobody_read_is_not_the_next_one(listening: socket.socket) -> None:
    thread = threading.Thread(target=answer_all, args=(listening,))
    thread.start()
    server = client(listening.getsockname()[1])
    try:
        assert [server.read(ASKED) for _ in range(4)] == [1, 2, 3, 4]
    finally:
        server.close()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("kind", ["refuses", "is silent"])
def test_a_look_up_connects_no_more_often_than_any_command(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    connects: list[int] = []
    connect = Connection._connect  # pyright: ignore[reportPrivateUsage]  (to count them)

    def counted(self: Connection) -> socket.socket:
        connects.append(1)
        return connect(self)

    monkeypatch.setattr(Connection, "_connect", counted)
    port = listening.getsockname()[1]
    if kind == "refuses":
        listening.close()
    server = client(port, answer_s=0.05)
    counts = list[int]()
    for ask in (
        lambda: server.commands.get("key"),
        lambda: server.read(ASKED),
    ):
        connects.clear()
        with pytest.raises(RedisError):
            ask()
        counts.append(len(connects))
    server.close()
    assert counts[0] == counts[1] > 1
