{#- The build plan of a model: which days to rebuild. It is computed once before the SQL is rendered, so that it enters
  the SQL as constants, and used again when the rows are committed.

  A model declares in `meta.headrace_table`: `partition_by`, `sort_by` and, if a row depends on inputs of earlier days,
  `reach_days`. With reach r an input row of day D influences rows of days D to D + r, so these days are rebuilt, and
  the inputs are read from r days earlier. Where a row depends on inputs of later days too, `reach_back_days` b does the
  same backwards: rows of D - b to D are rebuilt, and inputs are read up to b days later. -#}

{#- The build request of this model for the plugin, as a dict. -#}
{% macro model_request() %}
  {%- set declared = model.config.meta.get('headrace_table', {}) -%}
  {%- set columns = {} -%}
  {%- for name, column in model.columns.items() -%}
    {%- set required = column.constraints | map(attribute='type') | map('string') | select('in', ['not_null', 'primary_key', 'ConstraintType.not_null', 'ConstraintType.primary_key']) | list | length > 0 -%}
    {%- do columns.update({name: {'required': required, 'data_type': column.data_type or none}}) -%}
  {%- endfor -%}
  {%- set unique_key = config.get('unique_key') or [] -%}
  {%- set materialized = model.config.materialized -%}
  {%- set upstream = {'inputs': [], 'built': [], 'behind': []} -%}
  {%- do headrace.add_upstream(model.depends_on.nodes or [], upstream) -%}
  {%- set not_obeyed = [] -%}
  {%- for name in ['merge_update_columns', 'merge_exclude_columns', 'merge_clauses', 'incremental_predicates'] -%}
    {%- if config.get(name) -%}{%- do not_obeyed.append(name) -%}{%- endif -%}
  {%- endfor -%}
  {{ return({
    'model': model.package_name ~ '.' ~ model.name,
    'unique_id': model.unique_id,
    'target': this.schema ~ '.' ~ this.identifier,
    'strategy': 'table' if materialized == 'table' else (config.get('incremental_strategy') or 'append'),
    'unique_key': [unique_key] if unique_key is string else unique_key | list,
    'partition_by': declared.get('partition_by', []),
    'sort_by': declared.get('sort_by', []),
    'reach_days': declared.get('reach_days', 0),
    'reach_back_days': declared.get('reach_back_days', 0),
    'feature_view': model.config.meta.get('headrace'),
    'columns': columns,
    'inputs': upstream.inputs,
    'built': upstream.built,
    'behind': upstream.behind,
    'full_refresh': should_full_refresh(),
    'keeps_history': config.get('full_refresh') is sameas false,
    'on_schema_change': config.get('on_schema_change') if 'on_schema_change' in model.unrendered_config else none,
    'not_obeyed': not_obeyed,
  }) }}
{% endmacro %}

{#- Adds to `found` the tables that `nodes` read, and which of them are built by models. Views and ephemeral models are
  resolved to their inputs and listed in `behind`, since their code counts as code of the model. -#}
{% macro add_upstream(nodes, found) %}
  {%- for id in nodes -%}
    {%- set source = graph.sources.get(id) -%}
    {%- set node = graph.nodes.get(id) -%}
    {%- if source is not none -%}
      {%- set table = source.schema ~ '.' ~ source.identifier -%}
      {%- if table not in found.inputs -%}{%- do found.inputs.append(table) -%}{%- endif -%}
    {%- elif node is not none and node.config.materialized in ['view', 'ephemeral'] -%}
      {%- if id not in found.behind -%}{%- do found.behind.append(id) -%}{%- endif -%}
      {%- do headrace.add_upstream(node.depends_on.nodes, found) -%}
    {%- elif node is not none -%}
      {%- set table = node.schema ~ '.' ~ node.alias -%}
      {%- if table not in found.inputs -%}{%- do found.inputs.append(table) -%}{%- endif -%}
      {%- if table not in found.built -%}{%- do found.built.append(table) -%}{%- endif -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}

{#- The plan of this build: {mode: all | days | rows | none, write: [range], read: [range]}, half-open ranges.
  While parsing and in unit tests the mode is `all`. The plugin sets `headrace_plan` when it renders a model itself: to
  compare code under a fixed plan, and to plan again after a commit of another run. -#}
{% macro rebuild_plan() %}
  {%- if headrace_plan is defined -%}{{ return(headrace_plan) }}{%- endif -%}
  {%- if not execute or model.resource_type != 'model' -%}
    {{ return({'mode': 'all', 'write': [], 'read': []}) }}
  {%- endif -%}
  {{ return(adapter.dispatch('rebuild_plan', 'headrace')()) }}
{% endmacro %}

{% macro duckdb__rebuild_plan() %}
  {#- the plugin is loaded when a connection opens, which dbt does at the first statement -#}
  {%- do run_query('select 1') -%}
  {%- set request = headrace.model_request() -%}
  {%- do adapter.store_relation('headrace', this, [], '', 'plan', request) -%}
  {{ return(request.plan) }}
{% endmacro %}

{#- Condition: rows of an input that this build must read. -#}
{% macro read_range(column) %}
  {{- headrace.in_days(column, headrace.rebuild_plan(), 'read') -}}
{% endmacro %}

{#- `read_range`, and as many days behind each range: for rows that depend on later ones too. -#}
{% macro read_range_beyond(column, days) %}
  {%- set plan = headrace.rebuild_plan() -%}
  {%- set wider = [] -%}
  {%- for range in plan.read -%}
    {%- set end = modules.datetime.date.fromisoformat(range.end | string) + modules.datetime.timedelta(days=days) -%}
    {%- do wider.append({'first': range.first, 'end': end.isoformat()}) -%}
  {%- endfor -%}
  {{- headrace.in_days(column, {'mode': plan.mode, 'read': wider}, 'read') -}}
{% endmacro %}

{#- Condition: rows of the model that this build must return. -#}
{% macro write_range(column) %}
  {{- headrace.in_days(column, headrace.rebuild_plan(), 'write') -}}
{% endmacro %}

{#- `write_range` for a bigint of whole hours since 1970. -#}
{% macro write_range_hours(column) %}
  {%- set plan = headrace.rebuild_plan() -%}
  {%- if plan.mode != 'days' -%}{{ 'false' if plan.mode == 'none' else 'true' }}
  {%- else -%}
    ({% for range in plan.write -%}
      {{ ' or ' if not loop.first }}({{ column }} >= {{ range.first_day * 24 }} and {{ column }} < {{ range.end_day * 24 }})
    {%- endfor %})
  {%- endif -%}
{% endmacro %}

{% macro in_days(column, plan, part) %}
  {%- if plan.mode != 'days' -%}{{ 'false' if plan.mode == 'none' else 'true' }}
  {%- else -%}
    {#- the enclosing range comes first: file pruning only understands a plain conjunction -#}
    {{ column }} >= {{ headrace.day_start(plan[part][0].first) }} and {{ column }} < {{ headrace.day_start(plan[part][-1].end) }}
    {%- if plan[part] | length > 1 %}
    and (
      {%- for range in plan[part] -%}
      {{ ' or ' if not loop.first }}({{ column }} >= {{ headrace.day_start(range.first) }} and {{ column }} < {{ headrace.day_start(range.end) }})
      {%- endfor -%}
    )
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{#- Overrides dbt's macro, which requires that the relation is a table; here relations are views on Iceberg snapshots.
  True if the build adds to or replaces parts of an existing table. -#}
{% macro is_incremental() %}
  {%- if model.config.materialized != 'incremental' or (headrace_plan is not defined and (not execute or model.resource_type != 'model')) -%}
    {{ return(false) }}
  {%- endif -%}
  {{ return(headrace.rebuild_plan().mode in ['days', 'rows', 'none']) }}
{% endmacro %}

{#- Raises an error if the SQL and the declaration of a view disagree on its delay. Skipped in unit tests, which have no
  declarations. -#}
{% macro check_delay(delay) %}
  {%- if execute and model.resource_type == 'model' -%}
    {%- set declared = model.config.meta.get('headrace', {}).get('delay', '0s') -%}
    {%- if headrace.seconds(declared) != headrace.seconds(delay) -%}
      {% do exceptions.raise_compiler_error("`" ~ model.name ~ "` declares `delay: " ~ declared ~ "` in meta.headrace, but its SQL uses `" ~ delay ~ "`") %}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{#- Raises an error if a model rebuilds fewer days than an event reaches: rows of the others would stay as they were.
  Skipped in unit tests, which have no declarations. -#}
{% macro check_reach(reach_s) %}
  {%- if execute and model.resource_type == 'model' -%}
    {%- set declared = model.config.meta.get('headrace_table', {}).get('reach_days', 0) -%}
    {%- set needed = (reach_s + 86399) // 86400 -%}
    {%- if declared < needed and model.config.materialized == 'incremental' -%}
      {% do exceptions.raise_compiler_error("`" ~ model.name ~ "` declares `reach_days: " ~ declared ~ "` in meta.headrace_table, but its events reach " ~ needed ~ " days ahead") %}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}
