"""The root of the error tree, and what concerns settings and names."""


class LakeError(Exception):
    """Something a user of the lake can act on.

    The message says what happened and what to do; the attributes of a subclass hold the facts.
    `retryable` tells a caller whether running the same thing again can help; `remedy` is what to do,
    where it depends on what was found: the message then ends with it.
    """

    retryable = False
    remedy = ""

    @property
    def code(self) -> str:
        """What programs know this kind of error by."""
        return type(self).__name__


class SettingsError(LakeError):
    """A setting is missing or has a value that is not allowed."""


class DefinitionError(LakeError):
    """One or more declarations do not say something headrace understands."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class InvalidNameError(LakeError, ValueError):
    """A name is not a plain lower-case identifier."""

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        rule: str = "a lower-case letter or `_`, then up to 62 lower-case letters, digits or `_`",
    ) -> None:
        self.name, self.kind = name, kind
        super().__init__(f"`{name[:80]}` is not a valid {kind}: use {rule}")
