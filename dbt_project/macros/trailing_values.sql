{#- Counts, sums, means, extremes and distinct counts over trailing windows, as they were known at the time.

  Rows are those of `trailing_sums` (see there): one for each hour H at which a window changes, known at H + delay, and
  one revision for each later arrival of an input that belongs to it. A row at hour H is about the inputs with event_time
  in [H - window, H). `trailing_sums` costs one running sum and is for integer sums alone; this macro joins
  each row with the inputs of its windows, one for each hour and distinct value.

  Arguments: as there, and `values`, {name: 'kind column'}. The kinds are: `count` (events; of a column, where it is
  not null), `sum` (of integers; 0 of none), `mean` (of integers, as a double), `min`, `max`, `distinct` (how many). Nulls
  do not count; `mean`, `min` and `max` of nothing are null. `max event_time` is the newest event in the window:
  the time since it is its distance to the sample's time. Returns the entity columns, event_time, known_at and one
  `<name>_<suffix>` for each value and window. -#}
{% macro trailing_values(events, entity, values, windows, delay) %}
{%- set delay_us = headrace.trailing_delay_us(windows, delay) -%}
{%- set longest = windows.values() | max -%}
{%- set by = entity | join(', ') -%}
{%- set parts = headrace.value_parts(values) -%}
{%- set distinct = parts | selectattr('kind', 'equalto', 'distinct') | map(attribute='column') | unique | list -%}
with stamped as (

    select
        *,
        {{ headrace.trailing_times() }}
    from {{ events }}

),

inputs as (

    select
        {{ by }},
        first_hour,
        {{ headrace.trailing_late_us() }} as late_us
        {%- for column in distinct %},
        {{ column }} as distinct_{{ loop.index }}
        {%- endfor %},
        {{ headrace.value_inputs(parts) }}
    from stamped
    group by
        {{ by }},
        first_hour,
        {{ headrace.trailing_late_us() }}
        {%- for column in distinct %},
        {{ column }}
        {%- endfor %}

),

arrivals as (

    select distinct
        {{ by }},
        first_hour,
        late_us,
        {{ headrace.trailing_entry() }}
    from inputs

),

hours_seen as (

    select
        {{ by }},
        first_hour as hour_number,
        seen_us
    from arrivals

    union all

    select
        {{ by }},
        entry_hour as hour_number,
        seen_us
    from arrivals
    where entry_hour < first_hour + {{ longest }}
    {%- for hours in windows.values() | unique %}

    union all

    select
        {{ by }},
        first_hour + {{ hours }} as hour_number,
        seen_us
    from arrivals
    {%- endfor %}

),

change_points as (

    select
        {{ by }},
        hour_number,
        min(seen_us) as seen_us
    from hours_seen
    where {{ headrace.write_range_hours('hour_number') }}
    group by {{ by }}, hour_number

),

missed as (

    select distinct
        {{ headrace.trailing_entity_of('arrivals', entity) }}
        hours.hour_number,
        arrivals.late_us
    from (select * from arrivals where late_us is not null) as arrivals
    cross join
        {{ headrace.trailing_hours_missed('arrivals', longest) }}

),

moments as (

    select
        {{ by }},
        hour_number,
        hour_number * 3600000000 as as_of_us
    from change_points
    where seen_us <= hour_number * 3600000000

    union all

    select
        {{ headrace.trailing_entity_of('missed', entity) }}
        missed.hour_number,
        missed.late_us as as_of_us
    from missed
    inner join change_points
        on
            {{ headrace.trailing_same_entity('missed', 'change_points', entity) }}
            missed.hour_number = change_points.hour_number
    where change_points.seen_us <= missed.late_us

),

days as (

    select
        *,
        {{ headrace.whole_days('hour_number * 3600000000') }} as day_number
    from moments

),

reaching as (

    select
        inputs.*,
        days.day_number
    from inputs
    cross join
        unnest({{ headrace.integers(
            headrace.whole_days('inputs.first_hour * 3600000000'),
            headrace.whole_days('(inputs.first_hour + ' ~ (longest - 1) ~ ') * 3600000000')
        ) }}) as days (day_number)

),

counted as (

    select
        {{ headrace.trailing_entity_of('days', entity) }}
        days.hour_number,
        days.as_of_us
        {%- for suffix, hours in windows.items() %},
        {{ headrace.value_parts_within(parts, distinct, suffix, hours) }}
        {%- endfor %}
    from days
    left join reaching
        on
            {{ headrace.trailing_same_entity('days', 'reaching', entity) }}
            days.day_number = reaching.day_number
            and reaching.first_hour <= days.hour_number
            and reaching.first_hour > days.hour_number - {{ longest }}
            and coalesce(reaching.late_us, 0) <= days.as_of_us
    group by {{ headrace.trailing_entity_of('days', entity) }} days.hour_number, days.as_of_us

)

select
    {{ by }},
    {{ headrace.trailing_row_times('as_of_us', delay_us) }}
    {%- for suffix in windows %}{% for part in parts %},
    {% if part.kind == 'mean' -%}
    case when {{ part.inner }}_n_{{ suffix }} > 0 then {{ headrace.ratio(part.inner ~ '_' ~ suffix, part.inner ~ '_n_' ~ suffix) }} end as {{ part.name }}_{{ suffix }}
    {%- else -%}
    {{ part.inner }}_{{ suffix }} as {{ part.name }}_{{ suffix }}
    {%- endif %}
    {%- endfor %}{% endfor %}
from counted
{% endmacro %}

{#- The values as [{name, kind, column, inner}], or an error that names the one that cannot be read. -#}
{% macro value_parts(values) %}
  {%- set parts = [] -%}
  {%- for name, text in values.items() -%}
    {%- set words = text.split() -%}
    {%- set kind = words[0] if words else '' -%}
    {%- if kind not in ['count', 'sum', 'mean', 'min', 'max', 'distinct'] or words | length > 2 or (words | length == 1 and kind != 'count') -%}
      {% do exceptions.raise_compiler_error("`" ~ name ~ ": " ~ text ~ "` is not a value of `trailing_values`; write a kind and a column, as in `mean price`; the kinds are count, sum, mean, min, max, distinct") %}
    {%- endif -%}
    {%- do parts.append({'name': name, 'kind': kind, 'column': words[1] if words | length == 2 else none, 'inner': 'value_' ~ loop.index}) -%}
  {%- endfor -%}
  {{ return(parts) }}
{% endmacro %}

{#- What of each value one hour's inputs add up to. -#}
{% macro value_inputs(parts) %}
  {%- set columns = ['count(*) as input_count'] -%}
  {%- for part in parts -%}
    {%- if part.kind == 'count' -%}
      {%- do columns.append('count(' ~ (part.column or '*') ~ ') as ' ~ part.inner) -%}
    {%- elif part.kind in ['sum', 'mean'] -%}
      {%- do columns.append('cast(sum(' ~ headrace.whole_number(part.column) ~ ') as bigint) as ' ~ part.inner) -%}
      {%- do columns.append('count(' ~ part.column ~ ') as ' ~ part.inner ~ '_n') -%}
    {%- elif part.kind in ['min', 'max'] -%}
      {%- do columns.append(part.kind ~ '(' ~ part.column ~ ') as ' ~ part.inner) -%}
    {%- endif -%}
  {%- endfor -%}
  {{ return(columns | join(',\n        ')) }}
{% endmacro %}

{#- What the inputs of one window add up to. -#}
{% macro value_parts_within(parts, distinct, suffix, hours) %}
  {%- set inside = 'case when reaching.first_hour > days.hour_number - ' ~ hours ~ ' then reaching.' -%}
  {%- set columns = [] -%}
  {%- for part in parts -%}
    {%- set own = inside ~ part.inner -%}
    {%- if part.kind in ['count', 'sum'] -%}
      {%- do columns.append('coalesce(cast(sum(' ~ own ~ ' end) as bigint), 0) as ' ~ part.inner ~ '_' ~ suffix) -%}
    {%- elif part.kind == 'mean' -%}
      {%- do columns.append('cast(sum(' ~ own ~ ' end) as bigint) as ' ~ part.inner ~ '_' ~ suffix) -%}
      {%- do columns.append('cast(sum(' ~ own ~ '_n end) as bigint) as ' ~ part.inner ~ '_n_' ~ suffix) -%}
    {%- elif part.kind == 'distinct' -%}
      {%- do columns.append('count(distinct ' ~ inside ~ 'distinct_' ~ (distinct.index(part.column) + 1) ~ ' end) as ' ~ part.inner ~ '_' ~ suffix) -%}
    {%- else -%}
      {%- do columns.append(part.kind ~ '(' ~ own ~ ' end) as ' ~ part.inner ~ '_' ~ suffix) -%}
    {%- endif -%}
  {%- endfor -%}
  {{ return(columns | join(',\n        ')) }}
{% endmacro %}
