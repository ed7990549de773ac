create catalog lake with (
    'type' = 'iceberg',
    'warehouse' = 's3://lake/warehouse',
    'jdbc.password' = '***'
);

create temporary table shown_news (
    _time as cast(`known_at` as timestamp_ltz(3)),
    watermark for _time as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:30.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things_shown`;

create temporary table shown_before (
    _time as cast(`known_at` as timestamp_ltz(3)),
    watermark for _time as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things_shown`;

create temporary table mature_news (
    _time as cast(((case when `known_at` < (`event_time` + interval '0 00:01:00.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:00.000' day(3) to second(3)) else `known_at` end) + interval '0 00:00:30.000' day(3) to second(3)) as timestamp_ltz(3)),
    watermark for _time as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:30.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things_shown`;

create temporary table mature_before (
    _time as cast(((case when `known_at` < (`event_time` + interval '0 00:01:00.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:00.000' day(3) to second(3)) else `known_at` end) + interval '0 00:00:30.000' day(3) to second(3)) as timestamp_ltz(3)),
    watermark for _time as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things_shown`;

create temporary table actions_0_news (
    _time as cast(`known_at` as timestamp_ltz(3)),
    watermark for _time as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:30.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things_taps`;

create temporary table actions_0_before (
    _time as cast(`known_at` as timestamp_ltz(3)),
    watermark for _time as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things_taps`;

create temporary table again_0_news (
    _time as cast((`known_at` + interval '0 00:00:30.000' day(3) to second(3)) as timestamp_ltz(3)),
    watermark for _time as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:30.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things_taps`;

create temporary table again_0_before (
    _time as cast((`known_at` + interval '0 00:00:30.000' day(3) to second(3)) as timestamp_ltz(3)),
    watermark for _time as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things_taps`;

create temporary table actions_1_news (
    _time as cast(`known_at` as timestamp_ltz(3)),
    watermark for _time as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:30.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things_taps`;

create temporary table actions_1_before (
    _time as cast(`known_at` as timestamp_ltz(3)),
    watermark for _time as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things_taps`;

create temporary table again_1_news (
    _time as cast((`known_at` + interval '0 00:00:30.000' day(3) to second(3)) as timestamp_ltz(3)),
    watermark for _time as (case when cast(`known_at` as timestamp_ltz(3)) <= current_row_timestamp() then cast(`known_at` as timestamp_ltz(3)) when cast(`known_at` as timestamp_ltz(3)) <= (current_row_timestamp() + interval '1 00:00:00.000' day(3) to second(3)) then current_row_timestamp() end - interval '0 00:00:30.000' day(3) to second(3))
) with ('streaming' = 'true', 'monitor-interval' = '500ms', 'max-planning-snapshot-count' = '1', 'starting-strategy' = 'INCREMENTAL_FROM_SNAPSHOT_ID', 'start-snapshot-id' = '8')
like `lake`.`raw`.`things_taps`;

create temporary table again_1_before (
    _time as cast((`known_at` + interval '0 00:00:30.000' day(3) to second(3)) as timestamp_ltz(3)),
    watermark for _time as to_timestamp_ltz(0, 3)
) with ('streaming' = 'false', 'snapshot-id' = '7')
like `lake`.`raw`.`things_taps`;

create temporary view shown_all as
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from shown_news
union all
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from shown_before
where `event_time` >= to_timestamp_ltz(1766879760000, 3);

create temporary view shown_ranked as
select *, min(_place) over (partition by `id` order by _time range between interval '1 00:00:30.000' day(3) to second(3) preceding and current row) as _first from shown_all;

create temporary view shown as
select * from shown_ranked where _place = _first;

create temporary view actions_0_all as
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from actions_0_news
union all
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from actions_0_before
where `event_time` >= to_timestamp_ltz(1766879760000, 3);

create temporary view actions_0_ranked as
select *, min(_place) over (partition by `tap_id` order by _time range between interval '1 00:00:30.000' day(3) to second(3) preceding and current row) as _first from actions_0_all;

create temporary view actions_0 as
select * from actions_0_ranked where _place = _first;

create temporary view again_0_all as
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from again_0_news
union all
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from again_0_before
where `event_time` >= to_timestamp_ltz(1766879760000, 3);

create temporary view again_0_ranked as
select *, min(_place) over (partition by `tap_id` order by _time range between interval '1 00:00:30.000' day(3) to second(3) preceding and current row) as _first from again_0_all;

create temporary view again_0 as
select * from again_0_ranked where _place = _first;

create temporary view actions_1_all as
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from actions_1_news
union all
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from actions_1_before
where `event_time` >= to_timestamp_ltz(1766879760000, 3);

create temporary view actions_1_ranked as
select *, min(_place) over (partition by `tap_id` order by _time range between interval '1 00:00:30.000' day(3) to second(3) preceding and current row) as _first from actions_1_all;

create temporary view actions_1 as
select * from actions_1_ranked where _place = _first;

create temporary view again_1_all as
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from again_1_news
union all
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from again_1_before
where `event_time` >= to_timestamp_ltz(1766879760000, 3);

create temporary view again_1_ranked as
select *, min(_place) over (partition by `tap_id` order by _time range between interval '1 00:00:30.000' day(3) to second(3) preceding and current row) as _first from again_1_all;

create temporary view again_1 as
select * from again_1_ranked where _place = _first;

create temporary view mature as
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from mature_news
union all
select *, concat(cast(cast(`known_at` as timestamp(6)) as string), `_source`, u&'\0000', lpad(cast(`_source_partition` as string), 11, '0'), lpad(cast(`_source_offset` as string), 20, '0')) as _place from mature_before
where `event_time` >= to_timestamp_ltz(1766879760000, 3);

create temporary view facts as
select cast(`id` as string) as _id, 0 as _kind, -1 as _label, _time, `known_at` as _moment, cast(`known_at` as timestamp_ltz(3)) as _known, `event_time` as _happened, _place, cast(null as string) as _action, `id` as c0, `u` as c1, `slot` as c2, `flag` as c3, `score` as c4
from shown
where `id` is not null
union all
select cast(`id` as string) as _id, 1 as _kind, -1 as _label, _time, ((case when `known_at` < (`event_time` + interval '0 00:01:00.000' day(3) to second(3)) then (`event_time` + interval '0 00:01:00.000' day(3) to second(3)) else `known_at` end) + interval '0 00:00:30.000' day(3) to second(3)) as _moment, cast(`known_at` as timestamp_ltz(3)) as _known, `event_time` as _happened, _place, cast(null as string) as _action, cast(null as string) as c0, cast(null as bigint) as c1, cast(null as int) as c2, cast(null as boolean) as c3, cast(null as double) as c4
from mature
where `id` is not null
union all
select cast(`shown_id` as string) as _id, 2 as _kind, 0 as _label, _time, `known_at` as _moment, cast(`known_at` as timestamp_ltz(3)) as _known, `event_time` as _happened, _place, concat(cast(cast(`event_time` as timestamp(6)) as string), _place, '|', '') as _action, cast(null as string) as c0, cast(null as bigint) as c1, cast(null as int) as c2, cast(null as boolean) as c3, cast(null as double) as c4
from actions_0
where `shown_id` is not null
union all
select cast(`shown_id` as string) as _id, 3 as _kind, 0 as _label, _time, (`known_at` + interval '0 00:00:30.000' day(3) to second(3)) as _moment, cast(`known_at` as timestamp_ltz(3)) as _known, `event_time` as _happened, _place, concat(cast(cast(`event_time` as timestamp(6)) as string), _place, '|', '') as _action, cast(null as string) as c0, cast(null as bigint) as c1, cast(null as int) as c2, cast(null as boolean) as c3, cast(null as double) as c4
from again_0
where `shown_id` is not null
union all
select cast(`shown_id` as string) as _id, 2 as _kind, 1 as _label, _time, `known_at` as _moment, cast(`known_at` as timestamp_ltz(3)) as _known, `event_time` as _happened, _place, concat(cast(cast(`event_time` as timestamp(6)) as string), _place, '|', '') as _action, cast(null as string) as c0, cast(null as bigint) as c1, cast(null as int) as c2, cast(null as boolean) as c3, cast(null as double) as c4
from actions_1
where `shown_id` is not null
union all
select cast(`shown_id` as string) as _id, 3 as _kind, 1 as _label, _time, (`known_at` + interval '0 00:00:30.000' day(3) to second(3)) as _moment, cast(`known_at` as timestamp_ltz(3)) as _known, `event_time` as _happened, _place, concat(cast(cast(`event_time` as timestamp(6)) as string), _place, '|', '') as _action, cast(null as string) as c0, cast(null as bigint) as c1, cast(null as int) as c2, cast(null as boolean) as c3, cast(null as double) as c4
from again_1
where `shown_id` is not null;

create temporary view placed as
select facts.*,
    max(case when _kind = 0 then _happened end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e_at,
    max(case when _kind = 0 then _known end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e_known,
    max(case when _kind = 0 then _place end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e_place,
    max(case when _kind = 0 then c0 end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e0,
    max(case when _kind = 0 then c1 end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e1,
    max(case when _kind = 0 then c2 end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e2,
    max(case when _kind = 0 then c3 end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e3,
    max(case when _kind = 0 then c4 end) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as e4
from facts;

create temporary view matched as
select *,
    case when _label = 0 and (_kind = 2 or (_kind = 3 and e_known > _known)) and _happened >= e_at and _happened < (e_at + interval '0 00:00:30.000' day(3) to second(3)) then _action end as a0,
    case when _label = 1 and (_kind = 2 or (_kind = 3 and e_known > _known)) and _happened >= e_at and _happened < (e_at + interval '0 00:00:20.000' day(3) to second(3)) then _action end as a1
from placed;

create temporary view gathered as
select matched.*,
    min(a0) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as first_0, count(a0) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as n_0, max(substring(a0 from 27 for 26)) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as last_0,
    min(a1) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as first_1, count(a1) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as n_1, max(substring(a1 from 27 for 26)) over (partition by _id order by _time range between interval '1 00:02:00.000' day(3) to second(3) preceding and current row) as last_1
from matched;

insert into `lake`.`samples`.`things_shown_clicked_live` (`sample_id`, `event_time`, `u`, `slot`, `flag`, `score`, `tap`, `tap_at`, `tap_state`, `taps`, `taps_at`, `taps_state`, `label_state`, `mature_at`, `keep_rate`, `known_at`)
select
    `sample_id`,
    `event_time`,
    `u`,
    `slot`,
    `flag`,
    `score`,
    `tap`,
    `tap_at`,
    `tap_state`,
    `taps`,
    `taps_at`,
    `taps_state`,
    case when 'pending' in (`tap_state`, `taps_state`) then 'pending' when 'corrected' in (`tap_state`, `taps_state`) then 'corrected' else 'mature' end,
    `mature_at`,
    cast(case when (coalesce(`tap` <> 0, false) or coalesce(`taps` <> 0, false)) then 1.0 else 0.25 end as double),
    `known_at`
from (
    select
        e0 as `sample_id`,
        e1 as `u`,
        e2 as `slot`,
        e3 as `flag`,
        e4 as `score`,
        e_at as `event_time`,
        _moment as `known_at`,
        (e_at + interval '0 00:01:00.000' day(3) to second(3)) as `mature_at`,
        cast(case when first_0 is null then 0 else 1 end as int) as `tap`,
        cast(cast(substring(first_0 from 1 for 26) as timestamp(6)) as timestamp_ltz(6)) as `tap_at`,
        case when _moment < (e_at + interval '0 00:01:00.000' day(3) to second(3)) then 'pending' when cast(cast(substring(first_0 from 27 for 26) as timestamp(6)) as timestamp_ltz(6)) >= (e_at + interval '0 00:01:00.000' day(3) to second(3)) then 'corrected' else 'mature' end as `tap_state`,
        cast(n_1 as bigint) as `taps`,
        cast(cast(substring(first_1 from 1 for 26) as timestamp(6)) as timestamp_ltz(6)) as `taps_at`,
        case when _moment < (e_at + interval '0 00:00:50.000' day(3) to second(3)) then 'pending' when cast(cast(last_1 as timestamp(6)) as timestamp_ltz(6)) >= (e_at + interval '0 00:00:50.000' day(3) to second(3)) then 'corrected' else 'mature' end as `taps_state`
    from gathered
    where ((_kind = 1 and _place = e_place) or a0 is not null or a1 is not null) and _time > to_timestamp_ltz(1767225600000, 3)
)
where (coalesce(`tap` <> 0, false) or coalesce(`taps` <> 0, false)) or substring(md5(concat('v1:', cast(`sample_id` as string))) from 1 for 15) < '400000000000000';
