{#- Without producer duplicates: of the rows of one `key` whose event times are at most `window` apart, the first to
  arrive. Arrival is the order of (known_at, row coordinates), so a later copy never displaces what a reader has seen.

  A row is compared with every earlier arrival of its key, dropped ones too: a chain of copies that are each within the
  window of the one before is one event. Copies further apart are two events, and both stay. A copy may have another
  event time, also across midnight: a model that uses this declares `reach_days` of at least the window, and reads
  its source with `read_range_beyond` by as many days, since the first copy may be of a later day.

  Where a copy of a later day may be committed after this one and have arrived before it, the model also declares
  `reach_back_days` of the window: of sources whose records say when they were known (`known_at: {column: …}`), and of
  which files are taken again. Without it the later copy displaces nothing, and one event is two rows. Where `known_at`
  follows event_time this cannot be, and where it is stamped only if rows are removed.

  Only keys that come more than once are joined, so the cost is that of one window function over the days read.

  Arguments: `source`, a relation with `key`, event_time, known_at and the row coordinates; `window`, a duration. Use it as
  the last steps of a `with` list; it ends with a relation `first_arrivals` of the columns of `source`. -#}
{% macro first_arrivals(source, key, window) %}
{%- set window_us = headrace.seconds(window) * 1000000 -%}
numbered as (

    select
        *,
        {{ headrace.epoch_us('event_time') }} as event_us,
        row_number() over (
            partition by {{ key }}
            order by known_at, _source, _source_partition, _source_offset
        ) as arrival,
        count(*) over (partition by {{ key }}) as copies
    from {{ source }}

),

repeated as (

    select distinct
        later.{{ key }},
        later.arrival
    from numbered as later
    inner join numbered as earlier
        on
            later.{{ key }} = earlier.{{ key }}
            and earlier.arrival < later.arrival
            and later.event_us - earlier.event_us between -{{ window_us }} and {{ window_us }}
    where later.copies > 1 and earlier.copies > 1

),

first_arrivals as (

    select numbered.*
    from numbered
    left join repeated
        on numbered.{{ key }} = repeated.{{ key }} and numbered.arrival = repeated.arrival
    where repeated.arrival is null and {{ headrace.write_range('numbered.event_time') }}

)
{% endmacro %}
