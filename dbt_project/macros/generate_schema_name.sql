{#- A model's schema is its namespace in the lake, the same for everyone: lakes are kept apart by their state folder. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
