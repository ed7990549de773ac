create catalog lake with (
    'type' = 'iceberg',
    'warehouse' = 's3://lake/warehouse',
    'jdbc.password' = '***'
);

create catalog paimon with (
    'type' = 'paimon',
    'warehouse' = 's3://lake/paimon',
    's3.secret-key' = '***'
);

create database if not exists `paimon`.`shop`;

create table if not exists `paimon`.`shop`.`things` (
    `id` string not null,
    `at` timestamp_ltz(6),
    `small` int,
    `large` bigint,
    `single` float,
    `double` double,
    `whole` bigint,
    `flag` boolean,
    `day` date,
    `price` decimal(10, 2),
    `seen_ms` timestamp_ltz(6),
    `seen_us` timestamp_ltz(6),
    `items` array<bigint>,
    `tags` array<string>,
    `flags` array<boolean>,
    `from_known_at` timestamp_ltz(6),
    `from_source` string,
    `from_partition` int,
    `from_offset` bigint,
    primary key (`id`) not enforced
) with (
    'bucket' = '4',
    'merge-engine' = 'deduplicate',
    'sequence.field' = 'at,from_known_at,from_source,from_partition,from_offset',
    'changelog-producer' = 'lookup',
    'changelog-producer.row-deduplicate' = 'true',
    'file.format' = 'parquet',
    'headrace.table-uuid' = '6d9c5d0e-5f1c-4b53-9a3e-0c7e2f6d1a11'
);

create temporary table news with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things`;

create temporary table history with ('streaming' = 'false', 'snapshot-id' = '8')
like `lake`.`raw`.`things`;

insert into `paimon`.`shop`.`things` /*+ options(
    'snapshot.num-retained.max' = '2147483647',
    'snapshot.time-retained' = '36500 d'
) */ (`id`, `at`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `from_known_at`, `from_source`, `from_partition`, `from_offset`)
select `id`, `event_time`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `known_at`, `_source`, `_source_partition`, `_source_offset` from news
union all
select `id`, `event_time`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `known_at`, `_source`, `_source_partition`, `_source_offset` from history;
