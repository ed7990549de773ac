with source as (

    select *
    from {{ source('raw', 'clicks') }}
    where {{ headrace.read_range_beyond('event_time', 1) }}

),

{{ headrace.first_arrivals('source', 'click_id', '24h') }}

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
from first_arrivals
