with impressions as (

    select
        user_id,
        event_time,
        known_at,
        1 as impressions,
        clicked as clicks
    from {{ source('raw', 'impressions') }}
    where {{ headrace.read_range('event_time') }}

),

trailing_counts as (

    {{ headrace.trailing_sums(
        'impressions',
        entity=['user_id'],
        measures=['impressions', 'clicks'],
        windows={'7d': 168},
        delay='0s'
    ) }}

)

select
    user_id,
    event_time,
    known_at,
    impressions_7d,
    clicks_7d
from trailing_counts
