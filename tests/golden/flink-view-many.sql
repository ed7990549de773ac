set 'python.executable' = '/opt/pyflink/bin/python';

set 'python.client.executable' = '/opt/pyflink/bin/python';

create catalog lake with (
    'type' = 'iceberg',
    'warehouse' = 's3://lake/warehouse',
    'jdbc.password' = '***'
);

create temporary table news (
    _known_us as case when `known_at` < `event_time` then `event_time` else `known_at` end,
    _known as cast(case when `known_at` < `event_time` then `event_time` else `known_at` end as timestamp_ltz(3)),
    watermark for _known as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:10.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things`;

create temporary table history (
    _known_us as case when `known_at` < `event_time` then `event_time` else `known_at` end,
    _known as cast(case when `known_at` < `event_time` then `event_time` else `known_at` end as timestamp_ltz(3)),
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
    `id`,
    `event_time`,
    `_source`,
    `_source_partition`,
    `_source_offset`,
    _known,
    _known_us,
    `id` as _key,
    concat(cast(cast(_known_us as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place,
    (extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))) - mod((extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))), 60000) as _tile_ms
from news
where `small` is not null
    and `day` is not null
    and `known_at` <= (`event_time` + interval '0 02:00:00.000' day(3) to second(3))
    and (`event_time` >= to_timestamp_ltz(1767139080000, 3) or current_watermark(_known) > to_timestamp_ltz(1767225660000, 3))
union all
select
    `small`,
    `day`,
    `price`,
    `large`,
    `double`,
    `seen_ms`,
    `id`,
    `event_time`,
    `_source`,
    `_source_partition`,
    `_source_offset`,
    _known,
    _known_us,
    `id` as _key,
    concat(cast(cast(_known_us as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place,
    (extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))) - mod((extract(epoch from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3))) * 1000 + extract(millisecond from cast(cast(`event_time` as timestamp_ltz(3)) as timestamp(3)))), 60000) as _tile_ms
from history
where `small` is not null
    and `day` is not null
    and `known_at` <= (`event_time` + interval '0 02:00:00.000' day(3) to second(3))
    and `event_time` >= to_timestamp_ltz(1767139080000, 3);

create temporary view ranked as
select events.*, min(_place) over (
    partition by `small`, `day`, _key, `event_time` order by _known
    range between interval '0 02:00:00.000' day(3) to second(3) preceding and current row
) as _first_place
from events;

create temporary view counted as
select * from ranked where _place = _first_place;

create temporary view cells as
select `small`, `day`, _tile_ms, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _known_ms, window_time as _cell_time,
    sum(cast(1 as bigint)) as _s0,
    sum(cast(`price` as decimal(38, 2))) as _s1,
    sum(cast(`large` as decimal(38, 0))) as _s2,
    min(case when `double` = `double` then `double` end) as _s3,
    max(`seen_ms`) as _s4,
    array_join(array_slice(array_sort(array_distinct(split(listagg(case when `id` is not null then lpad(cast(cast(position(substring(md5(cast(`id` as string)) from 1 for 1) in '0123456789abcdef') - 1 as bigint) * 72057594037927936 + cast(position(substring(md5(cast(`id` as string)) from 2 for 1) in '0123456789abcdef') - 1 as bigint) * 4503599627370496 + cast(position(substring(md5(cast(`id` as string)) from 3 for 1) in '0123456789abcdef') - 1 as bigint) * 281474976710656 + cast(position(substring(md5(cast(`id` as string)) from 4 for 1) in '0123456789abcdef') - 1 as bigint) * 17592186044416 + cast(position(substring(md5(cast(`id` as string)) from 5 for 1) in '0123456789abcdef') - 1 as bigint) * 1099511627776 + cast(position(substring(md5(cast(`id` as string)) from 6 for 1) in '0123456789abcdef') - 1 as bigint) * 68719476736 + cast(position(substring(md5(cast(`id` as string)) from 7 for 1) in '0123456789abcdef') - 1 as bigint) * 4294967296 + cast(position(substring(md5(cast(`id` as string)) from 8 for 1) in '0123456789abcdef') - 1 as bigint) * 268435456 + cast(position(substring(md5(cast(`id` as string)) from 9 for 1) in '0123456789abcdef') - 1 as bigint) * 16777216 + cast(position(substring(md5(cast(`id` as string)) from 10 for 1) in '0123456789abcdef') - 1 as bigint) * 1048576 + cast(position(substring(md5(cast(`id` as string)) from 11 for 1) in '0123456789abcdef') - 1 as bigint) * 65536 + cast(position(substring(md5(cast(`id` as string)) from 12 for 1) in '0123456789abcdef') - 1 as bigint) * 4096 + cast(position(substring(md5(cast(`id` as string)) from 13 for 1) in '0123456789abcdef') - 1 as bigint) * 256 + cast(position(substring(md5(cast(`id` as string)) from 14 for 1) in '0123456789abcdef') - 1 as bigint) * 16 + cast(position(substring(md5(cast(`id` as string)) from 15 for 1) in '0123456789abcdef') - 1 as bigint) * 1 as string), 19, '0') end, u&'\0001'), u&'\0001'))), 1, 257), u&'\0001') as _s5,
    array_join(array_slice(array_sort(split(listagg(case when `price` is not null then concat(concat(cast(cast(`event_time` as timestamp(6)) as string), ' ', hex(`_source`), ' ', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')), '|', json_string(cast(`price` as string))) end, u&'\0001'), u&'\0001'), false), 1, 10), u&'\0001') as _s6
from table(tumble(table counted, descriptor(_known), interval '0 00:01:00.000' day(3) to second(3)))
group by `small`, `day`, _tile_ms, window_start, window_end, window_time;

create temporary view copies as
select *, case when _at_ms = _known_ms or _at_ms = _tile_ms + 3660000 or _at_ms = _tile_ms + 86460000 then 1 else 0 end as _changes
from (
    select `small`, `day`, _tile_ms, _known_ms, _s0, _s1, _s2, _s3, _s4, _s5, _s6,
        (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms, window_start, window_end, window_time
    from table(hop(table cells, descriptor(_cell_time), interval '0 00:01:00.000' day(3) to second(3), interval '1 00:01:00.000' day(3) to second(3)))
)
where _at_ms <= _tile_ms + 86460000 and _known_ms < _tile_ms + 86460000;

create temporary function window_values as 'headrace.flink.worker.window_values' language python;

create temporary view moments as
select `small`, `day`, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms,
    window_time as _at_time,
    listagg(case when _at_ms = _known_ms then concat_ws(u&'\0002', cast(_tile_ms as string), coalesce(cast(_s0 as string), ''), coalesce(cast(_s1 as string), ''), coalesce(cast(_s2 as string), ''), coalesce(cast(_s3 as string), ''), coalesce(cast(cast(_s4 as timestamp(6)) as string), ''), coalesce(_s5, ''), coalesce(_s6, '')) end, u&'\0003') as _entered
from copies
where _changes = 1
group by `small`, `day`, window_start, window_end, window_time;

create temporary view held as
select `small`, `day`, _at_ms, listagg(_entered, u&'\0003') over (
    partition by `small`, `day` order by _at_time
    range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row
) as _parts
from moments;

insert into `lake`.`features`.`recent_rows` (`small`, `day`, `event_time`, `known_at`, `seen_1h`, `seen_1d`, `paid_1h`, `largest_1h`, `least_1d`, `newest_1d`, `ids_1h`, `last_1d`)
select
    `small` as `small`,
    `day` as `day`,
    cast(to_timestamp_ltz(_at_ms, 3) as timestamp_ltz(6)) as `event_time`,
    cast(to_timestamp_ltz(_at_ms, 3) as timestamp_ltz(6)) as `known_at`,
    coalesce(cast(_values[1] as bigint), 0) as `seen_1h`,
    coalesce(cast(_values[2] as bigint), 0) as `seen_1d`,
    coalesce(cast(_values[3] as decimal(38, 2)), 0) as `paid_1h`,
    case when coalesce(cast(_values[4] as decimal(38, 0)), 0) between -9223372036854775807 - 1 and 9223372036854775807 then cast(coalesce(cast(_values[4] as decimal(38, 0)), 0) as bigint) end as `largest_1h`,
    case when cast(_values[5] as double) = 0 then cast(0 as double) else cast(_values[5] as double) end as `least_1d`,
    cast(_values[6] as timestamp_ltz(6)) as `newest_1d`,
    cast(_values[7] as bigint) as `ids_1h`,
    cast(json_query(_values[8], 'lax $' returning array<string>) as array<decimal(10, 2)>) as `last_1d`
from (
    select `small`, `day`, _at_ms, window_values('{"hop_ms":60000,"slots":[{"take":"count","keep":0,"scale":0},{"take":"sum","keep":0,"of":"price","scale":2},{"take":"sum","keep":0,"of":"large","scale":0},{"take":"min","keep":0,"of":"double","floating":true},{"take":"max","keep":0,"of":"seen_ms"},{"take":"distinct","keep":256,"of":"id"},{"take":"last","keep":10,"of":"price"}],"columns":[[0,60],[0,1440],[1,60],[2,60],[3,1440],[4,1440],[5,60],[6,1440]]}', _at_ms, _parts) as _values from held
)
where _at_ms > 1767225600000;
