{#- What `trailing_sums` and `trailing_values` share: when an input counts, and from when on it was known. An input of hour
  H - 1 counts from hour H, its `first_hour`, on; it is late if it became known after that, at `late_us`. -#}

{#- Refuses a model whose declaration does not fit its windows; returns the delay in microseconds. -#}
{% macro trailing_delay_us(windows, delay) %}
  {%- do headrace.check_delay(delay) -%}
  {%- do headrace.check_reach(((windows.values() | max) + 1) * 3600) -%}
  {{ return(headrace.seconds(delay) * 1000000) }}
{% endmacro %}

{#- Columns: the first hour that counts an event, and when it was known, in microseconds. -#}
{% macro trailing_times() -%}
        {{ headrace.whole_hours(headrace.epoch_us('event_time')) }} + 1 as first_hour,
        {{ headrace.epoch_us('known_at') }} as known_us
{%- endmacro %}

{#- When a late input was known; null for one that its first hour already knew. -#}
{% macro trailing_late_us() -%}
case when known_us > first_hour * 3600000000 then known_us end
{%- endmacro %}

{#- Columns: from when on an input was seen, and the hour from which on values count it at once. -#}
{% macro trailing_entry() -%}
        coalesce(late_us, 0) as seen_us,
        case
            when late_us is null then first_hour
            else {{ headrace.whole_hours('late_us + 3599999999') }}
        end as entry_hour
{%- endmacro %}

{#- The entity's columns of a relation, for a select list that goes on, or to group by. -#}
{% macro trailing_entity_of(relation, entity) -%}
  {% for column in entity %}{{ relation }}.{{ column }}, {% endfor %}
{%- endmacro %}

{#- Condition, to be followed by another: rows of two relations are about the same entity. -#}
{% macro trailing_same_entity(one, other, entity) -%}
  {% for column in entity %}{{ one }}.{{ column }} = {{ other }}.{{ column }} and {% endfor %}
{%- endmacro %}

{#- The hours whose rows had to do without a late input of a relation, because it was not known yet. -#}
{% macro trailing_hours_missed(relation, longest) -%}
unnest({{ headrace.integers(
            relation ~ '.first_hour',
            'least(' ~ relation ~ '.first_hour + ' ~ longest ~ ', ' ~ headrace.whole_hours(relation ~ '.late_us - 1') ~ ')'
        ) }}) as hours (hour_number)
{%- endmacro %}

{#- Columns: the hour of a row as its event time, and when it is known. -#}
{% macro trailing_row_times(known_us, delay_us) -%}
    {{ headrace.instant('hour_number * 3600000000') }} as event_time,
    {{ headrace.instant(known_us ~ ' + ' ~ delay_us) }} as known_at
{%- endmacro %}
