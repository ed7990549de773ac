with impressions as (

    select
        campaign,
        position,
        event_time,
        known_at,
        1 as impressions,
        0 as clicks
    from {{ ref('impressions') }}
    where {{ headrace.read_range('event_time') }}

),

clicks as (

    select
        campaign,
        position,
        event_time,
        known_at,
        0 as impressions,
        1 as clicks
    from {{ ref('clicks') }}
    where {{ headrace.read_range('event_time') }}

),

events as (

    select * from impressions
    union all
    select * from clicks

),

trailing_counts as (

    {{ headrace.trailing_sums(
        'events',
        entity=['campaign', 'position'],
        measures=['impressions', 'clicks'],
        windows={'1d': 24, '7d': 168},
        delay='5m'
    ) }}

)

select
    campaign,
    position,
    event_time,
    known_at,
    impressions_1d,
    clicks_1d,
    impressions_7d,
    clicks_7d,
    case when impressions_1d > 0 then {{ headrace.ratio('clicks_1d', 'impressions_1d') }} end as ctr_1d,
    case when impressions_7d > 0 then {{ headrace.ratio('clicks_7d', 'impressions_7d') }} end as ctr_7d
from trailing_counts
