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
    'scan.startup.specific-offsets' = 'partition:0,offset:0',
    'key.format' = 'raw',
    'key.fields' = 'k_key',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY'
);

create temporary view texts as
select topic.*, `body`, `alphabet`
from topic cross join unnest(array[row(
    decode(`raw`, 'ISO-8859-1'),
    U&'\0000\0001\0002\0003\0004\0005\0006\0007\0008\0009\000a\000b\000c\000d\000e\000f\0010\0011\0012\0013\0014\0015\0016\0017\0018\0019\001a\001b\001c\001d\001e\001f\0020\0021\0022\0023\0024\0025\0026\0027\0028\0029\002a\002b\002c\002d\002e\002f\0030\0031\0032\0033\0034\0035\0036\0037\0038\0039\003a\003b\003c\003d\003e\003f\0040\0041\0042\0043\0044\0045\0046\0047\0048\0049\004a\004b\004c\004d\004e\004f\0050\0051\0052\0053\0054\0055\0056\0057\0058\0059\005a\005b\005c\005d\005e\005f\0060\0061\0062\0063\0064\0065\0066\0067\0068\0069\006a\006b\006c\006d\006e\006f\0070\0071\0072\0073\0074\0075\0076\0077\0078\0079\007a\007b\007c\007d\007e\007f\0080\0081\0082\0083\0084\0085\0086\0087\0088\0089\008a\008b\008c\008d\008e\008f\0090\0091\0092\0093\0094\0095\0096\0097\0098\0099\009a\009b\009c\009d\009e\009f\00a0\00a1\00a2\00a3\00a4\00a5\00a6\00a7\00a8\00a9\00aa\00ab\00ac\00ad\00ae\00af\00b0\00b1\00b2\00b3\00b4\00b5\00b6\00b7\00b8\00b9\00ba\00bb\00bc\00bd\00be\00bf\00c0\00c1\00c2\00c3\00c4\00c5\00c6\00c7\00c8\00c9\00ca\00cb\00cc\00cd\00ce\00cf\00d0\00d1\00d2\00d3\00d4\00d5\00d6\00d7\00d8\00d9\00da\00db\00dc\00dd\00de\00df\00e0\00e1\00e2\00e3\00e4\00e5\00e6\00e7\00e8\00e9\00ea\00eb\00ec\00ed\00ee\00ef\00f0\00f1\00f2\00f3\00f4\00f5\00f6\00f7\00f8\00f9\00fa\00fb\00fc\00fd\00fe\00ff'
)]) as added (`body`, `alphabet`);

