select
    campaign,
    item_id,
    event_time,
    known_at,
    price_score,
    brand,
    category
from {{ ref('items') }}
where {{ headrace.read_range('event_time') }}
