"""Why something is refused, as codes: stable, where the texts of errors are not."""

from enum import StrEnum, auto


class Reason(StrEnum):
    """A code of one kind of error, spelled like the name of its member: `UNKNOWN_COLUMN`.

    A message may be reworded, but a code is never renamed or reused: programs and tests rely on it.
    """

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name.lower().replace("_", "-")


class ColumnReason(Reason):
    """Why rows, a declaration or a change of columns or partitioning do not fit a table."""

    UNKNOWN_COLUMN = auto()
    DUPLICATE_COLUMN = auto()
    NAME_TAKEN = auto()
    RESERVED_NAME = auto()
    PARTITION_FIELD_NAME = auto()  # a column would have the name of a partition field
    OLDER_COLUMN_NAME = auto()  # files without field ids use the name for another column
    UNSUPPORTED_TYPE = auto()
    NOT_WIDER = auto()
    WRONG_TYPE = auto()
    WRONG_VALUE = auto()  # of the right type, but not in its range
    MIXED_TIME_ZONES = auto()
    NULL_VALUE = auto()
    NO_VALUE_IN_OLDER_ROWS = auto()
    OPTIONAL_TO_REQUIRED = auto()
    WAS_DROPPED = auto()
    WAS_RENAMED = auto()
    IN_USE = auto()  # something relies on the column: partitioning, sorting, deletes
    ROW_IDENTITY = auto()
    LAST_COLUMN = auto()
    NOT_A_STRUCT = auto()
    PART_OF_A_TYPE = auto()  # the element of a list, or the value of a map
    MAP_KEY = auto()
    NOT_A_SIBLING = auto()
    PARTITIONED_OTHERWISE = auto()
    PARTITION_TRANSFORM = auto()
    PARTITION_TERM_TWICE = auto()
    PARTITION_COLUMN_DROPPED = auto()


class UnsupportedReason(Reason):
    """Which feature of a table an operation does not handle."""

    FORMAT_VERSION = auto()
    DEFAULT_VALUE = auto()
    PROPERTY_VALUE = auto()
    FILE_FORMAT = auto()
    ENCRYPTED_FILE = auto()
    OTHER_STORE = auto()  # one that headrace has no access to
    OUTSIDE_THE_COPY = auto()
    NO_MANIFEST_LIST = auto()
    NO_CATALOG = auto()
    PARTITION_TRANSFORM = auto()
    PARTITION_TYPE_UNKNOWN = auto()
    PARTITION_COLUMN_LOST = auto()
    OLDER_SPEC = auto()  # a file of it may have rows of any partition of the current spec
    SPEC_CHANGED = auto()
    SCHEMA_MISMATCH = auto()
    SORT_COLUMN = auto()
    DELETE_FILES = auto()
    EQUALITY_DELETES_BESIDE_NULLS = auto()
    EQUALITY_DELETES_IN_ONE_PARTITION = auto()
    NAMES_DIFFER_IN_CASE = auto()
    UNMARKED_TEXT = auto()
    ENGINE_FAILED = auto()


class PaimonReason(Reason):
    """What a Paimon table has that the installed client is not known to read as Flink does."""

    CLIENT_VERSION = auto()
    OPTION = auto()
    MERGE_ENGINE = auto()
    FILE_FORMAT = auto()
    COLUMN_TYPE = auto()
    RESERVED_COLUMN = auto()
    BUCKETS = auto()
    UNMERGED_FILES = auto()  # rows that only a compaction makes visible
    NO_CHANGELOG = auto()
    OVERWRITTEN = auto()  # a commit that replaced rows without a changelog
    COMMIT_KIND = auto()
    KEY_ABSENT = auto()


class ConflictReason(Reason):
    """What another process changed below a commit, or what has the name of a new ref."""

    FILES_REPLACED = auto()
    FILE_REMOVED = auto()
    WRITE_LAPSED = auto()
    ROWS_DELETED = auto()
    ROWS_ADDED = auto()
    BASE_EXPIRED = auto()
    ROLLED_BACK = auto()
    REF_MOVED = auto()
    COLUMNS_CHANGED = auto()
    TABLE_CREATED = auto()
    TABLE_RECREATED = auto()
    BUILT_AGAIN = auto()
    OTHER_REPLAY = auto()
    REF_EXISTS = auto()
    REF_ELSEWHERE = auto()  # it points to another snapshot
    REF_OF_OTHER_KIND = auto()  # a tag and a branch


