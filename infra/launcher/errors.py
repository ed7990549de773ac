"""Errors of the launcher; each message says what to do."""


class LauncherError(Exception):
    """The base of the errors that the launcher raises on purpose."""


class MissingProgramError(LauncherError):
    """A program that a server is fetched or built with is not installed."""

    def __init__(self, program: str, *, package: str, server: str) -> None:
        self.program, self.package, self.server = program, package, server
        super().__init__(
            f"`{server}` needs `{program}`, which is not installed: install the package {package}, "
            f"or leave the server out with `--without {server}`, or point at one that runs by setting "
            f"HEADRACE_{server.upper()}_URL"
        )


class WrongArtifactError(LauncherError):
    """A downloaded file is not the one that was pinned."""

    def __init__(self, name: str, *, expected: str, found: str) -> None:
        self.name, self.expected, self.found = name, expected, found
        super().__init__(f"`{name}` has checksum {found}, pinned is {expected}; it was removed")


class FetchFailedError(LauncherError):
    """A published package could not be fetched."""

    def __init__(self, name: str, *, command: str, output: str) -> None:
        self.name, self.command, self.output = name, command, output
        super().__init__(f"`{name}` could not be fetched by `{command}`: {output}")


class StartFailedError(LauncherError):
    """A server did not become healthy; it was stopped again."""

    def __init__(self, server: str, *, detail: str, log: str) -> None:
        self.server, self.detail, self.log = server, detail, log
        super().__init__(f"`{server}` did not start: {detail}; the end of its log ({log}) is above")


class ClusterBusyError(LauncherError):
    """Another launcher works on this cluster."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(f"another launcher is running in {folder}; wait until it ends")