create temporary view typed_7 as
with chosen as (
select * from texts where char_length(body) <= 1048576 and substring(body from 1 for 5) = U&'\0000\0000\0000\0000\0007'
),
part_0 as (
select chosen.*, `p_0`, `d_0`
from chosen cross join unnest(array[row(
    cast(6 as int),
    regexp_extract(substring(body from 6 for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_0`, `d_0`)
),
part_1 as (
select part_0.*, `p_1`, `u_1`, `d_1`
from part_0 cross join unnest(array[row(
    cast(`p_0` + char_length(`d_0`) + 1 as int),
    nullif(instr(U&'\0000\0002', nullif(substring(body from `p_0` + char_length(`d_0`) for 1), '')), 0),
    regexp_extract(substring(body from `p_0` + char_length(`d_0`) + 1 for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_1`, `u_1`, `d_1`)
),
part_2 as (
select part_1.*, `p_2`, `d_2`
from part_1 cross join unnest(array[row(
    cast(case `u_1` when 1 then `p_1` + 0 when 2 then `p_1` + char_length(`d_1`) + case when char_length(`d_1`) <= 4 and mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_1` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_1` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_1` from 4 for 1)) - 1), 128) * 1048576) end end as int),
    regexp_extract(substring(body from case `u_1` when 1 then `p_1` + 0 when 2 then `p_1` + char_length(`d_1`) + case when char_length(`d_1`) <= 4 and mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_1` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_1` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_1` from 4 for 1)) - 1), 128) * 1048576) end end for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_2`, `d_2`)
),
part_3 as (
select part_2.*, `p_3`, `u_3`, `d_3`
from part_2 cross join unnest(array[row(
    cast(`p_2` + char_length(`d_2`) + 1 as int),
    nullif(instr(U&'\0000\0002', nullif(substring(body from `p_2` + char_length(`d_2`) for 1), '')), 0),
    regexp_extract(substring(body from `p_2` + char_length(`d_2`) + 1 for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_3`, `u_3`, `d_3`)
),
pieces as (
select part_3.*, `b_id`, `n_at`, `n_large`
from part_3 cross join unnest(array[row(
    case when not (`u_3` = 2) then cast(encode(substring(body from `p_3` + char_length(`d_3`) for case when char_length(`d_3`) <= 4 and mod((instr(alphabet, substring(`d_3` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_3` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_3` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_3` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_3` from 4 for 1)) - 1), 128) * 1048576) end), 'ISO-8859-1') as bytes) end,
    case when true then ((mod((instr(alphabet, substring(`d_2` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_2` from 2 for 1)) - 1), 128) * cast(64 as bigint) + mod((instr(alphabet, substring(`d_2` from 3 for 1)) - 1), 128) * cast(8192 as bigint) + mod((instr(alphabet, substring(`d_2` from 4 for 1)) - 1), 128) * cast(1048576 as bigint) + mod((instr(alphabet, substring(`d_2` from 5 for 1)) - 1), 128) * cast(134217728 as bigint) + mod((instr(alphabet, substring(`d_2` from 6 for 1)) - 1), 128) * cast(17179869184 as bigint) + mod((instr(alphabet, substring(`d_2` from 7 for 1)) - 1), 128) * cast(2199023255552 as bigint) + mod((instr(alphabet, substring(`d_2` from 8 for 1)) - 1), 128) * cast(281474976710656 as bigint) + mod((instr(alphabet, substring(`d_2` from 9 for 1)) - 1), 128) * cast(36028797018963968 as bigint) + mod((instr(alphabet, substring(`d_2` from 10 for 1)) - 1), 128) * cast(4611686018427387904 as bigint)) * (1 - 2 * mod((instr(alphabet, substring(`d_2` from 1 for 1)) - 1), 2)) - mod((instr(alphabet, substring(`d_2` from 1 for 1)) - 1), 2)) end,
    case when true then ((mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_0` from 2 for 1)) - 1), 128) * cast(64 as bigint) + mod((instr(alphabet, substring(`d_0` from 3 for 1)) - 1), 128) * cast(8192 as bigint) + mod((instr(alphabet, substring(`d_0` from 4 for 1)) - 1), 128) * cast(1048576 as bigint) + mod((instr(alphabet, substring(`d_0` from 5 for 1)) - 1), 128) * cast(134217728 as bigint) + mod((instr(alphabet, substring(`d_0` from 6 for 1)) - 1), 128) * cast(17179869184 as bigint) + mod((instr(alphabet, substring(`d_0` from 7 for 1)) - 1), 128) * cast(2199023255552 as bigint) + mod((instr(alphabet, substring(`d_0` from 8 for 1)) - 1), 128) * cast(281474976710656 as bigint) + mod((instr(alphabet, substring(`d_0` from 9 for 1)) - 1), 128) * cast(36028797018963968 as bigint) + mod((instr(alphabet, substring(`d_0` from 10 for 1)) - 1), 128) * cast(4611686018427387904 as bigint)) * (1 - 2 * mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 2)) - mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 2)) end
)]) as added (`b_id`, `n_at`, `n_large`)
),
scalars as (
select pieces.*, `j_id`, `s_id`, `j_at`, `s_at`, `j_large`, `s_large`
from pieces cross join unnest(array[row(
    case when not (`u_3` = 2) then '["' end,
    decode(`b_id`, 'UTF-8'),
    concat('[', cast(`n_at` as string), ']'),
    cast(`n_at` as string),
    concat('[', cast(`n_large` as string), ']'),
    cast(`n_large` as string)
)]) as added (`j_id`, `s_id`, `j_at`, `s_at`, `j_large`, `s_large`)
)
select scalars.*, `whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large`
from scalars cross join unnest(array[row(
    cast(case when not (coalesce(case `u_3` when 1 then `p_3` + char_length(`d_3`) + case when char_length(`d_3`) <= 4 and mod((instr(alphabet, substring(`d_3` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_3` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_3` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_3` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_3` from 4 for 1)) - 1), 128) * 1048576) end when 2 then `p_3` + 0 end = char_length(body) + 1, false) and coalesce(encode(`s_id`, 'UTF-8') = `b_id`, true)) then 'malformed' end as string),
    cast(case when `j_id` like '["%' then `s_id` end as string),
    cast(case when regexp(`s_at`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z') and floor(try_cast(`s_at` as decimal(28, 9)) * 1000) between -62135596800000000 and 253402300799999999 then cast(try_cast(concat(date_format(cast(to_timestamp_ltz(((cast(floor(try_cast(`s_at` as decimal(28, 9)) * 1000) as bigint)) - mod(mod(cast(floor(try_cast(`s_at` as decimal(28, 9)) * 1000) as bigint), 1000) + 1000, 1000)) / 1000, 3) as timestamp(3)), 'yyyy-MM-dd HH:mm:ss.SSS'), lpad(cast(mod(mod(cast(floor(try_cast(`s_at` as decimal(28, 9)) * 1000) as bigint), 1000) + 1000, 1000) as string), 3, '0')) as timestamp(6)) as timestamp_ltz(6)) end as timestamp_ltz(6)),
    cast(case when regexp(`j_large`, '\A[\[]-?[0-9]+[\]]\z') then try_cast(`s_large` as bigint) end as bigint),
    cast(case when `j_id` is null then 'missing_required' when not (`j_id` like '["%') then 'wrong_type' end as string),
    cast(case when `j_at` is null then 'missing_required' when not (regexp(`s_at`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z')) then 'wrong_type' when not coalesce(floor(try_cast(`s_at` as decimal(28, 9)) * 1000) between -62135596800000000 and 253402300799999999, false) then 'out_of_range' end as string),
    cast(case when `j_large` is null then cast(null as string) when not (regexp(`j_large`, '\A[\[]-?[0-9]+[\]]\z')) then 'wrong_type' when try_cast(`s_large` as bigint) is null then 'out_of_range' end as string)
)]) as added (`whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large`);

create temporary view typed_300 as
with chosen as (
select * from texts where char_length(body) <= 1048576 and substring(body from 1 for 5) = U&'\0000\0000\0000\0001\002c'
),
part_0 as (
select chosen.*, `p_0`, `d_0`
from chosen cross join unnest(array[row(
    cast(6 as int),
    regexp_extract(substring(body from 6 for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_0`, `d_0`)
),
part_1 as (
select part_0.*, `p_1`, `d_1`
from part_0 cross join unnest(array[row(
    cast(`p_0` + char_length(`d_0`) + case when char_length(`d_0`) <= 4 and mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_0` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_0` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_0` from 4 for 1)) - 1), 128) * 1048576) end as int),
    regexp_extract(substring(body from `p_0` + char_length(`d_0`) + case when char_length(`d_0`) <= 4 and mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_0` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_0` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_0` from 4 for 1)) - 1), 128) * 1048576) end for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_1`, `d_1`)
),
part_2 as (
select part_1.*, `p_2`, `u_2`, `d_2`
from part_1 cross join unnest(array[row(
    cast(`p_1` + char_length(`d_1`) + 1 as int),
    nullif(instr(U&'\0000\0002', nullif(substring(body from `p_1` + char_length(`d_1`) for 1), '')), 0),
    regexp_extract(substring(body from `p_1` + char_length(`d_1`) + 1 for 10), U&'^([\0080-\00ff]{0,8}[\0000-\007f]|[\0080-\00ff]{9}[\0000\0001])', 1)
)]) as added (`p_2`, `u_2`, `d_2`)
),
pieces as (
select part_2.*, `b_id`, `n_at`, `n_large`
from part_2 cross join unnest(array[row(
    case when true then cast(encode(substring(body from `p_0` + char_length(`d_0`) for case when char_length(`d_0`) <= 4 and mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 2) = 0 then (mod((instr(alphabet, substring(`d_0` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_0` from 2 for 1)) - 1), 128) * 64 + mod((instr(alphabet, substring(`d_0` from 3 for 1)) - 1), 128) * 8192 + mod((instr(alphabet, substring(`d_0` from 4 for 1)) - 1), 128) * 1048576) end), 'ISO-8859-1') as bytes) end,
    case when true then ((mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_1` from 2 for 1)) - 1), 128) * cast(64 as bigint) + mod((instr(alphabet, substring(`d_1` from 3 for 1)) - 1), 128) * cast(8192 as bigint) + mod((instr(alphabet, substring(`d_1` from 4 for 1)) - 1), 128) * cast(1048576 as bigint) + mod((instr(alphabet, substring(`d_1` from 5 for 1)) - 1), 128) * cast(134217728 as bigint) + mod((instr(alphabet, substring(`d_1` from 6 for 1)) - 1), 128) * cast(17179869184 as bigint) + mod((instr(alphabet, substring(`d_1` from 7 for 1)) - 1), 128) * cast(2199023255552 as bigint) + mod((instr(alphabet, substring(`d_1` from 8 for 1)) - 1), 128) * cast(281474976710656 as bigint) + mod((instr(alphabet, substring(`d_1` from 9 for 1)) - 1), 128) * cast(36028797018963968 as bigint) + mod((instr(alphabet, substring(`d_1` from 10 for 1)) - 1), 128) * cast(4611686018427387904 as bigint)) * (1 - 2 * mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 2)) - mod((instr(alphabet, substring(`d_1` from 1 for 1)) - 1), 2)) end,
    case when not (`u_2` = 1) then ((mod((instr(alphabet, substring(`d_2` from 1 for 1)) - 1), 128) / 2 + mod((instr(alphabet, substring(`d_2` from 2 for 1)) - 1), 128) * cast(64 as bigint) + mod((instr(alphabet, substring(`d_2` from 3 for 1)) - 1), 128) * cast(8192 as bigint) + mod((instr(alphabet, substring(`d_2` from 4 for 1)) - 1), 128) * cast(1048576 as bigint) + mod((instr(alphabet, substring(`d_2` from 5 for 1)) - 1), 128) * cast(134217728 as bigint) + mod((instr(alphabet, substring(`d_2` from 6 for 1)) - 1), 128) * cast(17179869184 as bigint) + mod((instr(alphabet, substring(`d_2` from 7 for 1)) - 1), 128) * cast(2199023255552 as bigint) + mod((instr(alphabet, substring(`d_2` from 8 for 1)) - 1), 128) * cast(281474976710656 as bigint) + mod((instr(alphabet, substring(`d_2` from 9 for 1)) - 1), 128) * cast(36028797018963968 as bigint) + mod((instr(alphabet, substring(`d_2` from 10 for 1)) - 1), 128) * cast(4611686018427387904 as bigint)) * (1 - 2 * mod((instr(alphabet, substring(`d_2` from 1 for 1)) - 1), 2)) - mod((instr(alphabet, substring(`d_2` from 1 for 1)) - 1), 2)) end
)]) as added (`b_id`, `n_at`, `n_large`)
),
scalars as (
select pieces.*, `j_id`, `s_id`, `j_at`, `s_at`, `j_large`, `s_large`
from pieces cross join unnest(array[row(
    case when true then '["' end,
    decode(`b_id`, 'UTF-8'),
    concat('[', cast(`n_at` as string), ']'),
    cast(`n_at` as string),
    concat('[', cast(`n_large` as string), ']'),
    cast(`n_large` as string)
)]) as added (`j_id`, `s_id`, `j_at`, `s_at`, `j_large`, `s_large`)
)
select scalars.*, `whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large`
from scalars cross join unnest(array[row(
    cast(case when not (coalesce(case `u_2` when 1 then `p_2` + 0 when 2 then `p_2` + char_length(`d_2`) end = char_length(body) + 1, false) and coalesce(encode(`s_id`, 'UTF-8') = `b_id`, true)) then 'malformed' end as string),
    cast(case when `j_id` like '["%' then `s_id` end as string),
    cast(case when regexp(`s_at`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z') and floor(try_cast(`s_at` as decimal(28, 9)) * 1) between -62135596800000000 and 253402300799999999 then cast(try_cast(concat(date_format(cast(to_timestamp_ltz(((cast(floor(try_cast(`s_at` as decimal(28, 9)) * 1) as bigint)) - mod(mod(cast(floor(try_cast(`s_at` as decimal(28, 9)) * 1) as bigint), 1000) + 1000, 1000)) / 1000, 3) as timestamp(3)), 'yyyy-MM-dd HH:mm:ss.SSS'), lpad(cast(mod(mod(cast(floor(try_cast(`s_at` as decimal(28, 9)) * 1) as bigint), 1000) + 1000, 1000) as string), 3, '0')) as timestamp(6)) as timestamp_ltz(6)) end as timestamp_ltz(6)),
    cast(case when regexp(`j_large`, '\A[\[]-?[0-9]+[\]]\z') then try_cast(`s_large` as bigint) end as bigint),
    cast(case when `j_id` is null then 'missing_required' when not (`j_id` like '["%') then 'wrong_type' end as string),
    cast(case when `j_at` is null then 'missing_required' when not (regexp(`s_at`, '^[+-]?[0-9]{1,24}([.][0-9]*)?\z')) then 'wrong_type' when not coalesce(floor(try_cast(`s_at` as decimal(28, 9)) * 1) between -62135596800000000 and 253402300799999999, false) then 'out_of_range' end as string),
    cast(case when `j_large` is null then cast(null as string) when not (regexp(`j_large`, '\A[\[]-?[0-9]+[\]]\z')) then 'wrong_type' when try_cast(`s_large` as bigint) is null then 'out_of_range' end as string)
)]) as added (`whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large`);

create temporary view typed_others as
with others as (
select * from texts where not coalesce((char_length(body) <= 1048576 and substring(body from 1 for 5) = U&'\0000\0000\0000\0000\0007') or (char_length(body) <= 1048576 and substring(body from 1 for 5) = U&'\0000\0000\0000\0001\002c'), false)
)
select others.*, `whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large`
from others cross join unnest(array[row(
    cast(case when `raw` is null then 'tombstone'
        when char_length(body) > 1048576 then 'too_long'
        when char_length(body) >= 5 and substring(body from 1 for 1) = U&'\0000' then 'unknown_schema'
        else 'unframed' end as string),
    cast(null as string),
    cast(null as timestamp_ltz(6)),
    cast(null as bigint),
    cast(null as string),
    cast(null as string),
    cast(null as string)
)]) as added (`whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large`);

create temporary view typed as
select `k_key`, `raw`, `k_topic`, `k_partition`, `k_offset`, `k_time`, `k_time_type`, `k_headers`, `whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large` from typed_7
union all
select `k_key`, `raw`, `k_topic`, `k_partition`, `k_offset`, `k_time`, `k_time_type`, `k_headers`, `whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large` from typed_300
union all
select `k_key`, `raw`, `k_topic`, `k_partition`, `k_offset`, `k_time`, `k_time_type`, `k_headers`, `whole_code`, `v_id`, `v_at`, `v_large`, `c_id`, `c_at`, `c_large` from typed_others;

create temporary view judged as
select typed.*, `refusal`
from typed cross join unnest(array[row(
    case
        when whole_code is not null then whole_code
        when `c_id` is not null then concat(`c_id`, ':', 'id')
        when `c_at` is not null then concat(`c_at`, ':', 'at')
        when `c_large` is not null then concat(`c_large`, ':', 'large')
        when `v_at` > timestampadd(second, 86400, current_row_timestamp()) then 'future_time:at'
    end
)]) as added (`refusal`);

execute statement set
begin
insert into `lake`.`raw`.`things` (`id`, `large`, `event_time`, `known_at`, `_source`, `_source_partition`, `_source_offset`, `_source_time`)
select
    `v_id` as `id`,
    `v_large` as `large`,
    `v_at` as `event_time`,
    cast(current_row_timestamp() as timestamp_ltz(6)) as `known_at`,
    k_topic as `_source`,
    k_partition as `_source_partition`,
    k_offset as `_source_offset`,
    case when k_time_type <> 'NoTimestampType' then cast(k_time as timestamp_ltz(6)) end as `_source_time`
from judged where refusal is null;
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
    case when refusal = 'malformed' then 'the value is not of its schema, or bytes are left over behind it' when refusal = 'tombstone' then 'the record has no value' when refusal = 'too_long' then 'the value is longer than 1,048,576 bytes' when refusal = 'unframed' then 'the value does not begin with a zero byte and the id of a schema' when refusal = 'unknown_schema' then 'the job began without the schema that the value names' when refusal like 'future_time:%' then 'the event time is more than 1d in the future' else concat('`', case when refusal like '%:%' then regexp_extract(refusal, ':(.*)', 1) end, '` is refused: ', regexp_extract(refusal, '^([a-z_0-9]+)', 1)) end as `reason`,
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
from judged where refusal is not null;
end;
