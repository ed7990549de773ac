{#- The schema of a model is its namespace in the lake, without a prefix per developer: each lake has its own state folder. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
