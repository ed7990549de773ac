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

create database if not exists `paimon`.`raw`;

create table if not exists `paimon`.`raw`.`things` (
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
    `__from` string,
    `small__from` string,
    `large__from` string,
    `single__from` string,
    `double__from` string,
    `whole__from` string,
    `flag__from` string,
    `day__from` string,
    `price__from` string,
    `seen_ms__from` string,
    `seen_us__from` string,
    `items__from` string,
    `tags__from` string,
    `flags__from` string,
    primary key (`id`) not enforced
) with (
    'bucket' = '1',
    'merge-engine' = 'partial-update',
    'fields.__from.sequence-group' = 'at,from_known_at,from_source,from_partition,from_offset',
    'fields.small__from.sequence-group' = 'small',
    'fields.large__from.sequence-group' = 'large',
    'fields.single__from.sequence-group' = 'single',
    'fields.double__from.sequence-group' = 'double',
    'fields.whole__from.sequence-group' = 'whole',
    'fields.flag__from.sequence-group' = 'flag',
    'fields.day__from.sequence-group' = 'day',
    'fields.price__from.sequence-group' = 'price',
    'fields.seen_ms__from.sequence-group' = 'seen_ms',
    'fields.seen_us__from.sequence-group' = 'seen_us',
    'fields.items__from.sequence-group' = 'items',
    'fields.tags__from.sequence-group' = 'tags',
    'fields.flags__from.sequence-group' = 'flags',
    'changelog-producer' = 'lookup',
    'changelog-producer.row-deduplicate' = 'true',
    'file.format' = 'parquet',
    'headrace.table-uuid' = '6d9c5d0e-5f1c-4b53-9a3e-0c7e2f6d1a11'
);

create temporary table news (
    __from as concat(cast(cast(`event_time` as timestamp(6)) as string), concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things`;

create temporary table history (
    __from as concat(cast(cast(`event_time` as timestamp(6)) as string), concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')))
) with ('streaming' = 'false', 'snapshot-id' = '8')
like `lake`.`raw`.`things`;

insert into `paimon`.`raw`.`things` /*+ options(
    'snapshot.num-retained.max' = '2147483647',
    'snapshot.time-retained' = '36500 d'
) */ (`id`, `at`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `from_known_at`, `from_source`, `from_partition`, `from_offset`, `__from`, `small__from`, `large__from`, `single__from`, `double__from`, `whole__from`, `flag__from`, `day__from`, `price__from`, `seen_ms__from`, `seen_us__from`, `items__from`, `tags__from`, `flags__from`)
select `id`, `event_time`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `known_at`, `_source`, `_source_partition`, `_source_offset`, __from, case when `small` is not null then __from end, case when `large` is not null then __from end, case when `single` is not null then __from end, case when `double` is not null then __from end, case when `whole` is not null then __from end, case when `flag` is not null then __from end, case when `day` is not null then __from end, case when `price` is not null then __from end, case when `seen_ms` is not null then __from end, case when `seen_us` is not null then __from end, case when `items` is not null then __from end, case when `tags` is not null then __from end, case when `flags` is not null then __from end from news
union all
select `id`, `event_time`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `known_at`, `_source`, `_source_partition`, `_source_offset`, __from, case when `small` is not null then __from end, case when `large` is not null then __from end, case when `single` is not null then __from end, case when `double` is not null then __from end, case when `whole` is not null then __from end, case when `flag` is not null then __from end, case when `day` is not null then __from end, case when `price` is not null then __from end, case when `seen_ms` is not null then __from end, case when `seen_us` is not null then __from end, case when `items` is not null then __from end, case when `tags` is not null then __from end, case when `flags` is not null then __from end from history;
