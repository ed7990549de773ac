"""Errors of the online store, of models that score, and of the feature server."""

from typing import Self

from headrace.errors.base import LakeError
from headrace.errors.reasons import VersionReason
from headrace.errors.remedy import Remedy
from headrace.errors.storage import DatabaseUnavailableError


class OnlineStoreError(LakeError):
    """The online store was written in a format this version does not read."""

    def __init__(self, path: str, *, found: int, allowed: int) -> None:
        self.path, self.found, self.allowed = path, found, allowed
        super().__init__(
            f"the online store `{path}` has format {found}, this version reads {allowed}",
            remedy=Remedy(advice="remove the file and publish the views again"),
        )


class OnlineStoreEvictsError(LakeError):
    """The online store's server throws rows away when its memory is full; nothing was published."""

    def __init__(self, server: str, *, policy: str) -> None:
        self.server, self.policy = server, policy
        super().__init__(
            f"the online store at `{server}` deletes rows when its memory is full (`{policy}`), and "
            "look-ups would find entities missing",
            state="nothing was published",
            remedy=Remedy(
                advice="set `maxmemory-policy noeviction` on the server, then publish again"
            ),
        )


class OnlineStoreFullError(DatabaseUnavailableError):
    """The online store's server has no memory left; the state of the view is as it was."""

    def __init__(self, server: str, detail: str) -> None:
        self.database, self.server, self.detail = "online store", server, detail
        LakeError.__init__(
            self,
            f"the online store at `{server}` has no memory left: {detail}",
            state="the published state is as it was, and publishing again completes it",
            remedy=Remedy(advice="raise `maxmemory` or drop views there, then publish again"),
        )


class NotAFeatureViewError(LakeError):
    """The table does not say that it is a feature view, or the view is not published online."""

    def __init__(
        self, table: str, detail: str, *, column: str | None = None, remedy: Remedy | None = None
    ) -> None:
        self.table, self.detail, self.column = (
            table,
            detail,
            column,
        )  # the column that is missing, if one is
        super().__init__(f"`{table}` cannot be served: {detail}", remedy=remedy)

    @classmethod
    def unpublished(cls, view: str) -> Self:
        """Say that the online store does not have a view, or this version of it, and what it has."""
        name, _, version = view.partition("@")
        if version:
            remedy = Remedy.run("online", "versions", name)
            return cls(view, "this online store has no such version", remedy=remedy)
        return cls(
            view,
            "it was never published to this online store",
            remedy=Remedy(
                command=("online", "publish", view),
                otherwise=(Remedy.run("online", "status", advice="see which views are there"),),
            ),
        )


class UnservableColumnError(LakeError):
    """A column of a feature view has a type that the online store does not keep."""

    def __init__(self, view: str, column: str, *, kind: str, allowed: str) -> None:
        self.view, self.column, self.kind, self.allowed = view, column, kind, allowed
        super().__init__(
            f"`{view}` was not published: column `{column}` is of type {kind}, and {allowed}",
            state="the store is as it was",
            remedy=Remedy(advice="leave the column out of the view, or give it such a type"),
        )


class EntityKeyError(LakeError, ValueError):
    """An entity is looked up by a value that is not exactly one of its column's type."""

    def __init__(self, view: str, column: str, *, detail: str) -> None:
        self.view, self.column, self.detail = view, column, detail
        super().__init__(f"`{view}` is looked up by `{column}`, {detail}")


class PublicationOvertakenError(LakeError):
    """Another publication of a view came between, again and again."""

    retryable = True

    def __init__(self, view: str) -> None:
        self.view = view
        super().__init__(
            f"`{view}` was not published: other publications of it came first each time",
            state="the store holds what they wrote",
            remedy=Remedy(advice="publish again"),
        )


class VersionNotReadyError(LakeError):
    """Another version of a view was to be served, and there is none that can be."""

    def __init__(self, view: str, *, reason: VersionReason) -> None:
        self.view, self.reason = view, reason
        detail, remedy = {
            VersionReason.NO_NEXT: (
                "there is no next version of it",
                Remedy.run("online", "publish", view, "--beside"),
            ),
            VersionReason.NO_FORMER: (
                "there is no version that was served before",
                Remedy.run("online", "versions", view),
            ),
            VersionReason.BEHIND: (
                "its next version was published as of an earlier moment than the served one",
                Remedy.run("online", "publish", view, "--beside"),
            ),
            VersionReason.MOVED: (
                "its versions were moved or defined otherwise since the plan was made",
                Remedy.run("online", "versions", view),
            ),
        }[reason]
        super().__init__(
            f"no other version of `{view}` is served: {detail}",
            state="the versions are as they were",
            remedy=remedy,
        )


