with source as (

    select *
    from {{ source('raw', 'clicks') }}
    where {{ headrace.read_range('event_time') }}

),

numbered as (

    select
        *,
        row_number() over (
            partition by click_id, cast(event_time as date)
            order by known_at, _source, _source_partition, _source_offset
        ) as arrival
    from source

)

select
    click_id,
    impression_id,
    policy,
    campaign,
    item_id,
    position,
    user_segment,
    event_time,
    known_at,
    _source,
    _source_partition,
    _source_offset
from numbered
where arrival = 1
