"""The gate: a downward expander."""
