"""The web app: which pages there are. What a page shows stands in its own file."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

st.set_page_config(page_icon=str(HERE / "logo.svg"), layout="wide")
st.html(HERE / "style.css")
st.navigation([st.Page("pages/predict.py", title="Predict churn", icon=":material/person_search:")]).run()
