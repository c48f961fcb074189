"""The style of a finished vocal, and a prediction that leads to it."""