class CherryPickReason(Reason):
    """Why the commits of a branch, or one commit, cannot be added to another branch."""

    NOT_AN_APPEND = auto()
    MOVED_OFFSETS = auto()
    ROWS_ALREADY_THERE = auto()
    BASE_EXPIRED = auto()


class CleanupReason(Reason):
    """Why it is unknown which files a table needs."""

    TABLE_RECREATED = auto()
    OTHER_FORMAT = auto()
    FOLDER_UNREADABLE = auto()
    UPLOADS_UNKNOWN = auto()
    FILE_LOST = auto()
    OTHER_TABLE_UNREADABLE = auto()


class MergeKeyReason(Reason):
    """Why columns cannot be the key of a merge."""

    NOT_A_KEY = auto()  # no column, or one twice
    UNKNOWN_COLUMN = auto()
    COLUMN_NOT_GIVEN = auto()
    NO_EQUALITY = auto()
    DUPLICATE_ROWS = auto()


class ConditionReason(Reason):
    """Why a condition on rows cannot be used."""

    NOT_PARSED = auto()
    TOO_LONG = auto()
    TOO_DEEP = auto()
    UNKNOWN_COLUMN = auto()
    NO_PREFIX = auto()
    NEVER_NAN = auto()
    NOT_COMPARABLE = auto()


class PublishReason(Reason):
    """Why samples cannot become a dataset version."""

    NO_SAMPLES = auto()
    LABELS_PENDING = auto()
    NO_DAY_IN_RANGE = auto()
    BUILD_UNKNOWN = auto()
    OTHER_DEFINITION = auto()
    INPUT_EXPIRED = auto()
    NOT_PINNED = auto()


class DatasetReason(Reason):
    """What of a dataset version differs from its lockfile."""

    LOCKFILE_GONE = auto()
    LOCKFILE_EDITED = auto()
    FILE_PLAN_GONE = auto()
    FILE_PLAN_CHANGED = auto()
    SNAPSHOT_GONE = auto()
    TAG_GONE = auto()
    TAG_MOVED = auto()
    COLUMN_GONE = auto()
    INPUT_GONE = auto()
    UNREADABLE = auto()
    ROWS_CHANGED = auto()


class LockfileReason(Reason):
    """Why a lockfile cannot be read."""

    NOT_JSON = auto()
    FORMAT_VERSION = auto()
    WRONG_KEYS = auto()


class FileReason(Reason):
    """Why a sound data file does not fit the table that lists it."""

    NO_FIELD_ID = auto()
    REQUIRED_COLUMN_GONE = auto()
    OTHER_TYPE = auto()
    VALUE = auto()  # one that the type of today cannot hold


class MoveReason(Reason):
    """Why a lake is not moved to where another profile has its own."""

    SAME_LAKE = auto()
    OTHER_CATALOG = auto()  # of another program, which makes its tables itself
    OUTSIDE_WAREHOUSE = auto()
    TABLE_ONLY_THERE = auto()
    CHANGED_THERE = auto()
    CHANGED_MEANWHILE = auto()


class SettingReason(Reason):
    """What is wrong with a setting."""

    UNKNOWN = auto()
    MISSING = auto()
    NOT_ALLOWED = auto()  # a value that it cannot have
    SET_TWICE = auto()
    UNREADABLE = auto()  # a file that it names, or that holds it
    HOLDS_SECRET = auto()  # in a file that others read
    NEEDS_ANOTHER = auto()  # it is of use only with another one, or with another value of it


class FeatureSpecReason(Reason):
    """What of a feature spec does not fit."""

    NOT_A_LIST = auto()
    NAMED_TWICE = auto()
    NO_COLUMNS = auto()
    MISSING_UNUSED = auto()  # `missing` names a column that the spec does not read
    UNKNOWN_COLUMN = auto()
    WRONG_TYPE = auto()
    MIXED_TYPES = auto()
    NOT_GIVEN = auto()  # a request does not give a column of the exposure
    TOO_LARGE = auto()  # a number would be infinite in what a model reads


class VersionReason(Reason):
    """Why another version of a view is not served."""

    NO_NEXT = auto()
    NO_FORMER = auto()
    BEHIND = auto()  # the served one was published from a later moment
    MOVED = auto()  # the versions are not those of the plan
