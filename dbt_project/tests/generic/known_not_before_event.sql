{#- Fails for rows whose known_at is before event_time (for a feature view, before event_time plus the delay). -#}
{% test known_not_before_event(model, event_time='event_time', known_at='known_at', delay='0s') %}

select
    {{ event_time }},
    {{ known_at }}
from {{ model }}
where
    {{ headrace.epoch_us(known_at) }} - {{ headrace.epoch_us(event_time) }} < {{ headrace.seconds(delay) * 1000000 }}

{% endtest %}
