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
            order by _source desc, _partition desc, _offset desc
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
    _partition,
    _offset
from numbered
where recency = 1
