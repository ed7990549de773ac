{#- Nothing is known before it happened (and, for a feature view, before its declared delay has passed). -#}
{% test known_not_before_event(model, event_time='event_time', known_at='known_at', delay='0s') %}

select
    {{ event_time }},
    {{ known_at }}
from {{ model }}
where
    {{ headrace.epoch_us(known_at) }} - {{ headrace.epoch_us(event_time) }} < {{ headrace.seconds(delay) * 1000000 }}

{% endtest %}
