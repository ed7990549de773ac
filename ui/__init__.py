"""The pages people look at: Streamlit only, and only `data` calls headrace.

Here: pages, charts and their wording. Not here: anything a page would have to compute from a lake.
"""
