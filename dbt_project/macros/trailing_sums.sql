{#- Hourly sums over trailing windows, as they were known at the time; the feature views are built on this macro.

  A row at hour H sums the inputs with event_time in [H - window, H). Exactly, the value at (H, known_at k) counts
  the inputs with known_at <= greatest(H, k - delay):
    - one row per change point H, known at H + delay, from what had arrived by H;
    - one revision per later arrival a of an input that belongs to H, known at a + delay, with the same event_time.
  The change points of an input are its first hour boundary, the boundary at which it arrived if that is later, and
  the ends of its windows. A row exists only from the time at which an input that causes its change point was known.
  So a point-in-time look-up finds the same value as in a table with a row for every hour.

  Cost: on-time values are one running sum over +/- deltas; only late inputs are expanded to the hours they missed.

  Arguments: `events`, a relation with the `entity` columns (never null), event_time, known_at and the integer
  `measures`, of which numbers that are not whole are refused; `windows`, {suffix: hours}. Returns the entity columns, event_time, known_at and one
  bigint `<measure>_<suffix>` each. An incremental run returns only the days being rebuilt; `events` must start
  at least the longest window plus one hour before them (`reach_days` of the model, see rebuild.sql). -#}
{% macro trailing_sums(events, entity, measures, windows, delay) %}
{%- set delay_us = headrace.trailing_delay_us(windows, delay) -%}
{%- set longest = windows.values() | max -%}
{%- set by = entity | join(', ') -%}
{%- set sums = [] -%}
{%- for measure in measures -%}{%- for suffix, hours in windows.items() -%}
  {%- do sums.append({'measure': measure, 'hours': hours, 'name': measure ~ '_' ~ suffix}) -%}
{%- endfor -%}{%- endfor -%}
with stamped as (

    select
        {{ by }},
        {{ headrace.trailing_times() }}
        {%- for measure in measures %},
        {{ measure }}
        {%- endfor %}
    from {{ events }}

),

arrivals as (

    select
        {{ by }},
        first_hour,
        {{ headrace.trailing_late_us() }} as late_us
        {%- for measure in measures %},
        {{ measure }}
        {%- endfor %}
    from stamped

),

inputs as (

    select
        {{ by }},
        first_hour,
        late_us,
        {{ headrace.trailing_entry() }}
        {%- for measure in measures %},
        cast(sum({{ headrace.whole_number(measure) }}) as bigint) as {{ measure }}
        {%- endfor %}
    from arrivals
    group by {{ by }}, first_hour, late_us

),

deltas as (

    select
        {{ by }},
        first_hour as hour_number,
        seen_us
        {%- for sum in sums %},
        case when late_us is null then {{ sum.measure }} else 0 end as {{ sum.name }}
        {%- endfor %}
    from inputs

    union all

    select
        {{ by }},
        entry_hour as hour_number,
        seen_us
        {%- for sum in sums %},
        case when entry_hour < first_hour + {{ sum.hours }} then {{ sum.measure }} else 0 end as {{ sum.name }}
        {%- endfor %}
    from inputs
    where late_us is not null and entry_hour < first_hour + {{ longest }}
    {%- for hours in windows.values() | unique %}

    union all

    select
        {{ by }},
        first_hour + {{ hours }} as hour_number,
        seen_us
        {%- for sum in sums %}
        {%- if sum.hours == hours %},
        case when entry_hour < first_hour + {{ hours }} then -{{ sum.measure }} else 0 end as {{ sum.name }}
        {%- else %},
        0 as {{ sum.name }}
        {%- endif %}
        {%- endfor %}
    from inputs
    {%- endfor %}

),

change_points as (

    select
        {{ by }},
        hour_number,
        min(seen_us) as seen_us
        {%- for sum in sums %},
        cast(sum({{ sum.name }}) as bigint) as {{ sum.name }}
        {%- endfor %}
    from deltas
    group by {{ by }}, hour_number

),

running as (

    select
        {{ by }},
        hour_number,
        seen_us
        {%- for sum in sums %},
        cast(
            sum({{ sum.name }}) over (
                partition by {{ by }} order by hour_number
                rows between unbounded preceding and current row
            ) as bigint
        ) as {{ sum.name }}
        {%- endfor %}
    from change_points

),

on_time as (

    select
        {{ by }},
        hour_number,
        seen_us
        {%- for sum in sums %},
        {{ sum.name }}
        {%- endfor %}
    from running
    where {{ headrace.write_range_hours('hour_number') }}

),

late_inputs as (

    select
        {{ by }},
        first_hour,
        late_us
        {%- for measure in measures %},
        {{ measure }}
        {%- endfor %}
    from inputs
    where late_us is not null

),

missed as (

    select
        {{ headrace.trailing_entity_of('late_inputs', entity) }}
        hours.hour_number,
        late_inputs.late_us
        {%- for sum in sums %},
        cast(
            sum(
                case
                    when hours.hour_number < late_inputs.first_hour + {{ sum.hours }} then late_inputs.{{ sum.measure }}
                    else 0
                end
            ) as bigint
        ) as {{ sum.name }}
        {%- endfor %}
    from late_inputs
    cross join
        {{ headrace.trailing_hours_missed('late_inputs', longest) }}
    where {{ headrace.write_range_hours('hours.hour_number') }}
    group by {{ headrace.trailing_entity_of('late_inputs', entity) }} hours.hour_number, late_inputs.late_us

),

revisions as (

    select
        {{ headrace.trailing_entity_of('on_time', entity) }}
        on_time.hour_number,
        on_time.seen_us,
        missed.late_us
        {%- for sum in sums %},
        on_time.{{ sum.name }} + cast(
            sum(missed.{{ sum.name }}) over (
                partition by {{ headrace.trailing_entity_of('on_time', entity) }} on_time.hour_number
                order by missed.late_us rows between unbounded preceding and current row
            ) as bigint
        ) as {{ sum.name }}
        {%- endfor %}
    from missed
    inner join on_time
        on
            {{ headrace.trailing_same_entity('missed', 'on_time', entity) }}
            missed.hour_number = on_time.hour_number

)

select
    {{ by }},
    {{ headrace.trailing_row_times('hour_number * 3600000000', delay_us) }}
    {%- for sum in sums %},
    {{ sum.name }}
    {%- endfor %}
from on_time
where seen_us <= hour_number * 3600000000

union all

select
    {{ by }},
    {{ headrace.trailing_row_times('late_us', delay_us) }}
    {%- for sum in sums %},
    {{ sum.name }}
    {%- endfor %}
from revisions
where seen_us <= late_us
{% endmacro %}
