"""The domain of the churn platform: contracts, training, scoring and the registry of models."""

__version__ = "0.1.0"
