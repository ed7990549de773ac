create catalog lake with (
    'type' = 'iceberg',
    'warehouse' = 's3://lake/warehouse',
    'jdbc.password' = '***'
);

create temporary table news (
    _known_us as case when `known_at` < (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) else `known_at` end,
    _known as cast(case when `known_at` < (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) else `known_at` end as timestamp_ltz(3)),
    watermark for _known as (_known - interval '0 00:00:10.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '1s', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things`;

create temporary table history (
    _known_us as case when `known_at` < (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) else `known_at` end,
    _known as cast(case when `known_at` < (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) else `known_at` end as timestamp_ltz(3)),
    watermark for _known as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things`;

create temporary view events as
select
    `small`,
    `day`,
    `price`,
    `large`,
    `double`,
    `seen_ms`,
    `event_time`,
    _known,
    _known_us,
    `id` as _key,
    concat(cast(cast(_known_us as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place,
    (extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))) - mod((extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))), 300000) as _tile_ms
from news
where `small` is not null
    and `day` is not null
    and `known_at` <= (`event_time` + interval '0 01:00:00.000' day(3) to second(3))
    and (`event_time` >= to_timestamp_ltz(1767138600000, 3) or current_watermark(_known) > to_timestamp_ltz(1767225900000, 3))
union all
select
    `small`,
    `day`,
    `price`,
    `large`,
    `double`,
    `seen_ms`,
    `event_time`,
    _known,
    _known_us,
    `id` as _key,
    concat(cast(cast(_known_us as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place,
    (extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))) - mod((extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))), 300000) as _tile_ms
from history
where `small` is not null
    and `day` is not null
    and `known_at` <= (`event_time` + interval '0 01:00:00.000' day(3) to second(3))
    and `event_time` >= to_timestamp_ltz(1767138600000, 3);

create temporary view ranked as
select events.*, min(_place) over (
    partition by `small`, `day`, _key, `event_time` order by _known
    range between interval '0 01:00:00.000' day(3) to second(3) preceding and current row
) as _first_place
from events;

create temporary view counted as
select * from ranked where _place = _first_place;

create temporary view cells as
select `small`, `day`, _tile_ms, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _known_ms, window_time as _cell_time,
    sum(1) as _s0,
    sum(cast(`price` as decimal(38, 2))) as _s1,
    sum(cast(`large` as decimal(38, 0))) as _s2,
    min(case when `double` = `double` then `double` end) as _s3,
    max(`seen_ms`) as _s4
from table(tumble(table counted, descriptor(_known), interval '0 00:05:00.000' day(3) to second(3)))
group by `small`, `day`, _tile_ms, window_start, window_end, window_time;

create temporary view copies as
select *, case when _at_ms = _known_ms or _at_ms = _tile_ms + 3900000 or _at_ms = _tile_ms + 86700000 then 1 else 0 end as _changes
from (
    select `small`, `day`, _tile_ms, _known_ms, _s0, _s1, _s2, _s3, _s4,
        (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms, window_start, window_end
    from table(hop(table cells, descriptor(_cell_time), interval '0 00:05:00.000' day(3) to second(3), interval '1 00:05:00.000' day(3) to second(3)))
)
where _at_ms <= _tile_ms + 86700000 and _known_ms < _tile_ms + 86700000;

insert into `lake`.`features`.`recent_rows` (`small`, `day`, `event_time`, `known_at`, `seen_1h`, `seen_1d`, `paid_1h`, `largest_1h`, `least_1d`, `newest_1d`)
select
    `small` as `small`,
    `day` as `day`,
    cast(to_timestamp_ltz(_at_ms, 3) as timestamp_ltz(6)) as `event_time`,
    cast(to_timestamp_ltz(_at_ms, 3) as timestamp_ltz(6)) as `known_at`,
    coalesce(_s0_3600000, 0) as `seen_1h`,
    coalesce(_s0_86400000, 0) as `seen_1d`,
    coalesce(_s1_3600000, 0) as `paid_1h`,
    case when coalesce(_s2_3600000, 0) between -9223372036854775807 - 1 and 9223372036854775807 then cast(coalesce(_s2_3600000, 0) as bigint) end as `largest_1h`,
    case when _s3_86400000 = 0 then cast(0 as double) else _s3_86400000 end as `least_1d`,
    _s4_86400000 as `newest_1d`
from (
    select `small`, `day`, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms, max(_changes) as _changes,
        sum(case when _at_ms - _tile_ms <= 3600000 then _s0 end) as _s0_3600000,
        sum(case when _at_ms - _tile_ms <= 86400000 then _s0 end) as _s0_86400000,
        sum(case when _at_ms - _tile_ms <= 3600000 then _s1 end) as _s1_3600000,
        sum(case when _at_ms - _tile_ms <= 3600000 then _s2 end) as _s2_3600000,
        min(case when _at_ms - _tile_ms <= 86400000 then _s3 end) as _s3_86400000,
        max(case when _at_ms - _tile_ms <= 86400000 then _s4 end) as _s4_86400000
    from copies
    group by `small`, `day`, window_start, window_end
)
where _changes = 1 and _at_ms > 1767225600000;
