create catalog lake with (
    'type' = 'iceberg',
    'warehouse' = 's3://lake/warehouse',
    'jdbc.password' = '***'
);

create temporary table topic (
    k_key bytes,
    `raw` bytes,
    k_topic string metadata from 'topic' virtual,
    k_partition int metadata from 'partition' virtual,
    k_offset bigint metadata from 'offset' virtual,
    k_time timestamp_ltz(3) metadata from 'timestamp' virtual,
    k_time_type string metadata from 'timestamp-type' virtual,
    k_headers map<string, bytes> metadata from 'headers' virtual
) with (
    'connector' = 'kafka',
    'topic' = 'things',
    'properties.bootstrap.servers' = '127.0.0.1:9092',
    'properties.group.id' = 'g',
    'properties.isolation.level' = 'read_committed',
    'scan.startup.mode' = 'specific-offsets',
    'scan.startup.specific-offsets' = 'partition:0,offset:0;partition:1,offset:10;partition:2,offset:20',
    'key.format' = 'raw',
    'key.fields' = 'k_key',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY'
);

create temporary view records as
select topic.*, rand() as drawn_records from topic;

create temporary view texts as
select records.*,
    decode(`raw`, 'UTF-8') as `body`,
    drawn_records * drawn_records * rand() as `drawn_texts`
from records;

create temporary view pieces as
select texts.*,
    case
        when `raw` is null then 'tombstone'
        when char_length(body) > 1048576 then 'too_long'
        when encode(body, 'UTF-8') <> `raw` then 'invalid_utf8'
        when not regexp(body, '^[ \t\r\n]*[{]')
            or try_parse_json(concat('[', body, ']')) is null
            or try_parse_json(concat('{"_":', body, '}')) is null then 'malformed'
        when body like '%\u%' and regexp(replace(body, '\\', '//'), '\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]')
            then 'invalid_utf8'
    end as `whole_code`,
    json_query(body, 'lax $["id"]' with wrapper) as `j_id`,
    json_query(body, 'lax $["at"]' with wrapper) as `j_at`,
    json_query(body, 'lax $["small"]' with wrapper) as `j_small`,
    json_query(body, 'lax $["large"]' with wrapper) as `j_large`,
    json_query(body, 'lax $["single"]' with wrapper) as `j_single`,
    json_query(body, 'lax $["double"]' with wrapper) as `j_double`,
    json_query(body, 'lax $["whole"]' with wrapper) as `j_whole`,
    json_query(body, 'lax $["flag"]' with wrapper) as `j_flag`,
    json_query(body, 'lax $["day"]' with wrapper) as `j_day`,
    json_query(body, 'lax $["price"]' with wrapper) as `j_price`,
    json_query(body, 'lax $["seen_ms"]' with wrapper) as `j_seen_ms`,
    json_query(body, 'lax $["seenAt"]' with wrapper) as `j_seen_us`,
    json_query(body, 'lax $["items"]' with wrapper) as `j_items`,
    json_query(body, 'lax $["tags"]' with wrapper) as `j_tags`,
    json_query(body, 'lax $["flags"]' with wrapper) as `j_flags`,
    drawn_texts * drawn_texts * rand() as `drawn_pieces`
from texts;

