create catalog lake with (
    'type' = 'iceberg',
    'warehouse' = 's3://lake/warehouse',
    'jdbc.password' = '***'
);

create temporary table news (
    _known_us as case when `known_at` < (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) else `known_at` end,
    _known as cast(case when `known_at` < (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:30.000' day(3) to second(3)) else `known_at` end as timestamp_ltz(3)),
    watermark for _known as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:10.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
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
    `id`,
    `event_time`,
    `_source`,
    `_source_partition`,
    `_source_offset`,
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
    `id`,
    `event_time`,
    `_source`,
    `_source_partition`,
    `_source_offset`,
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
select `small`, `day`, _tile_ms, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _known_ms, window_time as _cell_time, mod((position(substring(md5(concat_ws(u&'\0001', cast(`small` as string), cast(`day` as string))) from 1 for 1) in '0123456789abcdef') - 1) * 1 + (position(substring(md5(concat_ws(u&'\0001', cast(`small` as string), cast(`day` as string))) from 2 for 1) in '0123456789abcdef') - 1) * 16 + (position(substring(md5(concat_ws(u&'\0001', cast(`small` as string), cast(`day` as string))) from 3 for 1) in '0123456789abcdef') - 1) * 256 + (position(substring(md5(concat_ws(u&'\0001', cast(`small` as string), cast(`day` as string))) from 4 for 1) in '0123456789abcdef') - 1) * 4096, 288) * 300000 as _shift_ms,
    sum(cast(1 as bigint)) as _s0,
    sum(cast(`price` as decimal(38, 2))) as _s1,
    sum(cast(`large` as decimal(38, 0))) as _s2,
    min(case when `double` = `double` then `double` end) as _s3,
    max(`seen_ms`) as _s4,
    array_join(array_slice(array_sort(array_distinct(split(listagg(case when `id` is not null then lpad(cast(cast(position(substring(md5(cast(`id` as string)) from 1 for 1) in '0123456789abcdef') - 1 as bigint) * 72057594037927936 + cast(position(substring(md5(cast(`id` as string)) from 2 for 1) in '0123456789abcdef') - 1 as bigint) * 4503599627370496 + cast(position(substring(md5(cast(`id` as string)) from 3 for 1) in '0123456789abcdef') - 1 as bigint) * 281474976710656 + cast(position(substring(md5(cast(`id` as string)) from 4 for 1) in '0123456789abcdef') - 1 as bigint) * 17592186044416 + cast(position(substring(md5(cast(`id` as string)) from 5 for 1) in '0123456789abcdef') - 1 as bigint) * 1099511627776 + cast(position(substring(md5(cast(`id` as string)) from 6 for 1) in '0123456789abcdef') - 1 as bigint) * 68719476736 + cast(position(substring(md5(cast(`id` as string)) from 7 for 1) in '0123456789abcdef') - 1 as bigint) * 4294967296 + cast(position(substring(md5(cast(`id` as string)) from 8 for 1) in '0123456789abcdef') - 1 as bigint) * 268435456 + cast(position(substring(md5(cast(`id` as string)) from 9 for 1) in '0123456789abcdef') - 1 as bigint) * 16777216 + cast(position(substring(md5(cast(`id` as string)) from 10 for 1) in '0123456789abcdef') - 1 as bigint) * 1048576 + cast(position(substring(md5(cast(`id` as string)) from 11 for 1) in '0123456789abcdef') - 1 as bigint) * 65536 + cast(position(substring(md5(cast(`id` as string)) from 12 for 1) in '0123456789abcdef') - 1 as bigint) * 4096 + cast(position(substring(md5(cast(`id` as string)) from 13 for 1) in '0123456789abcdef') - 1 as bigint) * 256 + cast(position(substring(md5(cast(`id` as string)) from 14 for 1) in '0123456789abcdef') - 1 as bigint) * 16 + cast(position(substring(md5(cast(`id` as string)) from 15 for 1) in '0123456789abcdef') - 1 as bigint) * 1 as string), 19, '0') end, u&'\0001'), u&'\0001'))), 1, 257), u&'\0001') as _s5,
    array_join(array_slice(array_sort(split(listagg(case when `price` is not null then concat(concat(cast(cast(`event_time` as timestamp(6)) as string), ' ', hex(`_source`), ' ', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')), '|', json_string(cast(`price` as string))) end, u&'\0001'), u&'\0001'), false), 1, 10), u&'\0001') as _s6
from table(tumble(table counted, descriptor(_known), interval '0 00:05:00.000' day(3) to second(3)))
group by `small`, `day`, _tile_ms, window_start, window_end, window_time;

create temporary view copies as
select *, case when _at_ms = _known_ms or _at_ms = _tile_ms + 3900000 or _at_ms = _tile_ms + 86700000 then 1 else 0 end as _changes
from (
    select `small`, `day`, _tile_ms, _known_ms, _shift_ms, _s0, _s1, _s2, _s3, _s4, _s5, _s6,
        (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms, window_start, window_end, window_time
    from table(hop(table cells, descriptor(_cell_time), interval '0 00:05:00.000' day(3) to second(3), interval '1 00:05:00.000' day(3) to second(3)))
)
where _at_ms <= _tile_ms + 86700000 and _known_ms < _tile_ms + 86700000
    and ((_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) or _at_ms = _tile_ms + 3900000 or _at_ms = _tile_ms + 86700000);

create temporary view moments as
select `small`, `day`, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms,
    window_time as _at_time, _shift_ms, max(_changes) as _changes,
    sum(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) and _at_ms < _tile_ms + 3900000 then cast(_s0 as bigint) when _at_ms = _tile_ms + 3900000 and not (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then cast(-_s0 as bigint) end) as _s0_3600000,
    sum(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) and _at_ms < _tile_ms + 86700000 then cast(_s0 as bigint) when _at_ms = _tile_ms + 86700000 and not (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then cast(-_s0 as bigint) end) as _s0_86400000,
    sum(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) and _at_ms < _tile_ms + 3900000 then cast(_s1 as decimal(38, 2)) when _at_ms = _tile_ms + 3900000 and not (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then cast(-_s1 as decimal(38, 2)) end) as _s1_3600000,
    sum(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) and _at_ms < _tile_ms + 3900000 then cast(_s2 as decimal(38, 0)) when _at_ms = _tile_ms + 3900000 and not (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then cast(-_s2 as decimal(38, 0)) end) as _s2_3600000,
    listagg(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then concat(lpad(cast(_tile_ms as string), 15, '0'), ':', cast(_s3 as string)) end, u&'\0001') as _items3,
    listagg(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then concat(lpad(cast(_tile_ms as string), 15, '0'), ':', cast(cast(_s4 as timestamp(6)) as string)) end, u&'\0001') as _items4,
    listagg(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then concat(lpad(cast(_tile_ms as string), 15, '0'), ':', replace(_s5, u&'\0001', concat(u&'\0001', lpad(cast(_tile_ms as string), 15, '0'), ':'))) end, u&'\0001') as _items5,
    listagg(case when (_at_ms = _known_ms or (mod(_at_ms + _shift_ms, 86400000) = 0 and _known_ms < _at_ms)) then _s6 end, u&'\0001') as _items6
from copies
group by `small`, `day`, _shift_ms, window_start, window_end, window_time;

create temporary view held as
select `small`, `day`, _at_ms, _changes,
    sum(_s0_3600000) over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _s0_3600000,
    sum(_s0_86400000) over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _s0_86400000,
    sum(_s1_3600000) over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _s1_3600000,
    sum(_s2_3600000) over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _s2_3600000,
    listagg(_items3, u&'\0001') over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _items3,
    listagg(_items4, u&'\0001') over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _items4,
    listagg(_items5, u&'\0001') over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _items5,
    listagg(_items6, u&'\0001') over (partition by `small`, `day`, _at_ms - mod(_at_ms + _shift_ms, 86400000) order by _at_time range between interval '1 00:00:00.000' day(3) to second(3) preceding and current row) as _items6
from moments;

insert into `lake`.`features`.`recent_rows` (`small`, `day`, `event_time`, `known_at`, `seen_1h`, `seen_1d`, `paid_1h`, `largest_1h`, `least_1d`, `newest_1d`, `ids_1h`, `last_1d`)
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
    _s4_86400000 as `newest_1d`,
    case when _s5_3600000 is null then 0 when cardinality(array_slice(array_sort(array_distinct(split(_s5_3600000, u&'\0001'))), 1, 257)) <= 256 then cardinality(array_slice(array_sort(array_distinct(split(_s5_3600000, u&'\0001'))), 1, 257)) else cast(floor(2.9514790517935283E+20 / cast(array_slice(array_sort(array_distinct(split(_s5_3600000, u&'\0001'))), 1, 257)[257] as double)) as bigint) end as `ids_1h`,
    cast(json_query(concat('[', substring(regexp_replace(array_join(array_reverse(array_slice(array_sort(split(_s6_86400000, u&'\0001'), false), 1, 10)), u&'\0001'), '(^|\x01)[^|\x01]*[|]', ',') from 2), ']'), 'lax $' returning array<string>) as array<decimal(10, 2)>) as `last_1d`
from (
    select `small`, `day`, _at_ms, _changes,
    _s0_3600000,
    _s0_86400000,
    _s1_3600000,
    _s2_3600000,
    array_min(cast(split(regexp_replace(split_index(array_join(array_sort(split(concat_ws(u&'\0001', _items3, concat(lpad(cast(_at_ms - 86400000 as string), 15, '0'), '/')), u&'\0001')), u&'\0001'), concat(concat(lpad(cast(_at_ms - 86400000 as string), 15, '0'), '/'), u&'\0001'), 1), '[0-9]{15}:', ''), u&'\0001') as array<double>)) as _s3_86400000,
    cast(cast(array_max(split(regexp_replace(split_index(array_join(array_sort(split(concat_ws(u&'\0001', _items4, concat(lpad(cast(_at_ms - 86400000 as string), 15, '0'), '/')), u&'\0001')), u&'\0001'), concat(concat(lpad(cast(_at_ms - 86400000 as string), 15, '0'), '/'), u&'\0001'), 1), '[0-9]{15}:', ''), u&'\0001')) as timestamp(6)) as timestamp_ltz(6)) as _s4_86400000,
    regexp_replace(split_index(array_join(array_sort(split(concat_ws(u&'\0001', _items5, concat(lpad(cast(_at_ms - 3600000 as string), 15, '0'), '/')), u&'\0001')), u&'\0001'), concat(concat(lpad(cast(_at_ms - 3600000 as string), 15, '0'), '/'), u&'\0001'), 1), '[0-9]{15}:', '') as _s5_3600000,
    split_index(array_join(array_sort(split(concat_ws(u&'\0001', _items6, cast(cast(to_timestamp_ltz(_at_ms - 86400000, 3) as timestamp(6)) as string)), u&'\0001')), u&'\0001'), concat(cast(cast(to_timestamp_ltz(_at_ms - 86400000, 3) as timestamp(6)) as string), u&'\0001'), 1) as _s6_86400000
    from held
)
where _changes = 1 and _at_ms > 1767225600000;