class OnlineStoreClusterError(LakeError):
    """The online store's server is a node of a Redis Cluster, where views cannot be read together."""

    def __init__(self, server: str) -> None:
        self.server = server
        super().__init__(
            f"the Redis at `{server}` is a node of a cluster: a request reads several views at one "
            "moment, and the nodes of a cluster have none in common",
            state="nothing was written",
            remedy=Remedy(
                advice="use one Redis server, with replicas for failover; each lake or group of "
                "views may have its own"
            ),
        )


class ModelNotLoadedError(LakeError):
    """The server was asked for a score and has no model."""

    def __init__(self) -> None:
        super().__init__("the server has no model", remedy=Remedy.run("serve", "--model", "FOLDER"))


class ServerAddressError(LakeError):
    """A server was to listen where other hosts reach it, and asks nobody for a token."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"`{host}` can be reached from other hosts, and no token is asked for",
            state="nothing was started",
            remedy=Remedy.run(
                "serve",
                "--token-file",
                "FILE",
                advice="listen on 127.0.0.1, or name a file that holds a token",
            ),
        )


class ServerPortError(LakeError):
    """A server cannot listen on a port."""

    def __init__(self, host: str, port: int, *, detail: str) -> None:
        self.host, self.port, self.detail = host, port, detail
        super().__init__(
            f"port {port} of `{host}` cannot be listened on: {detail}",
            state="nothing was started",
            remedy=Remedy(advice="name another one by `--port`, or end the program that has it"),
        )


class ServingLogError(LakeError):
    """A stream was named for the serving log and its contract is not one of a log."""

    def __init__(self, stream: str, *, lacks: str) -> None:
        self.stream, self.lacks = stream, lacks
        super().__init__(
            f"the stream `{stream}` cannot be the serving log: its contract lacks {lacks}",
            state="nothing was started",
            remedy=Remedy(advice="declare it as docs/serving.md shows"),
        )


class OverloadedError(LakeError):
    """The server has as many requests as it takes; this one was not begun."""

    retryable = True

    def __init__(self, *, begun_max: int) -> None:
        self.begun_max = begun_max
        super().__init__(
            f"the server works on {begun_max} requests, and takes no more",
            state="nothing was begun",
            remedy=Remedy(advice="ask again a moment later"),
        )


class DeadlineError(LakeError):
    """A request was not answered in its time."""

    retryable = True

    def __init__(self, *, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        super().__init__(
            f"there was no answer within {deadline_s:g} s",
            remedy=Remedy(advice="ask for fewer rows, or allow more time"),
        )


class ModelFilesError(LakeError):
    """An exported model cannot be used: a file of it is missing, damaged or of another model."""

    def __init__(self, folder: str, detail: str) -> None:
        self.folder, self.detail = folder, detail
        super().__init__(
            f"the model in `{folder}` cannot be used: {detail}",
            remedy=Remedy(advice="export it again"),
        )


class ModelMismatchError(LakeError):
    """A model was trained on features that are published otherwise now, so it is not scored."""

    def __init__(self, model: str, view: str, detail: str) -> None:
        self.model, self.view, self.detail = model, view, detail
        super().__init__(
            f"the model `{model}` cannot score what `{view}` holds now: {detail}",
            remedy=Remedy(
                advice="train a model on a version of today's definition, or publish the view as the "
                "model knows it"
            ),
        )


class ServerAnswerError(LakeError):
    """The feature server refused a request, or could not be reached.

    `status` is that of HTTP, None without an answer; `kind` is the code of the server's own error.
    """

    def __init__(
        self,
        url: str,
        detail: str,
        *,
        status: int | None = None,
        kind: str = "",
        remedy: str | None = None,
    ) -> None:
        self.url, self.detail, self.status, self.kind = url, detail, status, kind
        self.retryable = status in (None, 408, 503, 504)
        answered = "did not answer" if status is None else f"answered {status} ({kind})"
        again = "ask again a moment later; `/readyz` says whether the server can answer"
        usual = again if self.retryable else "change the request as the answer says"
        super().__init__(
            f"the feature server at `{url}` {answered}: {detail}",
            remedy=Remedy(advice=remedy or usual),
        )
