with source as (

    select *
    from {{ source('raw', 'items') }}
    where {{ headrace.read_range('event_time') }}

),

numbered as (

    select
        *,
        row_number() over (
            partition by campaign, item_id, event_time, known_at
            order by _source desc, _source_partition desc, _source_offset desc
        ) as recency
    from source

)

select
    campaign,
    item_id,
    price_score,
    brand,
    category,
    style,
    event_time,
    known_at,
    _source,
    _source_partition,
    _source_offset
from numbered
where recency = 1
