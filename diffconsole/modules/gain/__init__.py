"""The gains before and after everything."""
