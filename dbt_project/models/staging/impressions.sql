with source as (

    select *
    from {{ source('raw', 'impressions') }}
    where {{ headrace.read_range('event_time') }}

),

numbered as (

    select
        *,
        row_number() over (
            partition by impression_id, cast(event_time as date)
            order by known_at, _source, _source_partition, _source_offset
        ) as arrival
    from source

)

select
    impression_id,
    policy,
    campaign,
    item_id,
    position,
    propensity,
    user_segment,
    session_id,
    user_id,
    affinity_items,
    event_time,
    known_at,
    _source,
    _source_partition,
    _source_offset
from numbered
where arrival = 1
