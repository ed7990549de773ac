"""One example of every error, for the catalogue of what users read."""

from headrace import errors

_TABLE, _FILE = "raw.events", "/lake/warehouse/raw/events/data/1.parquet"

EXAMPLES: tuple[errors.LakeError, ...] = (
    errors.FlinkCannotError("clicks", "lists of `double`", field="scores"),
    errors.FlinkCannotReachError(
        "features.recent",
        "its tables are in a catalog that is not on PostgreSQL",
        advice="use a profile whose catalog is",
    ),
    errors.FlinkCannotSamplesError(
        "ctr", "a look-up of features as they were then", key="features"
    ),
    errors.FlinkCannotViewError(
        "features.recent", "an interval of Flink has at most 999 days", key="aggregates"
    ),
    errors.FlinkJobLostError(
        "clicks", job="headrace clicks epoch 3", found="the JobManager does not know it"
    ),
    errors.FlinkJobUnwellError(
        "clicks",
        job="headrace clicks epoch 3",
        faults={"restarts": "4 times in ten minutes, at last because of java.io.IOException"},
    ),
    errors.FlinkPythonMissingError(
        "features.recent", python="", command=("flink", "submit", "features.recent")
    ),
    errors.CommitsExpiredError("clicks", table="raw.clicks"),
    errors.FlinkRefusedError("POST /v3/sessions", "ValidationException: no such table"),
    errors.FlinkStopError("clicks", job="headrace clicks epoch 3", detail="its state is FAILED"),
    errors.FlinkUnavailableError("http://127.0.0.1:8081", "connection refused"),
    errors.HandoverError("clicks", "an ingester was interrupted"),
    errors.FollowedTableChangedError("features.clicks", what="`n` of `raw.clicks` is `long`"),
    errors.JobChangedError("clicks", expected="0a1b", found="2c3d"),
    errors.JobFailsAgainError(
        "clicks",
        job="headrace clicks epoch 3",
        times=5,
        root="java.net.ConnectException: Connection refused",
    ),
    errors.JobNotStartedError("clicks", epoch=3),
    errors.JobStartsError("clicks"),
    errors.JobRunsError("clicks", job="headrace clicks epoch 3", job_id="0a1b2c"),
    errors.NoCheckpointError("clicks", folder="s3://lake/flink/checkpoints"),
    errors.NothingToFollowError("features.recent", table="raw.clicks"),
    errors.OldCheckpointError("clicks", checkpoint=7, committed=9),
    errors.RecordsMissingError("clicks", ranges=("clicks:120",)),
    errors.StreamOwnedError("clicks", owner="flink", epoch=3, wanted="headrace"),
    errors.TwoOwnersError("clicks", owner="headrace", others=("headrace clicks epoch 3",)),
    errors.UndeclaredJobError("clicks", table="raw.clicks", jobs=("headrace clicks epoch 3",)),
    errors.AlreadyPublishedError(_TABLE, "what snapshot 11 added", snapshot_id=12),
    errors.AlterRefusedError(
        _TABLE,
        "`day` partitions it and cannot be dropped",
        reason=errors.ColumnReason.IN_USE,
        column="day",
    ),
    errors.AuditFailedError(_TABLE, "trial", ("rows: 12 have no `user_id`",)),
    errors.BranchDivergedError(
        _TABLE,
        "trial",
        "commit 11 is of kind `overwrite`, and only appends can be cherry-picked",
        reason=errors.CherryPickReason.NOT_AN_APPEND,
    ),
    errors.CatalogBusyError(_TABLE, attempts=8),
    errors.CatalogUnavailableError("theirs", "no answer from postgresql://me:word@db/lake"),
    errors.CleanupRefusedError(
        _TABLE,
        "`_delta_log` shows that another format shares its folder",
        reason=errors.CleanupReason.OTHER_FORMAT,
        path="/lake/warehouse/raw/events/_delta_log",
    ),
    errors.CleanupTooYoungError(
        _TABLE, asked_s=3600.0, floor_s=259_200.0, setting="cleanup_age_hours"
    ),
    errors.ColumnsUnclearError("price", path=_FILE),
    errors.CommitConflictError(
        _TABLE,
        f"`{_FILE}` was already replaced",
        reason=errors.ConflictReason.FILES_REPLACED,
        path=_FILE,
    ),
    errors.DatabaseDeniedError("catalog", "permission denied for table iceberg_tables"),
    errors.LakeOnServersError("postgresql://me:***@there:5432/lake", what="recover"),
    errors.NotDeclaredError("stream", "click", known=("clicks", "impressions")),
    errors.PooledSessionsError("postgresql://me:***@there:6432/lake"),
    errors.WriteLapsedError(_TABLE, "0" * 32),
    errors.CommitOutcomeUnknownError(_TABLE, 11),
    errors.ConditionError(
        _TABLE, "it cannot be parsed at character 7", reason=errors.ConditionReason.NOT_PARSED
    ),
    errors.ContentTypeError("tags", "map<string, string>", allowed="a type without maps"),
    errors.ContractError(
        _TABLE,
        "`name` is optional and cannot become required",
        reason=errors.ColumnReason.OPTIONAL_TO_REQUIRED,
        column="name",
    ),
    errors.CorruptFileError(_FILE, "it does not end as a Parquet file does"),
    errors.DatabaseDamagedError("catalog", "file is not a database", path="/lake/catalog.db"),
    errors.DatabaseUnavailableError("registry", "database is locked"),
    errors.DatasetChangedError(
        "ctr",
        1,
        "its file plan `/lake/ctr-v1.arrow` is gone",
        reason=errors.DatasetReason.FILE_PLAN_GONE,
    ),
    errors.DatasetNotFoundError("ctr", 7, known=("`ctr` v1",)),
    errors.DefinitionError(("streams/clicks.yml: `fields` is missing",)),
    errors.DuplicateExposureError("raw.views", day="2026-03-01", example="v-1", ids=3),
    errors.DuplicateKeyError(_TABLE, example="user_id=1", keys=2),
    errors.EngineUnavailableError(
        "https://trino:8443", "connection refused", query_id="20261129_1_abcde"
    ),
    errors.EntityKeyError("features.users", "user_id", detail="an integer, not `'1'`"),
    errors.EpochBrokenOffError("it ended with KeyError"),
    errors.FeatureBuildError(("model `users` failed: division by zero",)),
    errors.FeatureSpecError("the spec names no column", reason=errors.FeatureSpecReason.NO_COLUMNS),
    errors.FencedError(_TABLE, expected="{'a.jsonl': 10}", found="{'a.jsonl': 20}"),
    errors.FolderNotEmptyError("/lake"),
    errors.GarbageKeptError(_TABLE, refused="expiry of snapshots"),
    errors.IngestAuditError("clicks", findings=("clicks:3 2 offsets missing",)),
    errors.InvalidNameError("My Db", kind="table name"),
    errors.LakeError("what happened"),
    errors.LakeIncompleteError("/lake/catalog.db", warehouse="/lake/warehouse"),
    errors.LakeMoveError(
        "cluster", reason=errors.MoveReason.CHANGED_THERE, table="raw.impressions"
    ),
    errors.LakeNotFoundError("/lake"),
    errors.LeakError("ctr", rows=2, detail="`views__known_at` of sample `s-1` is not before it"),
    errors.LeaseLapsedError(_TABLE, "3f2a", snapshot_id=11),
    errors.LoaderNotSharableError("in a DataLoader with 2 workers"),
    errors.LoaderStateError("order", saved="seed 1", found="seed 2"),
    errors.MetricsPortError(9464, "Address already in use"),
    errors.LockfileError(
        "ctr-v1.lock.json",
        "it is not the JSON of a lockfile",
        reason=errors.LockfileReason.NOT_JSON,
    ),
    errors.MergeKeyError(
        _TABLE,
        "they have no column `item`, which is part of the key",
        reason=errors.MergeKeyReason.COLUMN_NOT_GIVEN,
        column="item",
    ),
    errors.ModelColumnsError("marts.items", added=("price",), removed=(), retyped=("at",)),
    errors.ModelNotCommittedError("items", "a seed is not kept"),
    errors.ModelRowsError("marts.items", "2 rows have the same `unique_key`"),
    errors.ModelTypeError("marts.items", "at", "it is string in the table and date in the model"),
    errors.ModelValueError("marts.items", "at", "infinity", row="item=1"),
    errors.NotAFeatureViewError.unpublished("features.none"),
    errors.NotAFeatureViewError.unpublished("features.items@former"),
    errors.NotAFeatureViewError("raw.items", "it has no property `headrace.feature_view`"),
    errors.NotAMatrixError(3, values=63, width=64),
    errors.NotARegistryError("postgresql://me:word@db/other", table="orders"),
    errors.NotAnAncestorError(_TABLE, ancestor="snapshot 11", descendant="`main`"),
    errors.NullKnownAtError("features.users", rows=3, columns=("known_at",)),
    errors.NullValueError("clicked", rows=1, path=_FILE),
    errors.OffsetsUnknownError(_TABLE, "`headrace.offsets.clicks` is not what its commits say"),
    errors.OnlineStoreClusterError("localhost:6379"),
    errors.OnlineStoreError("/lake/online.db", found=1, allowed=2),
    errors.ModelFilesError("/models/feed", "`model.onnx` cannot be read: No such file"),
    errors.ModelMismatchError(
        "feed-v3-0a1b", "features.items", "its delay is 2:00:00, was 0:00:00"
    ),
    errors.ModelNotExportedError("for 7 random rows the graph is off by up to 0.5"),
    errors.ModelNotLoadedError(),
    errors.DraftError("data/a.csv", detail="it is gzip data, which cannot be read so far"),
    errors.ServingLogError("served", lacks="the field `values`"),
    errors.OverloadedError(begun_max=64),
    errors.DeadlineError(deadline_s=0.5),
    errors.ServerAddressError("0.0.0.0"),
    errors.ServerPortError("127.0.0.1", 8200, detail="Address already in use"),
    errors.ServerAnswerError(
        "http://127.0.0.1:8200", "row 0 does not give `position`", status=422, kind="feature-spec"
    ),
    errors.ServerAnswerError("http://127.0.0.1:8200", "connection refused"),
    errors.OnlineStoreEvictsError("127.0.0.1:6379", policy="allkeys-lru"),
    errors.OnlineStoreFullError("127.0.0.1:6379", "OOM command not allowed"),
    errors.CherryPickRefusedError(
        _TABLE,
        11,
        "commit 11 moved source offsets, which are valid on its branch only",
        reason=errors.CherryPickReason.MOVED_OFFSETS,
    ),
    errors.ProtectedRefError(_TABLE, "main", "it is the table"),
    errors.PublicationOvertakenError("features.users"),
    errors.PublishRefusedError(
        "ctr", "there are no samples yet", reason=errors.PublishReason.NO_SAMPLES
    ),
    errors.QueryCancelledError(),
    errors.QueryFailedError(
        "line 1:8: Column 'x' cannot be resolved",
        reason="COLUMN_NOT_FOUND",
        query_id="20261129_1_abcde",
        link="https://trino:8443/ui/query.html?20261129_1_abcde",
    ),
    errors.ResetRefusedError("events", table=_TABLE, other="others"),
    errors.ResetUnfinishedError("events"),
    errors.RewriteRefusedError(
        _TABLE, "left 2 of 12 files as they are", query_id="20261129_1_abcde"
    ),
    errors.RetryUnfinishedError("clicks", path="clicks/a.csv"),
    errors.WholeSnapshotRetryError("items", path="items/b.csv"),
    errors.NoSuchSourceFileError("clicks", path="click/a.csv", near="clicks/a.csv"),
    errors.RecordsRefusedError("clicks", records=10, reasons={"malformed": 6}),
    errors.RefExistsError(
        _TABLE,
        "`v1` already points to snapshot 11",
        reason=errors.ConflictReason.REF_ELSEWHERE,
        ref="v1",
    ),
    errors.RegistryInUseError(
        "postgresql://me:word@db/lakes", warehouse="/copy/warehouse", owner="/lake/warehouse"
    ),
    errors.RegistryNewerError("/lake/registry.db", found=3, known=2),
    errors.SampleNotFoundError("s-1", sample_sets=("ctr",)),
    errors.SettingsError(
        "`lake.toml`: profiles.local.threads is 0, but must be positive",
        setting="profiles.local.threads",
        reason=errors.SettingReason.NOT_ALLOWED,
    ),
    errors.SnapshotNotFoundError(_TABLE, "snapshot 42"),
    errors.SourceChangedError("clicks/a.jsonl", "it has 10 bytes, but 20 were taken from it"),
    errors.SourceError("what happened"),
    errors.SourceFileError("clicks/a.jsonl", "it is not a file"),
    errors.SourceLedgerError(7),
    errors.SourceOrderError("clicks", partition=2, expected=10, found=7),
    errors.SourceStalledError("clicks", stalled_s=60.0),
    errors.StorageError(_FILE, "permission denied"),
    errors.StoreUnavailableError(
        "s3://lake/t/f.parquet", "curlCode: 7, Couldn't connect to server"
    ),
    errors.StorageFullError(_FILE, "no space left on device", disk="/lake", free_bytes=2048),
    errors.TableNotFoundError("raw.event", known=("raw.events",)),
    errors.TablesElsewhereError(
        warehouse="/copy/warehouse", tables=3, example=_TABLE, location="/lake/warehouse/raw/events"
    ),
    errors.TimeGapError(_TABLE, at_ms=86_400_000, before=(11, 0), after=(12, 172_800_000)),
    errors.TrashNotFoundError(_TABLE, "20260301-1", known=("20260228-7",)),
    errors.UnexplainedGapError("clicks", partition=3, first=100, end=200),
    errors.UnfitFileError(
        _FILE, "`price` has no field id", reason=errors.FileReason.NO_FIELD_ID, column="price"
    ),
    errors.UnknownFieldsError("clicks", path="clicks/a.jsonl", fields=("usr",), named="`usr`"),
    errors.UnknownSourceError("clicks", kind="KafkaSource"),
    errors.UnservableColumnError(
        "features.users", "tags", kind="map", allowed="the store keeps no maps"
    ),
    errors.UnsupportedEngineError(
        "its `merge` doubles rows",
        engine="Trino 479",
        remedy=errors.Remedy(advice="use Trino 476"),
    ),
    errors.UnsupportedTableError(
        _TABLE,
        "rows are deleted in another file",
        reason=errors.UnsupportedReason.DELETE_FILES,
        path=_FILE,
        remedy=errors.Remedy.compact(_TABLE),
    ),
    errors.VersionExistsError("ctr", 1),
    errors.VersionNotReadyError("features.users", reason=errors.VersionReason.NO_NEXT),
    errors.ExtraMissingError("streamlit", extra="ui"),
    errors.KafkaMissingError("impressions", "confluent_kafka"),
    errors.LogTruncatedError(
        "impressions", partition=3, offset=120, detail="the partition ends at offset 100"
    ),
    errors.OffsetGapError("impressions", partition=3, first=120, end=500),
    errors.PaimonHistoryChangedError(
        "k.users", "raw.users", snapshot_id=7, taken_at_ms=1_780_000_000_000, found_at_ms=None
    ),
    errors.PaimonMissingError("pypaimon"),
    errors.PaimonOtherLakeError(
        "k.users",
        stream_table="raw.users",
        found="6d9c5d0e-5f1c-4b53-9a3e-0c7e2f6d1a11",
        expected="0b8f0a4e-7a54-4e3c-8d55-3f1f1de0a2b7",
    ),
    errors.PaimonReadError("k.users", "No such file or directory"),
    errors.PaimonSnapshotNotFoundError("k.users", "tag `monday`"),
    errors.PaimonSnapshotsExpiredError(
        "k.users", "raw.users", first_snapshot_id=8, last_snapshot_id=11
    ),
    errors.PaimonTableDiffersError(
        "k.users",
        differences=("option `bucket` is `1`; declared is `4`",),
        subject="paimon:k.users",
    ),
    errors.PaimonTableStaleError(
        "k.users",
        "snapshot 12 of `raw.users` removed rows, which it still has",
        subject="paimon:k.users",
    ),
    errors.KeyedRowsError("raw.users", subject="paimon:k.users"),
    errors.PaimonTableNotFoundError("k.user", known=("k.users",)),
    errors.PaimonTagExistsError("k.users", "monday", snapshot_id=7),
    errors.PaimonTargetError("raw.users", "it has rows that no import of Paimon wrote"),
    errors.PaimonUnsupportedError(
        "k.users",
        "`merge-engine` is `x`, and `deduplicate` can be read",
        reason=errors.PaimonReason.MERGE_ENGINE,
        option="merge-engine",
    ),
    errors.PaimonWarehouseError("file:///lake/paimon", "it is not there"),
    errors.PartitionStalledError("impressions", partitions=(3, 5), stalled_s=60.0),
    errors.ReaderProcessError("impressions", opened_by=41, used_by=42),
    errors.RecordsSkippedError("impressions", partition=3, first=120, end=121),
    errors.SchemaChangedError(
        "impressions", schema_id=7, expected="0123456789abcdef", found="fedcba9876543210"
    ),
    errors.SchemaUnavailableError(
        "impressions", where="http://127.0.0.1:8081", detail="connection refused"
    ),
    errors.TopicAccessError(
        "impressions", servers="127.0.0.1:9092", detail="SASL authentication failed"
    ),
    errors.TopicDamagedError("impressions", partition=3, offset=120, detail="CRC mismatch"),
    errors.TopicNotEmptyError("impressions", servers="127.0.0.1:9092"),
    errors.TopicNotFoundError("impressions", servers="127.0.0.1:9092"),
    errors.TopicReplacedError("impressions", expected="5Q8gdEjZSdu", found="TOPv1LkSAW7"),
    errors.TopicUnreachableError(
        "impressions", servers="127.0.0.1:9092", detail="no answer in 10 s"
    ),
)
