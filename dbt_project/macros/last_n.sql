{#- The sequence of the last `n` events of an entity, as it was known at the time.

  An event counts from `known = greatest(known_at, event_time)` on. Exactly, the row at (event_time T, known_at k) holds
  the last n events with `T - within < event_time <= T` and `known <= k - delay`, oldest first; events at one time are
  in order of `known`, then of `tie`. A row at (T, k) exists if an event that became known at `k - delay` is in it, and
  T is the newest event of its UTC day known then. So a point-in-time look-up finds the last n events that were known
  before, and a late event makes one revision for each later day whose sequence it changes. The look-up's
  `<view>__event_time` is the time of the newest event: its distance to the sample's is the time since the last event.

  An event is in order if no event after it was known before it. Of those, the last n before a row are found by their
  number, so that the cost is n rows for each row of the result, and for late events, those between.

  Arguments: `events`, a relation with the `entity` columns (never null), event_time, known_at, the columns `values` of
  any type and the columns `tie`, which make the order total; `within`, a duration. Returns the entity columns,
  event_time, known_at and one array `<value>_last_<n>` for each value, of equal lengths. An incremental run returns only the
  days being rebuilt; `events` must start `within` before them (`reach_days` of the model, see rebuild.sql). -#}
{% macro last_n(events, entity, values, n, within, delay, tie=['_source', '_source_partition', '_source_offset']) %}
{%- do headrace.check_delay(delay) -%}
{%- set within_s = headrace.seconds(within) -%}
{%- do headrace.check_reach(within_s) -%}
{%- set by = entity | join(', ') -%}
{%- set order = (['event_us', 'known_us'] + tie) | join(', ') -%}
{%- set same = [] -%}
{%- for column in entity -%}{%- do same.append('anchors.' ~ column ~ ' = ordered.' ~ column) -%}{%- endfor -%}
{%- set same = same | join(' and ') -%}
with stamped as (

    select
        *,
        {{ headrace.epoch_us('event_time') }} as event_us,
        {{ headrace.epoch_us('greatest(known_at, event_time)') }} as known_us
    from {{ events }}

),

followed as (

    select
        *,
        row_number() over (partition by {{ by }} order by {{ order }}) as place,
        min(known_us) over (
            partition by {{ by }} order by {{ order }} rows between 1 following and unbounded following
        ) as known_after_us
    from stamped

),

ordered as (

    select
        *,
        {{ headrace.whole_days('event_us') }} as day_number,
        coalesce(known_us > known_after_us, false) as is_late,
        count(case when coalesce(known_us <= known_after_us, true) then 1 end) over (
            partition by {{ by }} order by place rows between unbounded preceding and current row
        ) as number_in_order
    from followed

),

late_days as (

    select
        {{ by }},
        known_us,
        day_number + 1 as first_day,
        least(
            {{ headrace.whole_days('event_us + ' ~ (within_s * 1000000 - 1)) }},
            {{ headrace.whole_days('known_us') }}
        ) as last_day
    from ordered
    where is_late

),

changes as (

    select
        {{ by }},
        day_number,
        known_us,
        place
    from ordered

    union all

    select
        {% for column in entity %}late_days.{{ column }}, {% endfor %}
        days.day_number,
        late_days.known_us,
        cast(null as bigint) as place
    from (select * from late_days where first_day <= last_day) as late_days
    cross join unnest({{ headrace.integers('late_days.first_day', 'late_days.last_day') }}) as days (day_number)

),

newest as (

    select
        {{ by }},
        known_us,
        max(place) over (partition by {{ by }}, day_number order by known_us) as place
    from changes

),

anchors as (

    select distinct
        {% for column in entity %}newest.{{ column }}, {% endfor %}
        newest.known_us,
        newest.place,
        ordered.event_us,
        ordered.number_in_order
    from newest
    inner join ordered
        on
            {% for column in entity %}newest.{{ column }} = ordered.{{ column }} and {% endfor %}
            newest.place = ordered.place
    where {{ headrace.write_range(headrace.instant('ordered.event_us')) }}

),

candidates as (

    select
        {% for column in entity %}anchors.{{ column }}, {% endfor %}
        anchors.event_us,
        anchors.known_us,
        ordered.place,
        ordered.known_us as member_us,
        {%- for value in values %}
        ordered.{{ value }} as value_{{ loop.index }},
        {%- endfor %}
        row_number() over (
            partition by {% for column in entity %}anchors.{{ column }}, {% endfor %}anchors.event_us, anchors.known_us
            order by ordered.place desc
        ) as recency
    from anchors
    cross join unnest({{ headrace.integers('0', n - 1) }}) as steps (step)
    inner join ordered
        on
            {{ same }}
            and ordered.number_in_order = anchors.number_in_order - steps.step
            and ordered.place <= anchors.place
            and ordered.known_us <= anchors.known_us
            and ordered.event_us > anchors.event_us - {{ within_s * 1000000 }}

)

select
    {{ by }},
    {{ headrace.instant('event_us') }} as event_time,
    {{ headrace.instant('known_us + ' ~ headrace.seconds(delay) * 1000000) }} as known_at
    {%- for value in values %},
    array_agg(value_{{ loop.index }} order by place) as {{ value }}_last_{{ n }}
    {%- endfor %}
from candidates
where recency <= {{ n }}
group by {{ by }}, event_us, known_us
having max(member_us) = known_us
{% endmacro %}