create temporary view scalars as
select pieces.*,
    case when `j_id` like '["%' then case when position('\' in `j_id`) = 0 then substring(`j_id` from 3 for char_length(`j_id`) - 4) else json_value(`j_id`, 'lax $[0]') end else substring(`j_id` from 2 for char_length(`j_id`) - 2) end as `s_id`,
    case when `j_at` like '["%' then case when position('\' in `j_at`) = 0 then substring(`j_at` from 3 for char_length(`j_at`) - 4) else json_value(`j_at`, 'lax $[0]') end else substring(`j_at` from 2 for char_length(`j_at`) - 2) end as `s_at`,
    case when `j_small` like '["%' then case when position('\' in `j_small`) = 0 then substring(`j_small` from 3 for char_length(`j_small`) - 4) else json_value(`j_small`, 'lax $[0]') end else substring(`j_small` from 2 for char_length(`j_small`) - 2) end as `s_small`,
    case when `j_large` like '["%' then case when position('\' in `j_large`) = 0 then substring(`j_large` from 3 for char_length(`j_large`) - 4) else json_value(`j_large`, 'lax $[0]') end else substring(`j_large` from 2 for char_length(`j_large`) - 2) end as `s_large`,
    case when `j_single` like '["%' then case when position('\' in `j_single`) = 0 then substring(`j_single` from 3 for char_length(`j_single`) - 4) else json_value(`j_single`, 'lax $[0]') end else substring(`j_single` from 2 for char_length(`j_single`) - 2) end as `s_single`,
    case when `j_double` like '["%' then case when position('\' in `j_double`) = 0 then substring(`j_double` from 3 for char_length(`j_double`) - 4) else json_value(`j_double`, 'lax $[0]') end else substring(`j_double` from 2 for char_length(`j_double`) - 2) end as `s_double`,
    case when `j_whole` like '["%' then case when position('\' in `j_whole`) = 0 then substring(`j_whole` from 3 for char_length(`j_whole`) - 4) else json_value(`j_whole`, 'lax $[0]') end else substring(`j_whole` from 2 for char_length(`j_whole`) - 2) end as `s_whole`,
    case when `j_flag` like '["%' then case when position('\' in `j_flag`) = 0 then substring(`j_flag` from 3 for char_length(`j_flag`) - 4) else json_value(`j_flag`, 'lax $[0]') end else substring(`j_flag` from 2 for char_length(`j_flag`) - 2) end as `s_flag`,
    case when `j_day` like '["%' then case when position('\' in `j_day`) = 0 then substring(`j_day` from 3 for char_length(`j_day`) - 4) else json_value(`j_day`, 'lax $[0]') end else substring(`j_day` from 2 for char_length(`j_day`) - 2) end as `s_day`,
    case when `j_price` like '["%' then case when position('\' in `j_price`) = 0 then substring(`j_price` from 3 for char_length(`j_price`) - 4) else json_value(`j_price`, 'lax $[0]') end else substring(`j_price` from 2 for char_length(`j_price`) - 2) end as `s_price`,
    case when `j_seen_ms` like '["%' then case when position('\' in `j_seen_ms`) = 0 then substring(`j_seen_ms` from 3 for char_length(`j_seen_ms`) - 4) else json_value(`j_seen_ms`, 'lax $[0]') end else substring(`j_seen_ms` from 2 for char_length(`j_seen_ms`) - 2) end as `s_seen_ms`,
    case when `j_seen_us` like '["%' then case when position('\' in `j_seen_us`) = 0 then substring(`j_seen_us` from 3 for char_length(`j_seen_us`) - 4) else json_value(`j_seen_us`, 'lax $[0]') end else substring(`j_seen_us` from 2 for char_length(`j_seen_us`) - 2) end as `s_seen_us`,
    case when `j_items` like '["%' then case when position('\' in `j_items`) = 0 then substring(`j_items` from 3 for char_length(`j_items`) - 4) else json_value(`j_items`, 'lax $[0]') end else substring(`j_items` from 2 for char_length(`j_items`) - 2) end as `s_items`,
    case when `j_tags` like '["%' then case when position('\' in `j_tags`) = 0 then substring(`j_tags` from 3 for char_length(`j_tags`) - 4) else json_value(`j_tags`, 'lax $[0]') end else substring(`j_tags` from 2 for char_length(`j_tags`) - 2) end as `s_tags`,
    case when `j_flags` like '["%' then case when position('\' in `j_flags`) = 0 then substring(`j_flags` from 3 for char_length(`j_flags`) - 4) else json_value(`j_flags`, 'lax $[0]') end else substring(`j_flags` from 2 for char_length(`j_flags`) - 2) end as `s_flags`,
    drawn_pieces * drawn_pieces * rand() as `drawn_scalars`
from pieces;

create temporary view parts_0 as
select scalars.*,
    case when `j_at` like '["%' and regexp(`s_at`, '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)\z') then case when `s_at` like '%Z' then 'Z' when substring(`s_at` from char_length(`s_at`) - 5 for 1) in ('+', '-') then right(`s_at`, 6) when substring(`s_at` from char_length(`s_at`) - 4 for 1) in ('+', '-') then right(`s_at`, 5) else right(`s_at`, 3) end end as `zone_at`,
    drawn_scalars * drawn_scalars * rand() as `drawn_parts_0`
from scalars;

create temporary view parts_1 as
select parts_0.*,
    case when `zone_at` is not null then concat(substring(`s_at` from 1 for 10), ' ', substring(`s_at` from 12 for 5), ':', case when substring(`s_at` from 17 for 1) = ':' then substring(`s_at` from 18 for 2) else '00' end, '.', rpad(case when substring(`s_at` from 20 for 1) = '.' then substring(substring(`s_at` from 21 for char_length(`s_at`) - 20 - char_length(`zone_at`)) from 1 for 6) else '' end, 6, '0')) end as `clock_at`,
    drawn_parts_0 * drawn_parts_0 * rand() as `drawn_parts_1`
from parts_0;

create temporary view parts_2 as
select parts_1.*,
    try_cast(`clock_at` as timestamp(6)) as `local_at`,
    drawn_parts_1 * drawn_parts_1 * rand() as `drawn_parts_2`
from parts_1;

create temporary view typed as
select parts_2.*,
    case when `j_id` like '["%' then `s_id` end as `v_id`,
    case when coalesce(cast(`local_at` as string) = `clock_at` and (`zone_at` = 'Z' or cast(substring(`zone_at` from 2 for 2) as int) * 60 < 1440 and case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end < 60) and timestampadd(minute, case when `zone_at` = 'Z' then 0 when `zone_at` like '-%' then cast(substring(`zone_at` from 2 for 2) as int) * 60 + case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end else - (cast(substring(`zone_at` from 2 for 2) as int) * 60 + case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end) end, `local_at`) between timestamp '0001-01-01 00:00:00' and timestamp '9999-12-31 23:59:59.999999', false) then cast(timestampadd(minute, case when `zone_at` = 'Z' then 0 when `zone_at` like '-%' then cast(substring(`zone_at` from 2 for 2) as int) * 60 + case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end else - (cast(substring(`zone_at` from 2 for 2) as int) * 60 + case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end) end, `local_at`) as timestamp_ltz(6)) end as `v_at`,
    case when regexp(`j_small`, '\A[\[]-?[0-9]+[\]]\z') then try_cast(`s_small` as int) end as `v_small`,
    case when regexp(`j_large`, '\A[\[]-?[0-9]+[\]]\z') then try_cast(`s_large` as bigint) end as `v_large`,
    case when regexp(`j_single`, '\A[\[]-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?[\]]\z') then try_cast(`s_single` as float) end as `v_single`,
    case when regexp(`j_double`, '\A[\[]-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?[\]]\z') then try_cast(`s_double` as double) end as `v_double`,
    case when regexp(`j_whole`, '\A[\[]-?[0-9]+[\]]\z') then try_cast(`s_whole` as bigint) end as `v_whole`,
    case when `j_flag` in ('[true]', '[false]') then `j_flag` = '[true]' end as `v_flag`,
    case when `j_day` like '["%' and regexp(`s_day`, '^[0-9]{4}-[0-9]{2}-[0-9]{2}\z') and coalesce(date_format(try_cast(concat(`s_day`, ' 00:00:00') as timestamp(6)), 'yyyy-MM-dd') = `s_day`, false) then cast(try_cast(concat(`s_day`, ' 00:00:00') as timestamp(6)) as date) end as `v_day`,
    case when regexp(`s_price`, '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?\z') then try_cast(`s_price` as decimal(10, 2)) end as `v_price`,
    case when regexp(`s_seen_ms`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z') and floor(try_cast(`s_seen_ms` as decimal(28, 9)) * 1000) between -62135596800000000 and 253402300799999999 then cast(try_cast(concat(date_format(cast(to_timestamp_ltz(((cast(floor(try_cast(`s_seen_ms` as decimal(28, 9)) * 1000) as bigint)) - mod(mod(cast(floor(try_cast(`s_seen_ms` as decimal(28, 9)) * 1000) as bigint), 1000) + 1000, 1000)) / 1000, 3) as timestamp(3)), 'yyyy-MM-dd HH:mm:ss.SSS'), lpad(cast(mod(mod(cast(floor(try_cast(`s_seen_ms` as decimal(28, 9)) * 1000) as bigint), 1000) + 1000, 1000) as string), 3, '0')) as timestamp(6)) as timestamp_ltz(6)) end as `v_seen_ms`,
    case when regexp(`s_seen_us`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z') and floor(try_cast(`s_seen_us` as decimal(28, 9)) * 1) between -62135596800000000 and 253402300799999999 then cast(try_cast(concat(date_format(cast(to_timestamp_ltz(((cast(floor(try_cast(`s_seen_us` as decimal(28, 9)) * 1) as bigint)) - mod(mod(cast(floor(try_cast(`s_seen_us` as decimal(28, 9)) * 1) as bigint), 1000) + 1000, 1000)) / 1000, 3) as timestamp(3)), 'yyyy-MM-dd HH:mm:ss.SSS'), lpad(cast(mod(mod(cast(floor(try_cast(`s_seen_us` as decimal(28, 9)) * 1) as bigint), 1000) + 1000, 1000) as string), 3, '0')) as timestamp(6)) as timestamp_ltz(6)) end as `v_seen_us`,
    case when regexp(`j_items`, '\A[\[][\[][0-9,nul-]*[\]][\]]\z') then try_cast(json_query(`j_items`, 'lax $[0]' returning array<string>) as array<bigint>) end as `v_items`,
    case when regexp(regexp_replace(regexp_replace(`j_tags`, '\\.', ''), '"[^"]*"', ''), '^[\[][\[][nul,]*[\]][\]]$') then json_query(`j_tags`, 'lax $[0]' returning array<string>) end as `v_tags`,
    case when regexp(`j_flags`, '\A[\[][\[][truefalsn,]*[\]][\]]\z') then try_cast(json_query(`j_flags`, 'lax $[0]' returning array<string>) as array<boolean>) end as `v_flags`,
    case when `j_id` is null then 'missing_required' when not (`j_id` like '["%') then 'wrong_type' end as `c_id`,
    case when `j_at` is null then 'missing_required' when coalesce(cast(`local_at` as string) = `clock_at` and (`zone_at` = 'Z' or cast(substring(`zone_at` from 2 for 2) as int) * 60 < 1440 and case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end < 60) and timestampadd(minute, case when `zone_at` = 'Z' then 0 when `zone_at` like '-%' then cast(substring(`zone_at` from 2 for 2) as int) * 60 + case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end else - (cast(substring(`zone_at` from 2 for 2) as int) * 60 + case when char_length(`zone_at`) > 3 then cast(right(`zone_at`, 2) as int) else 0 end) end, `local_at`) between timestamp '0001-01-01 00:00:00' and timestamp '9999-12-31 23:59:59.999999', false) then cast(null as string) when `zone_at` is not null then 'out_of_range' when `j_at` like '["%' and regexp(`s_at`, '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?\z') then 'naive_time' else 'wrong_type' end as `c_at`,
    case when `j_small` is null then cast(null as string) when not (regexp(`j_small`, '\A[\[]-?[0-9]+[\]]\z')) then 'wrong_type' when try_cast(`s_small` as int) is null then 'out_of_range' end as `c_small`,
    case when `j_large` is null then cast(null as string) when not (regexp(`j_large`, '\A[\[]-?[0-9]+[\]]\z')) then 'wrong_type' when try_cast(`s_large` as bigint) is null then 'out_of_range' end as `c_large`,
    case when `j_single` is null then cast(null as string) when not (regexp(`j_single`, '\A[\[]-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?[\]]\z')) then 'wrong_type' when abs(try_cast(`s_single` as float)) > 3.4028235E38 then 'not_finite' when regexp(`j_single`, '\A[\[]-?[0-9]+[\]]\z') and char_length(`s_single`) > 7 and not coalesce(char_length(`s_single`) <= 15 and cast(try_cast(`s_single` as float) as double) = try_cast(`s_single` as double), false) then 'not_exact' end as `c_single`,
    case when `j_double` is null then cast(null as string) when not (regexp(`j_double`, '\A[\[]-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?[\]]\z')) then 'wrong_type' when abs(try_cast(`s_double` as double)) > 1.7976931348623157E308 then 'not_finite' when regexp(`j_double`, '\A[\[]-?[0-9]+[\]]\z') and char_length(`s_double`) > 15 and not coalesce(abs(try_cast(`s_double` as double)) < 9.2E18 and cast(try_cast(`s_double` as double) as bigint) = try_cast(`s_double` as bigint), false) then 'not_exact' end as `c_double`,
    case when `j_whole` is null then cast(null as string) when not (regexp(`j_whole`, '\A[\[]-?[0-9]+[\]]\z')) then 'wrong_type' when try_cast(`s_whole` as bigint) is null then 'out_of_range' end as `c_whole`,
    case when `j_flag` is null then cast(null as string) when not (`j_flag` in ('[true]', '[false]')) then 'wrong_type' end as `c_flag`,
    case when `j_day` is null then cast(null as string) when not (`j_day` like '["%' and regexp(`s_day`, '^[0-9]{4}-[0-9]{2}-[0-9]{2}\z')) then 'wrong_type' when not coalesce(date_format(try_cast(concat(`s_day`, ' 00:00:00') as timestamp(6)), 'yyyy-MM-dd') = `s_day`, false) then 'out_of_range' end as `c_day`,
    case when `j_price` is null then cast(null as string) when not (regexp(`s_price`, '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?\z')) then 'wrong_type' when try_cast(`s_price` as decimal(10, 2)) is null or try_cast(`s_price` as decimal(10, 2)) <> try_cast(`s_price` as decimal(38, 30)) or case when upper(`s_price`) like '%E%' then case when trim(trailing '0' from replace(split_index(upper(`s_price`), 'E', 0), '.', '')) in ('', '+', '-') then 0 else coalesce(char_length(split_index(split_index(upper(`s_price`), 'E', 0), '.', 1)), 0) - (char_length(replace(split_index(upper(`s_price`), 'E', 0), '.', '')) - char_length(trim(trailing '0' from replace(split_index(upper(`s_price`), 'E', 0), '.', '')))) - cast(split_index(upper(`s_price`), 'E', 1) as int) end > 2 else regexp(`s_price`, '[.][0-9]{2}[0-9]*[1-9]') end then 'out_of_range' end as `c_price`,
    case when `j_seen_ms` is null then cast(null as string) when not (regexp(`s_seen_ms`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z')) then 'wrong_type' when not coalesce(floor(try_cast(`s_seen_ms` as decimal(28, 9)) * 1000) between -62135596800000000 and 253402300799999999, false) then 'out_of_range' end as `c_seen_ms`,
    case when `j_seen_us` is null then cast(null as string) when not (regexp(`s_seen_us`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z')) then 'wrong_type' when not coalesce(floor(try_cast(`s_seen_us` as decimal(28, 9)) * 1) between -62135596800000000 and 253402300799999999, false) then 'out_of_range' end as `c_seen_us`,
    case when `j_items` is null then cast(null as string) when not (regexp(`j_items`, '\A[\[][\[][0-9,nul-]*[\]][\]]\z')) then 'wrong_type' when try_cast(json_query(`j_items`, 'lax $[0]' returning array<string>) as array<bigint>) is null then 'out_of_range' end as `c_items`,
    case when `j_tags` is null then cast(null as string) when not (regexp(regexp_replace(regexp_replace(`j_tags`, '\\.', ''), '"[^"]*"', ''), '^[\[][\[][nul,]*[\]][\]]$')) then 'wrong_type' end as `c_tags`,
    case when `j_flags` is null then cast(null as string) when not (regexp(`j_flags`, '\A[\[][\[][truefalsn,]*[\]][\]]\z')) then 'wrong_type' when try_cast(json_query(`j_flags`, 'lax $[0]' returning array<string>) as array<boolean>) is null then 'out_of_range' end as `c_flags`,
    drawn_parts_2 * drawn_parts_2 * rand() as `drawn_typed`
from parts_2;

create temporary view judged as
select typed.*,
    case
        when whole_code is not null then whole_code
        when `c_id` is not null then concat(`c_id`, ':', 'id')
        when `c_at` is not null then concat(`c_at`, ':', 'at')
        when `c_small` is not null then concat(`c_small`, ':', 'small')
        when `c_large` is not null then concat(`c_large`, ':', 'large')
        when `c_single` is not null then concat(`c_single`, ':', 'single')
        when `c_double` is not null then concat(`c_double`, ':', 'double')
        when `c_whole` is not null then concat(`c_whole`, ':', 'whole')
        when `c_flag` is not null then concat(`c_flag`, ':', 'flag')
        when `c_day` is not null then concat(`c_day`, ':', 'day')
        when `c_price` is not null then concat(`c_price`, ':', 'price')
        when `c_seen_ms` is not null then concat(`c_seen_ms`, ':', 'seen_ms')
        when `c_seen_us` is not null then concat(`c_seen_us`, ':', 'seen_us')
        when `c_items` is not null then concat(`c_items`, ':', 'items')
        when `c_tags` is not null then concat(`c_tags`, ':', 'tags')
        when `c_flags` is not null then concat(`c_flags`, ':', 'flags')
        when `v_at` > timestampadd(second, 86400, current_row_timestamp()) then 'future_time:at'
    end as `refusal`,
    drawn_typed * drawn_typed * rand() as `drawn_judged`
from typed;

execute statement set
begin
insert into `lake`.`raw`.`things` (`id`, `small`, `large`, `single`, `double`, `whole`, `flag`, `day`, `price`, `seen_ms`, `seen_us`, `items`, `tags`, `flags`, `event_time`, `known_at`, `_source`, `_source_partition`, `_source_offset`, `_source_time`)
select
    `v_id` as `id`,
    `v_small` as `small`,
    `v_large` as `large`,
    `v_single` as `single`,
    `v_double` as `double`,
    `v_whole` as `whole`,
    `v_flag` as `flag`,
    `v_day` as `day`,
    `v_price` as `price`,
    `v_seen_ms` as `seen_ms`,
    `v_seen_us` as `seen_us`,
    `v_items` as `items`,
    `v_tags` as `tags`,
    `v_flags` as `flags`,
    `v_at` as `event_time`,
    cast(current_row_timestamp() as timestamp_ltz(6)) as `known_at`,
    k_topic as `_source`,
    k_partition as `_source_partition`,
    k_offset as `_source_offset`,
    case when k_time_type <> 'NoTimestampType' then cast(k_time as timestamp_ltz(6)) end as `_source_time`
from judged where refusal is null and drawn_judged * drawn_judged >= 0;
insert into `lake`.`dead_letters`.`records` (`stream`, `contract_version`, `_source`, `_source_partition`, `_source_offset`, `_source_time`, `error_code`, `field`, `reason`, `raw`, `recorded_at`, `source_line`, `key`, `headers`, `source_time_type`, `csv_header`, `row_ipc`, `is_whole`, `is_tombstone`)
select
    cast('things' as string) as `stream`,
    cast(1 as int) as `contract_version`,
    k_topic as `_source`,
    k_partition as `_source_partition`,
    k_offset as `_source_offset`,
    case when k_time_type <> 'NoTimestampType' then cast(k_time as timestamp_ltz(6)) end as `_source_time`,
    regexp_extract(refusal, '^([a-z_0-9]+)', 1) as `error_code`,
    case when refusal like '%:%' then regexp_extract(refusal, ':(.*)', 1) end as `field`,
    case when refusal = 'invalid_utf8' then 'the value is not UTF-8, or holds half of a surrogate pair' when refusal = 'malformed' then 'the value is not one JSON object, or has a key twice' when refusal = 'tombstone' then 'the record has no value' when refusal = 'too_long' then 'the value is longer than 1,048,576 characters' when refusal like 'future_time:%' then 'the event time is more than 1d in the future' else concat('`', case when refusal like '%:%' then regexp_extract(refusal, ':(.*)', 1) end, '` is refused: ', regexp_extract(refusal, '^([a-z_0-9]+)', 1)) end as `reason`,
    coalesce(`raw`, x'') as `raw`,
    cast(current_row_timestamp() as timestamp_ltz(6)) as `recorded_at`,
    cast(null as bigint) as `source_line`,
    k_key as `key`,
    cast(map_entries(k_headers) as array<row<`name` string, `value` bytes>>) as `headers`,
    case k_time_type when 'LogAppendTime' then 'appended' else 'created' end as `source_time_type`,
    cast(null as array<string>) as `csv_header`,
    cast(null as bytes) as `row_ipc`,
    true as `is_whole`,
    `raw` is null as `is_tombstone`
from judged where refusal is not null and drawn_judged * drawn_judged >= 0;
end;
