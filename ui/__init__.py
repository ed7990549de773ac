"""The web pages: Streamlit only, and only `data` calls headrace.

Pages, charts and their wording belong here. Computation on a lake belongs in the library.
"""
