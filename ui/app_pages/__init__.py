"""One plain script per page; `streamlit_app` runs them."""
