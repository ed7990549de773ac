{#- Fails if `columns` are not a key: a null in any of them, or two rows with equal values in all. -#}
{% test row_key(model, columns) %}

select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1{% for column in columns %} or {{ column }} is null{% endfor %}

{% endtest %}
