with source as (

    select *
    from {{ source('raw', 'impressions') }}
    where {{ headrace.read_range_beyond('event_time', 1) }}

),

{{ headrace.first_arrivals('source', 'impression_id', '24h') }}

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
from first_arrivals
