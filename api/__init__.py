"""The Flask API: thin shells over ``churn``, one blueprint per capability."""
